"""What this machine can measure, what it cannot, and how to change that, on one screen.

    examine ──────────────> Doctor (frozen, JSON) ──> render ──> text
    software  hardware      findings                  screen
    counters  quiet

Every check looks at the thing itself: it compiles a file, resets a peak, reads a counter under load, runs rounds and
watches them. It takes about three seconds, half of them for importing torch.
"""

from scalemark.doctor.examine import examine
from scalemark.doctor.findings import Check, Doctor
from scalemark.doctor.screen import render

__all__ = ["Check", "Doctor", "examine", "render"]

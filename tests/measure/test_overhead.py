"""The harness must not price itself: the short version of `tests/acceptance/overhead.py`."""

import subprocess
import sys
from pathlib import Path

from scalemark.schema import Estimate

SCRIPT = Path(__file__).parents[1] / "acceptance/overhead.py"
MOST = 1.005


def test_what_the_harness_records_is_surely_not_more_than_half_a_percent_above_a_bare_loop():
    """Only an interval that lies wholly above the bound fails: two slices of one step differ by more than that here."""
    printed = subprocess.run([sys.executable, str(SCRIPT), "d1w64"], check=True, capture_output=True, text=True).stdout
    recorded, passed = (Estimate.model_validate_json(line) for line in printed.splitlines()[-2:])
    assert recorded.low <= MOST, recorded
    assert passed.low <= MOST, passed

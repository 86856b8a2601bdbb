"""The harness must not price itself: the short version of `tests/acceptance/overhead.py`."""

import subprocess
import sys
from pathlib import Path

from scalemark.schema import Estimate

SCRIPT = Path(__file__).parents[1] / "acceptance/overhead.py"
MOST = 1.005


def test_the_harness_costs_at_most_half_a_percent_of_the_smallest_step():
    """Weighed on a round that does nothing. Through real steps the noise of a few seconds is larger than the bound."""
    command = [sys.executable, str(SCRIPT), "d1w64", "3"]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    *_, empty = (Estimate.model_validate_json(line) for line in printed.splitlines())
    assert 1 < empty.value <= MOST, empty

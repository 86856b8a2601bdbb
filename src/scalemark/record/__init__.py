"""What was measured, on what, and where it is kept: machine, journal, suite and baselines."""

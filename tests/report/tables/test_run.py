from scalemark.report.tables.run import noise_table
from scalemark.schema import Analysis


def test_noise_is_said_in_numbers(full_analysis: Analysis) -> None:
    rows = dict(noise_table(full_analysis).rows)
    assert rows["cells timed"] == "40, 2,000 rounds"
    assert rows["half of a cell's interval"] == "± 2.0 % for the median cell, from ± 0.5 % to ± 31.0 %"
    assert rows["least certain"] == "d1w64/optimizer/cpu"
    assert rows["rounds that met time given to other machines"] == "100 of 2,000 (5.0 %)"
    assert rows["matrix product beside the rounds"] == "1.60 ms, nine in ten from 1.40 ms to 2.70 ms"
    assert rows["corrected over measured time"] == "−1.0 % for the median cell, from −20.0 % to +10.0 %"


def test_a_run_that_timed_nothing_has_no_noise(bare_analysis: Analysis) -> None:
    assert noise_table(bare_analysis).rows == ()

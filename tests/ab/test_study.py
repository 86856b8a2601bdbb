"""What the study of `scalemark ab` builds on."""

from pathlib import Path

from planted import PLACE

from scalemark.measure import phases


def test_the_place_where_the_study_plants_a_slowdown_is_there_once() -> None:
    text = Path(phases.__file__).read_text(encoding="utf-8")
    assert text.count(PLACE) == 1, "the step is not where it was: adapt PLACE in tests/planted.py"

"""Colours that readers tell apart, on a white page and on a dark one."""

import pytest

from scalemark.report.charts.palette import DTYPE_COLOURS, MODEL_COLOURS, RAMP, TERM_COLOURS, ramp

PAGES = {"light": "#ffffff", "dark": "#0f1318"}


def luminance(colour: str) -> float:
    """Relative luminance of WCAG 2."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("page", PAGES)
def test_no_colour_vanishes_on_a_page(page: str) -> None:
    colours = {*MODEL_COLOURS, *TERM_COLOURS.values(), *DTYPE_COLOURS.values(), *ramp(30)}
    assert all(contrast(colour, PAGES[page]) > 2 for colour in colours)


def test_a_ramp_goes_from_one_end_to_the_other_without_repeating_itself() -> None:
    colours = ramp(40)
    assert (colours[0], colours[-1]) == (RAMP[0], RAMP[-1])
    assert len(set(colours)) == 40


def test_terms_that_stand_in_one_law_have_colours_of_their_own() -> None:
    """Products with attention, or each of them apart; never both."""
    apart = [colour for name, colour in TERM_COLOURS.items() if name != "compute_s_per_flop"]
    assert len(set(apart)) == len(apart)

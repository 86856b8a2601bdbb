"""One screen that a person reads from the top, and acts on from the bottom."""

import pytest

from scalemark.doctor.findings import Check, Doctor, Status
from scalemark.doctor.screen import SCREEN_COLUMNS, SCREEN_LINES, render
from scalemark.schema import Machine

MACHINE = Machine(id="made-up-2c-1a2b3c4d", identity={"python": "3.11"}, context={"os": "Made Up Linux"})


def screen(*checks: Check) -> str:
    return render(Doctor(machine=MACHINE, checks=checks))


def check(name: str, status: Status = "ok", detail: str = "as it should be", advice: str | None = None) -> Check:
    return Check(name=name, status=status, detail=detail, advice=advice)


def test_the_worst_machine_fits_on_one_screen_too() -> None:
    lines = screen(*[check("noise", "missing", "x" * 300, "y" * 300)] * 19).splitlines()
    assert len(lines) <= SCREEN_LINES
    assert max(map(len, lines)) <= SCREEN_COLUMNS


def test_the_text_counts_names_the_machine_and_advises() -> None:
    lines = screen(check("memory"), check("gpu", "missing", "none here", "buy one")).splitlines()
    assert lines[0] == "scalemark doctor: 1 ok, 0 limited, 1 missing"
    assert lines[1] == "machine  made-up-2c-1a2b3c4d"
    assert "none here" in "\n".join(lines)
    assert lines.index("         -> buy one") > 0


def test_where_room_is_short_the_advice_that_is_worth_most_stays() -> None:
    unworthy = [check(f"gpu {index}", "missing", advice="buy one") for index in range(18)]
    text = screen(*unworthy, check("noise", "limited", advice="be quiet"))
    assert "-> be quiet" in text


@pytest.mark.parametrize(
    ("found", "last"),
    [
        ([check("gpu", "missing", advice="buy one")], "all is well: python -m pytest bench/ --benchmark-only"),
        ([check("noise", "limited", advice="be quiet")], "noise: be quiet"),
        (
            [check("noise", "limited", advice="be quiet"), check("torch", "missing", advice="install it")],
            "torch: install it",
        ),
    ],
)
def test_the_last_line_says_what_to_do_first(found: list[Check], last: str) -> None:
    assert screen(*found).splitlines()[-1] == f"first    {last}"

"""A history reads the same in a terminal, in Markdown and in a page; it stays small, and words are never markup."""

import re
from pathlib import Path

import pytest

from scalemark.report.history.charts import MOST_MOMENTS, MOST_SERIES, machine_figures
from scalemark.report.history.tables import change_table, context_table, level_table, machine_tables, note_table
from scalemark.report.history.writers import (
    MOST_DRAWN,
    history_lines,
    history_page,
    write_history_html,
    write_history_markdown,
)
from scalemark.schema import (
    ChangePoint,
    ContextChange,
    Estimate,
    History,
    HistorySeries,
    HistorySuite,
    Level,
    Machine,
    MachineHistory,
    Move,
    PassedOver,
)

STEP = Estimate(value=1.1, low=1.08, high=1.12)


def series(number: int, n: int, at: int, **fields: object) -> HistorySeries:
    values = tuple(0.01 * (number + 1) * (1.1 if index >= at else 1.0) for index in range(n))
    made = {
        "subject": f"step-{number}",
        "label": f"d{number}w64",
        "metric": "time_s",
        "unit": "s",
        "values": values,
        "lows": tuple(0.98 * value for value in values),
        "highs": tuple(1.02 * value for value in values),
        "levels": (Level(first=0, value=values[0]), Level(first=at, value=values[-1])),
        "scatter": 0.03,
    }
    return HistorySeries.model_validate({**made, **fields})


def machine_of(n: int = 20, n_series: int = 5, id: str = "cpu-2c-0000") -> MachineHistory:
    suites = tuple(
        HistorySuite(
            id=f"suite-{index}",
            created=f"2026-01-{index % 28 + 1:02}T00:00:00Z",
            commit=f"{index:07x}",
            place=f"runs/{index}.json",
            notes=("interrupted",) if index == 3 else (),
        )
        for index in range(n)
    )
    at = n // 2
    steps = [series(number, n, at, absent={2: "oom: killed"} if number == 0 else {}) for number in range(n_series)]
    memory = series(0, n, at, metric="memory_bytes", unit="bytes", exact=True)
    moves = tuple(Move(series=number, ratio=STEP) for number in range(n_series))
    return MachineHistory(
        machine=Machine(id=id, identity={"cpu": "Test CPU", "cores": 2}),
        suites=suites,
        series=(*steps, memory),
        changes=(ChangePoint(index=at, moves=moves),),
        context_changes=(ContextChange(index=at, fact="gpu_driver", before="550", after=None),),
        succeeds="cpu-2c-ffff: torch 2.12 → 2.13",
        no_law_reason="too few sizes",
    )


def history_of(*machines: MachineHistory, passed_over: tuple[PassedOver, ...] = ()) -> History:
    return History(machines=machines or (machine_of(),), passed_over=passed_over, false_alarms=0.05)


# Tables


def test_a_change_of_many_steps_is_one_row_with_its_range() -> None:
    (row,) = change_table(machine_of(), 0.05).rows
    assert row[:3] == ("000000a", "2026-01-11", "5 step times")
    assert row[3] == "+10.0 % to +10.0 %, mean +10.0 %; most in d0w64: +10.0 % (+8.0 % to +12.0 %)"


def test_a_change_of_few_steps_names_each() -> None:
    rows = change_table(machine_of(n_series=2), 0.05).rows
    assert [row[2] for row in rows] == ["step time d0w64", "step time d1w64"]


def test_a_history_without_a_change_says_so() -> None:
    quiet = machine_of().model_copy(update={"changes": ()})
    assert change_table(quiet, 0.05).note == "No change point in 20 suites."


def test_levels_say_where_each_series_began_and_is_now() -> None:
    first, *_, memory = level_table(machine_of()).rows
    assert first == ("step time", "d0w64", "10.0 ms", "11.0 ms", "+10.0 %", "1", "3.0 %", "20")
    assert memory[6] == "exact"


def test_a_driver_and_a_suite_to_know_about_are_listed() -> None:
    assert context_table(machine_of()).rows == (("000000a", "2026-01-11", "gpu driver", "550 → unknown"),)
    assert [row[2] for row in note_table(machine_of()).rows] == ["d0w64 oom: killed", "interrupted"]


def test_long_lists_are_cut_with_their_count() -> None:
    noted = machine_of(n=500)
    suites = tuple(suite.model_copy(update={"notes": ("interrupted",)}) for suite in noted.suites)
    table = note_table(noted.model_copy(update={"suites": suites}))
    assert len(table.rows) == 100
    assert "100 of 500 suites are shown" in table.note


# Charts


def layer_rows(chart: dict) -> list[list[dict]]:
    """The rows of each layer, which altair may keep together at the top."""
    data = [layer["data"] for layer in chart["layer"]]
    return [one["values"] if "values" in one else chart["datasets"][one["name"]] for one in data]


def test_charts_show_what_there_is_and_nothing_else() -> None:
    names = [figure.name for figure in machine_figures(machine_of())]
    assert names == ["history-cpu-2c-0000-step-time", "history-cpu-2c-0000-memory"]


def test_one_suite_has_no_chart() -> None:
    assert machine_figures(machine_of(n=2).model_copy(update={"suites": machine_of().suites[:1]})) == ()


def test_points_levels_and_marks_stand_where_they_belong() -> None:
    chart = machine_figures(machine_of())[0].chart.to_dict()
    layers = layer_rows(chart)
    points = next(rows for rows in layers if rows and "measured" in rows[0])
    levels = next(rows for rows in layers if rows and "level" in rows[0])
    marks = next(rows for rows in layers if rows and "moved" in rows[0])
    missing = next(rows for rows in layers if rows and "missing" in rows[0])
    assert {(row["x"], row["y"]) for row in points if row["series"] == "d1w64"} == {
        (index + 1, 1.0 if index < 10 else 1.1) for index in range(20)
    }
    assert [(row["x"], row["end"], row["y"]) for row in levels[:2]] == [(0.5, 10.5, 1.0), (10.5, 20.5, 1.1)]
    assert [row["x"] for row in marks] == [10.5]
    assert [(row["x"], row["missing"]) for row in missing] == [(3.0, "d0w64 oom: killed")]
    assert {row["note"] for row in points if row["x"] == 4} == {"interrupted"}


def test_a_long_history_is_drawn_in_medians_of_neighbours() -> None:
    figure = machine_figures(machine_of(n=2400, n_series=20))[0]
    rows = [row for rows in layer_rows(figure.chart.to_dict()) for row in rows if "measured" in row]
    assert len(rows) <= MOST_SERIES * MOST_MOMENTS
    assert "medians of 20 neighbouring suites" in figure.caption
    assert "8 of 20 series are shown" in figure.caption


# Terminal, Markdown, HTML


def test_the_terminal_says_it_all_in_its_width() -> None:
    passed = (PassedOver(place="runs/bad.json", reason="runs/bad.json is not complete JSON: restore it"),)
    lines = history_lines(history_of(passed_over=passed), 80)
    assert max(map(len, lines)) <= 80
    text = " ".join(" ".join(lines).split())
    for words in ("20 suites of 1 machine, 1 change point; 1 file passed over.", "5 step times", "runs/bad.json"):
        assert words in text


def test_markdown_has_its_charts_beside_it_and_clears_old_ones(tmp_path: Path) -> None:
    (tmp_path / "out-history-gone.svg").write_text("old")
    (tmp_path / "other-history-kept.svg").write_text("of another")
    path = write_history_markdown(history_of(), tmp_path / "out.md")
    text = path.read_text(encoding="utf-8")
    shown = set(re.findall(r"\]\(([^)]+\.svg)\)", text))
    assert shown == {file.name for file in tmp_path.glob("out-*.svg")}
    assert len(shown) == 2
    assert (tmp_path / "other-history-kept.svg").exists()
    assert "| 000000a |" in text


def test_the_page_stands_alone_and_is_small(tmp_path: Path) -> None:
    machines = [machine_of(n=1000, n_series=12, id=f"cpu-2c-{number}") for number in range(8)]
    path = write_history_html(history_of(*machines), tmp_path / "new" / "page.html")
    page = path.read_text(encoding="utf-8")
    assert len(page.encode()) < 2 * 2**20
    assert not re.search(r"(src|href)=[\"']?http", page)
    assert page.count("<figure") == 2 * MOST_DRAWN


@pytest.mark.parametrize("evil", ["<script>alert(1)</script>", "a|b *c* `d`"])
def test_words_of_a_suite_are_never_markup(tmp_path: Path, evil: str) -> None:
    named = machine_of(id=evil)
    suites = tuple(suite.model_copy(update={"notes": (evil,), "commit": None, "id": evil}) for suite in named.suites)
    passed_over = (PassedOver(place=evil, reason=evil),)
    history = history_of(named.model_copy(update={"suites": suites}), passed_over=passed_over)
    page = history_page(history)
    assert "<script>alert(1)" not in page
    text = write_history_markdown(history, tmp_path / "out.md").read_text(encoding="utf-8")
    assert "<script>" not in text and "*c*" not in text.replace(r"\*c\*", "")
    assert all("/" not in file.name for file in tmp_path.glob("*.svg"))


def test_tables_without_a_row_or_a_word_are_left_out() -> None:
    bare = MachineHistory(machine=Machine(id="m", identity={}), suites=machine_of().suites[:1], no_law_reason="none")
    assert [table.title for table in machine_tables(bare, 0.05)] == ["Change points"]

"""Tables of a comparison: a column for each, predictions marked with their distance, reasons for what is not known."""

import pytest
from contending import comparison

from scalemark.report.tables.table import Table
from scalemark.report.versus.sections import FIGURE_NAMES, comparison_sections
from scalemark.report.versus.tables import leading_tables
from scalemark.schema import LossCompared, NotCompared, SuiteComparison
from scalemark.units import MISSING


def comparison_tables(of: SuiteComparison) -> list[Table]:
    return [table for section in comparison_sections(of, FIGURE_NAMES) for table in section.tables]


def the(title: str, of: SuiteComparison | None = None) -> Table:
    (found,) = [table for table in comparison_tables(of or comparison()) if table.title == title]
    return found


def titles(table: Table) -> list[str]:
    return [column.title for column in table.columns]


def row(table: Table, *start: str) -> dict[str, str]:
    (found,) = [one for one in table.rows if one[: len(start)] == start]
    return dict(zip(titles(table), found, strict=True))


def test_every_section_is_there_and_reference_comes_last() -> None:
    sections = comparison_sections(comparison(), FIGURE_NAMES)
    assert [section.title for section in sections] == [
        "",
        "Who is fastest",
        "Step time",
        "What training costs",
        "Why they differ",
        "Memory",
        "Losses of equal configurations",
        "What is compared",
        "For reference",
    ]
    assert sections[0].figures == FIGURE_NAMES
    assert [table.detail for table in sections[-1].tables] == [True, True]
    assert "What is compared" not in [table.title for table in leading_tables(comparison())]


def test_a_prediction_is_marked_and_has_its_distance_a_measurement_neither() -> None:
    measured, predicted = row(the("Step time"), "d4w256"), row(the("Step time"), "d16w1024")
    assert measured["fitted range"] == "measured" and "≈" not in measured["laptop"]
    assert predicted["fitted range"].endswith("× beyond")
    assert predicted["laptop"].startswith("≈ ") and "±" in predicted["laptop"]
    assert "× (" in measured["speed-up"] and " to " in measured["speed-up"]


def test_other_shapes_are_folded_away() -> None:
    assert {"d2w512", "d12w128"} <= {one[0] for one in the("Step time of other shapes").rows}
    assert not {"d2w512", "d12w128"} & {one[0] for one in the("Step time").rows}


def test_whole_trainings_have_a_row_for_each_contender() -> None:
    rows = [one for one in the("What training costs").rows if one[0] == "d9w576"]
    by_name = {one[3]: dict(zip(titles(the("What training costs")), one, strict=True)) for one in rows}
    assert by_name["laptop"]["price"] == MISSING and by_name["gpu"]["price"].startswith("$")
    assert by_name["laptop"]["energy"] == MISSING and "Wh" in by_name["gpu"]["energy"]
    assert by_name["gpu"]["fitted range"] == "measured" and "±" not in by_name["gpu"]["memory"]


def test_what_has_neither_price_nor_energy_says_why() -> None:
    table = the("Cost of a million tokens")
    assert "USD/M tokens, gpu" in titles(table) and "USD/M tokens, laptop" not in titles(table)
    assert "Price unavailable for laptop: give --usd-per-hour NAME=P." in table.note
    assert "Energy of laptop: unavailable, no energy counter on this machine." in table.note
    assert "Energy of gpu: nvml of gpu 0." in table.note


def test_tokens_per_joule_are_the_items_of_a_step_over_its_joules() -> None:
    assert row(the("Cost of a million tokens"), "d4w256", "2 × 256")["tokens/J, gpu"] == "256 ± 2.0 %"


def test_causes_stand_in_one_form_with_the_time_that_each_takes() -> None:
    table = the("Where a step's time goes")
    assert "'p-norm of host and device'" in table.note
    layers = row(table, "cost of a layer whatever its size: launching its operators")
    assert layers["gpu"].startswith(("44", "45", "46"))
    assert all(any(text != MISSING for text in one[1:]) for one in table.rows)
    coefficients = the("Coefficients of the laws")
    assert row(coefficients, "matrix products and attention")["laptop"].endswith(" %")
    assert "GFLOP/s ± " in row(coefficients, "matrix products and attention")["laptop"]


@pytest.mark.parametrize(
    ("losses", "words"), [((1.4371, 1.4358), "they train alike"), ((1.5, 1.4), "do not train alike")]
)
def test_losses_say_whether_all_train_alike(losses: tuple[float, float], words: str) -> None:
    one = LossCompared(model="d4w128", params_non_embedding=788_000, tokens=524_288, losses=losses)
    table = the("Losses of equal configurations", comparison().model_copy(update={"losses": (one,)}))
    assert words in table.note
    assert table.rows[0][3:5] == tuple(f"{loss:.4f}" for loss in losses)


def test_what_differs_between_contenders_is_marked() -> None:
    facts = the("What is compared")
    assert row(facts, "machine")["differs"] == "yes"
    assert row(facts, "threads")["differs"] == "no"


def test_what_was_not_compared_is_listed_with_its_fields() -> None:
    doubt = NotCompared(what="losses", fields=("corpus: a, b",), reason="train on one corpus")
    table = the("Not compared, or not on equal terms", comparison().model_copy(update={"not_compared": (doubt,)}))
    assert table.rows == (("losses", "corpus: a, b", "train on one corpus"),)


def test_without_laws_the_reasons_stand_in_their_place() -> None:
    first, second = comparison().contenders
    few = first.model_copy(update={"laws": (), "missing_laws": {"step_time": "too few model sizes for a law (2)"}})
    bare = SuiteComparison(contenders=(few, second))
    assert "laptop: too few model sizes for a law (2)" in the("Who is fastest", bare).note

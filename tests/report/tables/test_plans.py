from scalemark.report.tables.plans import plan_table
from scalemark.schema import Analysis


def test_each_budget_has_a_row_with_intervals_and_its_distance(full_analysis: Analysis) -> None:
    table = plan_table(full_analysis)
    assert [row[0] for row in table.rows] == ["1 h", "8 h"]
    titles = [column.title for column in table.columns]
    assert table.rows[0][titles.index("validation loss")] == "1.500 ± 5.0 %"
    assert table.rows[0][titles.index("fitted range")] == "within"
    assert table.rows[1][titles.index("fitted range")] == "4.0× beyond"


def test_a_plan_that_reaches_too_far_is_marked_as_a_guess(full_analysis: Analysis) -> None:
    near, far = full_analysis.plans
    best = far.best.model_copy(update={"loss_extrapolation": 53.0})
    marked = full_analysis.model_copy(update={"plans": (near, far.model_copy(update={"best": best}))})
    assert [row[-1] for row in plan_table(marked).rows] == ["within", "53× beyond (!)"]
    assert "(!): a guess" in plan_table(marked).note


def test_a_budget_without_a_plan_says_why(full_analysis: Analysis) -> None:
    expected = "No plan for 24 h (that lies 600 times beyond what was measured): train larger models."
    assert expected in plan_table(full_analysis).note


def test_one_advice_is_given_once(full_analysis: Analysis) -> None:
    missing = {"1 h": "no loss law: train more", "8 h": "no loss law: train more", "24 h": "too far: measure more"}
    note = plan_table(full_analysis.model_copy(update={"plans": (), "missing_plans": missing})).note
    assert note == "No plan for 1 h, 8 h (no loss law): train more. No plan for 24 h (too far): measure more."

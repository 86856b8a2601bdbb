"""A plan as text: nothing stands without its interval and its distance, and what is far is marked."""

import pytest

from scalemark.report.planning import budget_table, front_table, headline, plan_lines
from scalemark.schema import Estimate, ModelConfig, PlannedTraining, Range, TrainingPlan


def planned(width: int, loss: float = 1.5, beyond: float = 1.0, regret: float = 0.0) -> PlannedTraining:
    return PlannedTraining(
        model=ModelConfig(n_layer=4, d_model=width, n_head=width // 16),
        batch=4,
        seq_len=128,
        params_total=4000 * width,
        params_non_embedding=3500 * width,
        tokens=512_000,
        n_steps=1000,
        loss=Estimate(value=loss, low=loss - 0.1, high=loss + 0.1),
        time_s=Estimate(value=600, low=550, high=700),
        usd=Estimate(value=0.5, low=0.45, high=0.6),
        memory_bytes=Estimate(value=2**20, low=2**20, high=2**20),
        regret=Estimate(value=regret, low=0.0, high=regret + 0.01),
        loss_extrapolation=beyond,
        cost_extrapolation=1.0,
    )


PLAN = TrainingPlan(
    suite_id="s",
    machine="a machine",
    device="cpu",
    threads=2,
    shared=False,
    goal="usd",
    amount=0.5,
    usd_per_hour=3.0,
    best=planned(64),
    optimal_params=Estimate(value=224_000, low=100_000, high=400_000),
    near_optimal=Range(low=180_000, high=300_000),
    near_optimal_excess=0.005,
    named=(planned(128, loss=1.6, regret=0.067),),
    rule=planned(96, loss=1.53, regret=0.02),
    rule_tokens_per_parameter=20,
    front=(planned(32, loss=1.7), planned(64), planned(96, loss=1.4, beyond=30.0)),
    energy_reason="no counter here",
    notes=("it is taken for granted that the machine stays as it is",),
)


def text(plan: TrainingPlan = PLAN, width: int = 200) -> str:
    return "\n".join(plan_lines(plan, width))


def test_the_answer_comes_first() -> None:
    first = headline(PLAN)[0]
    assert first.startswith("For 0.5 USD of training at 3 USD per hour on a machine: train d4w64 (4 layers of width 64")
    assert "4 heads" in first and "1,000 steps of 4 × 128" in first


def test_what_it_reaches_and_costs_stands_with_its_intervals() -> None:
    said = headline(PLAN)[1]
    for expected in ("1.50 (1.40 to 1.60)", "10.0 min (9.17 min to 11.7 min)", "0.500 USD (0.450 to 0.600)"):
        assert expected in said
    assert "energy unavailable: no counter here" in said
    assert "within what was measured" in said


def test_it_says_the_near_optimal_sizes_the_rule_and_the_regret_of_what_was_named() -> None:
    said = text()
    assert "180 k to 300 k parameters (without embeddings) cost less than 0.5 % more loss" in said
    assert "The rule of 20 tokens per parameter would train d4w96" in said
    assert "d4w128 instead: a loss of 1.60" in said and "6.7 % (0.0 % to 7.7 %) above the best" in said


def test_what_lies_far_beyond_is_marked_and_what_lies_near_is_not() -> None:
    rows = front_table(PLAN).rows
    assert [row[-1] for row in rows] == ["within, within", "within, within", "30× (!), within"]


def test_every_model_of_the_budget_has_its_row() -> None:
    assert [row[:2] for row in budget_table(PLAN).rows] == [
        ("plan", "d4w64"),
        ("named", "d4w128"),
        ("20 tokens/parameter", "d4w96"),
    ]


def test_money_has_no_column_where_no_price_was_given() -> None:
    free = PLAN.model_copy(
        update={
            "goal": "hours",
            "usd_per_hour": None,
            "front": (planned(32).model_copy(update={"usd": None}),),
        }
    )
    assert all(row[6] == "" for row in front_table(free).rows)


def test_energy_is_written_in_kwh() -> None:
    joules = Estimate(value=3.6e6, low=3.5e6, high=3.8e6)
    drawn = PLAN.model_copy(update={"best": PLAN.best.model_copy(update={"energy_j": joules})})
    assert "1.00 kWh (0.972 to 1.06)" in headline(drawn)[1]


def test_a_loss_that_is_not_surely_reached_has_no_upper_end() -> None:
    goal = PLAN.model_copy(update={"goal": "loss", "amount": 1.5})
    assert "no upper end" in text(goal)
    reached = goal.model_copy(update={"time_to_loss_s": Estimate(value=600, low=480, high=900)})
    assert "8.00 min to 15.0 min" in text(reached)


def test_without_a_rule_it_says_why() -> None:
    assert "too far from what was measured" in text(PLAN.model_copy(update={"rule": None}))


@pytest.mark.parametrize("width", [80, 120])
def test_the_distance_stands_beside_each_prediction_however_narrow_the_terminal(width: int) -> None:
    assert sum("within, within" in line or "30× (!), within" in line for line in plan_lines(PLAN, width)) == 6


@pytest.mark.parametrize("width", [80, 120])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    assert max(map(len, plan_lines(PLAN, width))) <= width


def test_what_is_taken_for_granted_comes_last() -> None:
    assert plan_lines(PLAN, 200)[-1] == "- it is taken for granted that the machine stays as it is"

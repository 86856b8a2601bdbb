"""The joint: which cells make a law, how far it is drawn, what is priced, and suites with little in them."""

from itertools import pairwise

import factories
import pytest

from scalemark.analysis import FARTHEST_COST_CURVE, analyse, law_cells
from scalemark.fit.loss_law import FARTHEST_CURVE
from scalemark.model.accounting import account
from scalemark.model.memory import predict_memory
from scalemark.schema import Analysis, Ceilings, Energy, PriceTag, Suite, Workload
from scalemark.units import format_hours


@pytest.fixture(scope="module")
def suite() -> Suite:
    return factories.make_suite()


@pytest.fixture(scope="module")
def analysis(suite: Suite) -> Analysis:
    return analyse(suite)


def tag_of(analysis: Analysis, name: str) -> PriceTag:
    return next(tag for tag in analysis.prices if tag.model.name == name)


def test_all_three_laws_come_of_a_whole_suite(analysis: Analysis) -> None:
    """Of energy there is none without a counter, for the reason that the counter gave."""
    assert {law.kind for law in analysis.laws} == {"step_time", "memory", "loss"}
    assert set(analysis.missing_laws) == {"energy"}
    assert "no energy counter on this machine" in analysis.missing_laws["energy"]


def test_with_a_counter_training_has_a_price_in_joules(suite: Suite) -> None:
    """A device that draws 100 W whatever it does: the energy is its time."""
    metered = [
        cell.model_copy(update={"energy": Energy(status="ok", joules_per_round=cell.time_s.scaled(100.0))})
        for cell in suite.cells
    ]
    analysis = analyse(suite.model_copy(update={"cells": tuple(metered)}))
    assert analysis.law("energy") is not None and "energy" in analysis.curves
    for tag in analysis.prices:
        assert tag.training_j.value == pytest.approx(100 * tag.training_s.value, rel=0.05)


def test_memory_is_priced_by_the_shape_and_what_the_allocator_adds(analysis: Analysis) -> None:
    """The made-up allocator adds nothing: a price is the peak that the shape gives."""
    tag = tag_of(analysis, "d16w1024")
    workload = Workload(phase="step", model=tag.model, batch=2, seq_len=256, optimizer="adamw")
    assert tag.memory_bytes.value == pytest.approx(predict_memory(workload).peak_bytes, rel=1e-6)


def test_no_rate_is_priced_above_the_ceiling_of_the_suite(suite: Suite) -> None:
    """Steps say 100 GFLOP/s; where the best product reached half of that, a price must not be below that time."""
    half = factories.estimate(factories.TRUE_FLOPS_PER_S / 2)
    capped = suite.model_copy(update={"ceilings": Ceilings(gemm_flops_per_s={"cpu/float32": half})})
    tag = tag_of(analyse(capped), "d16w1024")
    flops = account(tag.model, 2, 256).flops.model_flops("step")
    assert tag.step_s.value >= flops / half.value


def test_only_whole_float32_adamw_steps_on_the_device_make_a_cost_law(suite: Suite) -> None:
    step = suite.cells[0]
    others = [
        step.model_copy(update={"workload": step.workload.model_copy(update=change)})
        for change in ({"dtype": "bfloat16"}, {"optimizer": "sgd"}, {"device": "cuda"}, {"phase": "forward"})
    ]
    failed = step.model_copy(update={"status": "failed"})
    assert law_cells(suite.model_copy(update={"cells": (step, *others, failed)})) == [step]


@pytest.mark.parametrize("kind", ["step_time", "memory"])
def test_a_cost_curve_starts_where_the_law_does_and_says_how_far_it_goes(analysis: Analysis, kind: str) -> None:
    points, span = analysis.curves[kind], analysis.law(kind).domain["params_non_embedding"]
    assert points[0].x == span.low
    assert all(point.extrapolation == max(1.0, point.x / span.high) for point in points)
    assert 10 < points[-1].extrapolation <= FARTHEST_COST_CURVE


def test_the_loss_curve_falls_and_ends_at_ten_times_the_compute(analysis: Analysis) -> None:
    points = analysis.curves["loss"]
    assert all(left.y.value > right.y.value for left, right in pairwise(points))
    assert points[-1].extrapolation == pytest.approx(FARTHEST_CURVE)


@pytest.mark.parametrize("name", ["d9w576", "d12w768", "d16w1024"])
def test_a_price_is_near_the_truth_and_twenty_tokens_per_parameter(analysis: Analysis, name: str) -> None:
    tag = tag_of(analysis, name)
    truth_s = factories.true_step_s(tag.model)
    assert tag.step_s.value == pytest.approx(truth_s, rel=0.03)
    assert tag.tokens_per_s.value == pytest.approx(512 / truth_s, rel=0.03)
    assert tag.training_tokens == 20 * tag.params_total
    assert tag.training_s.value == pytest.approx(tag.training_tokens / 512 * truth_s, rel=0.03)


def test_a_model_that_needs_more_than_the_machine_has_does_not_fit(analysis: Analysis) -> None:
    """Sixteen GiB: depth 12 needs 1.6 GB of state, depth 32 needs 26 GB."""
    assert tag_of(analysis, "d12w768").fits_memory is True
    assert tag_of(analysis, "d32w2048").fits_memory is False


def test_models_past_a_hundred_times_the_fitted_range_are_not_priced(suite: Suite) -> None:
    small = tuple(cell for cell in suite.cells if cell.accounting.params_non_embedding < 4e6)
    tags = analyse(suite.model_copy(update={"cells": small, "training_runs": ()})).prices
    assert tags
    assert max(tag.extrapolation for tag in tags) <= 100


@pytest.mark.parametrize(
    ("left_out", "missing"),
    [
        (("cells",), {"step_time", "memory"}),
        (("training_runs",), {"loss"}),
        (("cells", "training_runs"), {"step_time", "memory", "loss"}),
    ],
)
def test_an_interrupted_run_is_analysed_as_far_as_it_goes(
    suite: Suite, left_out: tuple[str, ...], missing: set[str]
) -> None:
    short = analyse(suite.model_copy(update={**dict.fromkeys(left_out, ()), "complete": False}))
    assert set(short.missing_laws) == missing | {"energy"}
    assert all(short.missing_laws.values())
    assert set(short.curves) == {"step_time", "memory", "loss"} - missing
    assert bool(short.prices) == ("cells" not in left_out)


def test_a_baseline_is_compared_and_its_absence_has_a_reason(suite: Suite) -> None:
    bare = suite.model_copy(update={"cells": suite.cells[:3], "training_runs": ()})
    slower = bare.model_copy(update={"cells": factories.make_suite(slowdown=1.5).cells[:3]})
    assert analyse(slower, bare).diff.verdict == "regressed"
    assert analyse(bare, None, "none was kept").diff is None
    assert analyse(bare, None, "none was kept").no_diff_reason == "none was kept"


def test_a_steps_time_is_split_for_each_model_of_one_batch_and_for_each_that_is_priced(analysis: Analysis) -> None:
    """Two more batches of d4w256 are in the suite: they are no bar of their own."""
    names = [split.model.name for split in analysis.splits]
    assert len(set(names)) == len(names) == 9 + 4 + 4
    assert {split.model.name for split in analysis.splits if split.measured_s is None} == {
        tag.model.name for tag in analysis.prices[1:]
    }
    sizes = [split.params_non_embedding for split in analysis.splits]
    assert sizes == sorted(sizes)


def test_a_split_adds_up_to_the_price_of_the_same_step(analysis: Analysis) -> None:
    predicted_s = {split.model.name: split.predicted_s for split in analysis.splits}
    for tag in analysis.prices:
        assert predicted_s[tag.model.name] == pytest.approx(tag.step_s.value)


def test_the_split_finds_what_the_time_was_made_of(analysis: Analysis) -> None:
    """Layers and FLOPs at known rates, and nothing else: of the largest, the products take nearly all."""
    split = next(split for split in analysis.splits if split.model.name == "d9w576")
    true_layers_s = 9 * factories.TRUE_SECONDS_PER_LAYER
    flops_s = sum(term.seconds.value for term in split.terms if term.name.endswith("_per_flop"))
    assert flops_s == pytest.approx(factories.true_step_s(split.model) - true_layers_s, rel=0.05)


def test_term_curves_add_up_to_the_curve_of_the_law(analysis: Analysis) -> None:
    terms = [[point.y.value for point in curve] for curve in analysis.term_curves.values()]
    added = [sum(values) for values in zip(*terms, strict=True)]
    assert added == pytest.approx([point.y.value for point in analysis.curves["step_time"]])


def test_a_usable_loss_law_has_a_map_and_one_that_is_not_has_none(analysis: Analysis, suite: Suite) -> None:
    assert analysis.isoloss and analysis.isoloss.contours
    assert analyse(suite.model_copy(update={"training_runs": ()})).isoloss is None


def test_each_budget_has_a_plan_or_a_reason(analysis: Analysis) -> None:
    planned = {format_hours(plan.amount) for plan in analysis.plans}
    assert planned | set(analysis.missing_plans) == {"10 min", "1 h", "8 h", "24 h"}
    assert not planned & set(analysis.missing_plans)


def test_each_law_has_the_residuals_of_what_it_was_fitted_to(analysis: Analysis) -> None:
    assert {kind: len(found) for kind, found in analysis.residuals.items()} == {
        law.kind: law.n for law in analysis.laws
    }
    assert analysis.noise and analysis.noise.n_cells == len(analysis.suite.cells)

"""Coefficients side by side: one form for all devices, the true ratio of the rates, none of what is not told."""

import pytest
from contending import LAYER_S, board_suite, comparison, gpu, laptop, machine_suite, slower, with_time_law
from factories import TRUE_FLOPS_PER_S

from scalemark.fit.cost_law import common_form
from scalemark.model.accounting import account
from scalemark.model.ladder import DIAGONAL
from scalemark.schema import CoefficientCompared, Contender
from scalemark.versus.causes import compare_coefficients
from scalemark.versus.fitted import law_cells, limits_of


def the(rows: tuple[CoefficientCompared, ...], meaning: str) -> CoefficientCompared:
    (found,) = [row for row in rows if row.meaning.startswith(meaning)]
    return found


def test_a_cpu_and_a_gpu_share_the_form_of_a_host_and_its_device() -> None:
    assert comparison().common_form == "p-norm of host and device"


def test_of_forms_that_all_may_have_the_one_that_describes_all_best_is_taken() -> None:
    """The true times are a plain sum, which is also the simplest."""
    each = [Contender(name=suite.id, suite=suite) for suite in (machine_suite(), board_suite())]
    assert common_form([(law_cells(one), limits_of(one)) for one in each]).startswith("sum")


def test_the_ratio_of_the_rates_is_the_true_one() -> None:
    each = [with_time_law(machine_suite()), with_time_law(slower(machine_suite(5), 2.0))]
    form, rows = compare_coefficients(each, DIAGONAL[3])
    assert form is not None
    ratios = the(rows, "matrix products").ratios
    assert ratios[0] is None
    assert ratios[1] is not None and ratios[1].low <= 0.5 <= ratios[1].high
    assert ratios[1].value == pytest.approx(0.5, rel=0.1)


def test_the_time_of_each_term_is_its_share_of_a_true_step() -> None:
    """Of d9w576: launching nine layers, which the host of the board pays, and the rate of the machine."""
    assert comparison().cause_shape == "d9w576"
    layers = the(comparison().coefficients, "cost of a layer").seconds
    products = the(comparison().coefficients, "matrix products").seconds
    counted = account(DIAGONAL[8], 2, 256)
    assert products[0] is not None and layers[1] is not None and layers[0] is not None
    assert products[0].value == pytest.approx(counted.flops.model_flops("step") / TRUE_FLOPS_PER_S, rel=0.1)
    assert layers[1].value == pytest.approx(9 * LAYER_S, rel=0.35)
    assert layers[0].value < 0.2 * layers[1].value


def test_a_contender_without_a_law_has_a_gap_and_of_one_law_nothing_is_said() -> None:
    each = [laptop().model_copy(update={"name": "lawless", "laws": ()}), laptop(), gpu()]
    _, rows = compare_coefficients(each, DIAGONAL[3])
    assert all(row.parameters[0] is None and row.ratios == (None, None, None) for row in rows)
    assert compare_coefficients(each[:2], DIAGONAL[3]) == (None, ())

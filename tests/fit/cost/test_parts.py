"""Where the time goes: the terms of a law add up to it, whether they are added or overlap."""

import numpy as np
import pytest

from scalemark.fit.cost.terms import Form, time_forms
from scalemark.fit.cost_law import predict_values, term_times
from scalemark.model.accounting import account
from scalemark.model.ladder import BATCH, DIAGONAL, SEQ_LEN
from scalemark.schema import Law, Range

COUNTED = [account(model, BATCH, SEQ_LEN) for model in DIAGONAL]
SUM, _, ROOFLINE, _ = time_forms("step")
HOST_AND_DEVICE, _ = time_forms("step", asynchronous=True)
# Overhead, per layer, FLOPs, activation bytes, state bytes.
COEFFICIENTS = (1e-3, 2e-4, 1e-11, 2e-10, 1e-10)


def make_law(form: Form, coefficients: tuple[float, ...], draws: tuple[tuple[float, ...], ...] = ()) -> Law:
    return Law(
        kind="step_time",
        form=form.text,
        unit="s",
        subject="training step",
        parameters=(),
        domain={"params_non_embedding": Range(low=1e4, high=1e9)},
        n=9,
        residuals=(),
        coefficients=coefficients,
        draws=draws or (coefficients, coefficients),
    )


@pytest.mark.parametrize("form", [SUM, ROOFLINE, HOST_AND_DEVICE], ids=lambda form: form.name)
def test_the_terms_of_a_step_add_up_to_it(form: Form) -> None:
    law = make_law(form, (*COEFFICIENTS, 3.0) if form.overlapping else COEFFICIENTS)
    added = [sum(term.seconds.value for term in terms) for terms in term_times(law, COUNTED)]
    assert added == pytest.approx(predict_values(law, COUNTED))


def test_what_is_added_takes_its_coefficient_times_its_quantity() -> None:
    (terms,) = term_times(make_law(SUM, COEFFICIENTS), COUNTED[3:4])
    flops = COUNTED[3].flops.model_flops("step")
    assert [term.seconds.value for term in terms[:3]] == pytest.approx([1e-3, 4 * 2e-4, flops * 1e-11])
    assert [term.name for term in terms[:3]] == ["overhead_s", "per_layer_s", "compute_s_per_flop"]


@pytest.mark.parametrize("form", [ROOFLINE, HOST_AND_DEVICE], ids=lambda form: form.name)
def test_what_overlaps_takes_what_the_step_would_save_without_a_little_of_it(form: Form) -> None:
    """Against a numerical derivative: a hundredth less of a term saves a hundredth of its part."""
    coefficients = (*COEFFICIENTS, 3.0)
    whole = predict_values(make_law(form, coefficients), COUNTED)
    for place in range(len(form.terms)):
        less = tuple(c * (1 - 1e-6 * (index == place)) for index, c in enumerate(coefficients))
        saved = (whole - predict_values(make_law(form, less), COUNTED)) / 1e-6
        parts = [terms[place].seconds.value for terms in term_times(make_law(form, coefficients), COUNTED)]
        assert parts == pytest.approx(saved, rel=1e-3, abs=1e-9)


def test_a_device_that_hides_behind_its_host_takes_next_to_nothing() -> None:
    (terms,) = term_times(make_law(HOST_AND_DEVICE, (1.0, 0.1, 1e-13, 1e-13, 1e-13, 5.0)), COUNTED[:1])
    assert sum(term.share.value for term in terms[:2]) > 0.999


def test_shares_are_of_each_replicate_and_never_above_the_whole() -> None:
    """Replicates in which products take more take more in all: a share divides by its own whole."""
    draws = tuple((1e-9, 1e-9, scale * 1e-11, 1e-15, 1e-15) for scale in np.linspace(0.5, 2.0, 50))
    terms = term_times(make_law(SUM, draws[20], draws), COUNTED[-1:])[0]
    products = next(term for term in terms if term.name == "compute_s_per_flop")
    assert products.seconds.high > 1.5 * products.seconds.value
    assert 0.999 < products.share.low <= products.share.value <= products.share.high <= 1.0

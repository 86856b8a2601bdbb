"""What may not be compared is said to be so, with the fields that differ; equal training is checked by its loss."""

import pytest
from contending import gpu_suite, machine_suite
from factories import make_suite

from scalemark.schema import Contender, CorpusFacts, NotCompared, Suite
from scalemark.versus.alike import compare_losses, only_comparable, unequal_terms
from scalemark.versus.shapes import measured_shapes


def of(*suites: Suite) -> list[Contender]:
    return [Contender(name=suite.id, suite=suite) for suite in suites]


def with_corpus(suite: Suite, identity: str) -> Suite:
    corpus = CorpusFacts(identity=identity, train_tokens=9, validation_tokens=9, documents=1)
    return suite.model_copy(update={"corpus": corpus})


def fields(found: list[NotCompared]) -> str:
    return "; ".join(field for one in found for field in one.fields)


def test_a_faked_suite_is_set_aside_whole() -> None:
    kept, left_out = only_comparable(of(machine_suite(), make_suite("fake").model_copy(update={"fake": True})))
    assert len(measured_shapes(kept[0])) > 10
    assert measured_shapes(kept[1]) == {} and kept[1].suite.training_runs == ()
    assert [(one.what, one.fields) for one in left_out] == [("everything of fake", ("fake: true",))]


def test_faked_suites_among_themselves_are_compared() -> None:
    fakes = [make_suite(name).model_copy(update={"fake": True}) for name in ("a", "b")]
    kept, left_out = only_comparable(of(*fakes))
    assert left_out == [] and all(map(measured_shapes, kept))


def test_a_shape_that_is_counted_in_another_convention_is_left_out() -> None:
    """As where attention over half the pairs were counted."""
    cell = machine_suite(1).cells[0]
    assert cell.accounting
    flops = cell.accounting.flops.model_copy(update={"attention_full": cell.accounting.flops.attention_full / 2})
    counted = cell.accounting.model_copy(update={"flops": flops})
    odd = machine_suite(1).model_copy(
        update={"cells": (cell.model_copy(update={"accounting": counted}), *machine_suite(1).cells[1:])}
    )
    kept, left_out = only_comparable(of(machine_suite(), odd))
    assert len(measured_shapes(kept[1])) == len(measured_shapes(kept[0])) - 1
    assert left_out[0].what == "d1w64 of machine-1"
    assert left_out[0].fields[0].startswith("flops.attention_full: ")


def test_a_harness_that_differs_is_named_field_by_field() -> None:
    settings = machine_suite().settings.model_copy(update={"environment": {"OMP_NUM_THREADS": "2", "MKL_CBWR": "AVX2"}})
    newer = machine_suite(1).model_copy(update={"scalemark_version": "0.2.0", "settings": settings})
    found = list(unequal_terms(of(machine_suite(), newer)))
    assert fields(found) == "scalemark_version: 0.1.0, 0.2.0; environment: nothing set, MKL_CBWR=AVX2"


def test_threads_go_with_the_machine_and_are_no_difference_of_the_harness() -> None:
    settings = machine_suite().settings.model_copy(update={"environment": {"OMP_NUM_THREADS": "16"}, "threads": 16})
    wide = machine_suite(1).model_copy(update={"settings": settings})
    assert list(unequal_terms(of(machine_suite(), wide))) == []


def test_an_interrupted_suite_is_said_to_be_one() -> None:
    (found,) = unequal_terms(of(machine_suite(), machine_suite(1).model_copy(update={"complete": False})))
    assert "machine-1" in found.what and found.fields == ("complete: false",)


def test_steps_that_a_suite_does_not_have_are_named() -> None:
    half = Contender(name="half", suite=machine_suite(1), dtype="bfloat16")
    (found,) = unequal_terms([*of(machine_suite()), half])
    assert (found.what, found.fields) == ("times of half", ("steps: bfloat16, adamw, eager",))


def test_equal_configurations_are_compared_across_devices() -> None:
    runs = [
        run.model_copy(update={"config": run.config.model_copy(update={"device": "cuda"})})
        for run in gpu_suite().training_runs[:3]
    ]
    losses, left_out = compare_losses(
        of(machine_suite(), gpu_suite().model_copy(update={"training_runs": tuple(runs)}))
    )
    assert len(losses) == 3 and left_out == []
    assert all(one.spread < 0.05 for one in losses)
    assert losses[0].losses[1] == pytest.approx(losses[0].losses[0], rel=0.05)


def test_losses_on_other_text_are_not_compared() -> None:
    suites = with_corpus(machine_suite(), "kjv@1"), with_corpus(machine_suite(1), "stdlib@2")
    losses, left_out = compare_losses(of(*suites))
    assert losses == ()
    assert fields(left_out) == "corpus: kjv@1, stdlib@2"


def test_a_grid_that_has_nothing_in_common_is_no_check() -> None:
    runs = machine_suite().training_runs
    suites = [
        machine_suite(seed).model_copy(update={"training_runs": part}) for seed, part in ((0, runs[:4]), (1, runs[4:]))
    ]
    losses, left_out = compare_losses(of(*suites))
    assert losses == () and "no training configuration" in left_out[0].reason


def test_one_suite_by_two_dtypes_has_no_losses_to_compare() -> None:
    assert compare_losses([*of(machine_suite()), Contender(name="half", suite=machine_suite(), dtype="bfloat16")]) == (
        (),
        [],
    )

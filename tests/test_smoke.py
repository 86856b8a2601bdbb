"""What a smoke test does not even try, and why."""

import pytest

from scalemark.model.ladder import LARGE_DIAGONAL, find_rung
from scalemark.schema import ModelConfig, TrainingConfig, Workload
from scalemark.smoke import why_not


def step(model: ModelConfig, **option: object) -> Workload:
    fields = {"phase": "step", "model": model, "batch": 4, "seq_len": 256, "optimizer": "adamw", **option}
    return Workload.model_validate(fields)


@pytest.mark.parametrize("option", [{"checkpointed": True}, {"compiled": True}, {"micro_batches": 4}], ids=str)
def test_an_option_is_tried_on_a_small_rung_and_not_on_each(option: dict[str, object]) -> None:
    assert why_not(step(find_rung("d1w64"), **option), "cpu") is None
    assert "too large" in (why_not(step(find_rung("d4w256"), **option), "cpu") or "")
    assert why_not(step(find_rung("d4w256")), "cpu") is None


def test_what_no_cpu_runs_is_skipped_with_its_reason() -> None:
    assert "on CUDA alone" in (why_not(step(find_rung("d1w64"), attention="efficient"), "cpu") or "")


def test_a_large_step_is_too_large_without_a_gpu_and_a_training_never_is() -> None:
    assert "without a GPU" in (why_not(step(LARGE_DIAGONAL[-1]), "cpu") or "")
    assert why_not(TrainingConfig(model=LARGE_DIAGONAL[-1], tokens=1), "cpu") is None

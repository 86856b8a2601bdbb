"""What an error says of a cell, decided without running one."""

import pytest
import torch

from scalemark.measure.worker import status_of
from scalemark.schema import ModelConfig, Workload

EAGER = Workload(phase="step", model=ModelConfig(n_layer=1, d_model=64, n_head=1), batch=2, seq_len=256)
COMPILED = EAGER.model_copy(update={"compiled": True})


def compiler_error(message: str = "no C++ compiler") -> Exception:
    kind = type("InvalidCxxCompiler", (RuntimeError,), {"__module__": "torch._inductor.exc"})
    return kind(message)


@pytest.mark.parametrize(
    "error", [MemoryError(), torch.OutOfMemoryError("CUDA"), RuntimeError("DefaultCPUAllocator: can't allocate memory")]
)
def test_memory_that_runs_out_is_a_status_of_its_own(error):
    assert status_of(error, EAGER) == "oom"


def test_a_compiler_that_is_not_there_skips_a_compiled_cell_and_no_other():
    assert status_of(compiler_error(), COMPILED) == "skipped"
    assert status_of(compiler_error(), EAGER) == "failed"


def test_a_model_that_raises_has_failed_compiled_or_not():
    assert status_of(ValueError("upside down"), COMPILED) == "failed"
    assert status_of(ValueError("upside down"), EAGER) == "failed"

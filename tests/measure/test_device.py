"""What torch says of itself becomes part of the machine's identity, so it must be the same in every process."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
import torch

from scalemark.measure.device import blas_name, torch_facts
from scalemark.process import worker_environment

MKL = "  - Intel(R) oneAPI Math Kernel Library Version 2024.2-Product Build 20240605 for Intel(R) 64"
OLD_MKL = "  - Intel(R) Math Kernel Library Version 2020.0.4 Product Build 20200917 for Intel(R) 64"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (MKL, "mkl 2024.2"),
        (OLD_MKL, "mkl 2020.0.4"),
        ("Build settings: BLAS_INFO=accelerate, BUILD_TYPE=Release", "accelerate"),
        ("Build settings: BUILD_TYPE=Release", None),
    ],
)
def test_blas_goes_by_name_and_version(text: str, name: str | None) -> None:
    assert blas_name(text) == name


def test_openblas_goes_by_its_own_name() -> None:
    assert (blas_name("Build settings: BLAS_INFO=open, BUILD_TYPE=Release") or "").startswith("openblas")


def test_facts_are_text_numbers_or_unknown() -> None:
    assert {type(fact) for fact in torch_facts("cpu").values()} <= {str, int, float, type(None)}


def test_another_process_says_the_same() -> None:
    program = "import json; from scalemark.measure.device import torch_facts; print(json.dumps(torch_facts('cpu')))"
    command, environment = [sys.executable, "-c", program], {**os.environ, **worker_environment(1)}
    output = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert json.loads(output.stdout) == torch_facts("cpu")


@pytest.fixture
def settings() -> Iterator[None]:
    """torch's precision, as it was."""
    precision = torch.get_float32_matmul_precision()
    yield
    torch.set_float32_matmul_precision(precision)
    torch.set_flush_denormal(False)
    torch.backends.mkldnn.set_flags(True)
    torch.backends.cudnn.benchmark = False
    torch.use_deterministic_algorithms(False)


@pytest.mark.usefixtures("settings")
def test_every_setting_that_trades_exactness_for_time_is_told() -> None:
    before = torch_facts("cpu")
    torch.set_float32_matmul_precision("medium")
    flushes = torch.set_flush_denormal(True)
    torch.backends.mkldnn.set_flags(False)
    torch.backends.cudnn.benchmark = True
    torch.use_deterministic_algorithms(True)
    after = torch_facts("cpu")
    changed = {name for name in before if before[name] != after[name]}
    assert changed >= {"float32_matmul_precision", "onednn_enabled", "cudnn_benchmark", "deterministic_algorithms"}
    assert ("flush_denormal" in changed) == flushes

"""Operators and bytes against counts by hand."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from scalemark.measure.operators import count_operators
from scalemark.measure.phases import build_task, make_round
from scalemark.schema import ModelConfig, Operators, Phase, Workload

FLOAT = 4


def counted(phase: Phase, model: ModelConfig) -> Operators:
    """Operators of one round of a phase that ran once before."""
    workload = Workload(phase=phase, model=model, batch=2, seq_len=16, optimizer="adamw")
    one = make_round(build_task(workload, np.arange(2000).astype(np.uint8), seed=0), workload)
    one.prepare()
    one.timed()
    one.prepare()
    return count_operators(one.timed)


def test_a_linear_layer_and_its_activation_are_counted_as_by_hand() -> None:
    """x (5, 4) and the weight (3, 4) and bias (3) are read, (5, 3) written; then that is read and as much written."""
    layer, x = nn.Linear(4, 3), torch.randn(5, 4)
    with torch.no_grad():
        operators = count_operators(lambda: torch.relu(layer(x)))
    assert operators.calls == {"aten.addmm": 1, "aten.relu": 1}
    assert operators.bytes_read == FLOAT * ((5 * 4 + 3 * 4 + 3) + 5 * 3)
    assert operators.bytes_written == FLOAT * (5 * 3 + 5 * 3)


def test_a_backward_pass_is_counted_as_by_hand() -> None:
    """Of y = x·w, with x (5, 4), w (4, 3) and a gradient of y at hand: dx = dy·wᵀ and dw = xᵀ·dy."""
    x, w = torch.randn(5, 4, requires_grad=True), torch.randn(4, 3, requires_grad=True)
    y, dy = x @ w, torch.randn(5, 3)
    operators = count_operators(lambda: y.backward(dy))
    assert operators.calls == {"aten.mm": 2}
    assert operators.bytes_read == FLOAT * ((5 * 3 + 4 * 3) + (5 * 4 + 5 * 3))
    assert operators.bytes_written == FLOAT * (5 * 4 + 4 * 3)


@pytest.mark.parametrize(
    "view",
    [
        lambda x: x.t(),
        lambda x: x.view(8, 2),
        lambda x: x[1:].detach(),
        lambda x: x.expand(2, 4, 4),
        lambda x: x.split(2),
        lambda x: torch.ops.aten._unsafe_view(x, [16]),
        lambda x: torch.empty_like(x),
        lambda x: x.is_same_size(x),
    ],
)
def test_what_moves_no_data_is_no_operator(view: Callable[[torch.Tensor], object]) -> None:
    x = torch.zeros(4, 4)
    assert count_operators(lambda: view(x)) == Operators(calls={}, bytes_read=0, bytes_written=0)


def floats(run: Callable[[], object]) -> tuple[int, int]:
    """float32 values read and written."""
    operators = count_operators(run)
    return operators.bytes_read // FLOAT, operators.bytes_written // FLOAT


def test_a_view_counts_as_far_as_it_reaches() -> None:
    x, scalar = torch.zeros(10, 10), torch.zeros(1)
    assert floats(lambda: x[:2].relu()) == (20, 20)
    assert floats(lambda: scalar.expand(50).relu()) == (1, 50)
    assert floats(lambda: x.t().contiguous()) == (100, 100)


def test_a_tensor_that_is_given_twice_is_read_once() -> None:
    x = torch.zeros(10)
    assert floats(lambda: torch.mul(x, x)) == (10, 10)
    assert floats(lambda: torch.mul(x[:5], x[5:])) == (10, 5)


def test_what_is_changed_in_place_is_read_and_written_and_what_is_overwritten_is_not_read() -> None:
    x, y = torch.zeros(10), torch.ones(10)
    assert floats(lambda: x.add_(y)) == (20, 10)
    assert floats(lambda: x.zero_()) == (0, 10)
    assert floats(lambda: x.copy_(y)) == (10, 10)
    assert floats(lambda: torch.mul(y, 2.0, out=x)) == (10, 10)
    assert floats(lambda: torch.zeros_like(x)) == (0, 10)


def test_an_operator_on_a_list_counts_once_with_all_its_tensors() -> None:
    tensors = [torch.zeros(3), torch.zeros(5)]
    operators = count_operators(lambda: torch._foreach_add_(tensors, 1.0))
    assert operators == Operators(calls={"aten._foreach_add_": 1}, bytes_read=8 * FLOAT, bytes_written=8 * FLOAT)


def test_a_number_taken_from_a_tensor_is_an_operator() -> None:
    assert count_operators(torch.zeros(1).item).calls == {"aten._local_scalar_dense": 1}


def test_what_is_computed_again_is_counted_again() -> None:
    layer, x = nn.Linear(4, 4), torch.zeros(2, 4)
    plain = count_operators(lambda: layer(x).relu().sum().backward())
    again = count_operators(lambda: checkpoint(lambda y: layer(y).relu(), x, use_reentrant=False).sum().backward())
    assert (plain.calls["aten.addmm"], again.calls["aten.addmm"]) == (1, 2)


@pytest.mark.parametrize("n_layer", [1, 3])
def test_matrix_products_of_a_transformer_follow_from_its_depth(n_layer: int) -> None:
    """Four linear layers in a block and the head; the backward pass has two products for each."""
    model = ModelConfig(n_layer=n_layer, d_model=32, n_head=2)
    linear_layers = 4 * model.n_layer + 1
    passes = {"forward": 1, "eval": 1, "backward": 2, "step": 3}
    products = {phase: counted(phase, model).calls["aten.mm"] for phase in passes}
    assert products == {phase: passes[phase] * linear_layers for phase in passes}
    assert "aten.mm" not in counted("optimizer", model).calls


def test_evaluation_runs_the_operators_of_the_forward_pass() -> None:
    """Inference mode skips autograd, where composite operators would come apart; they must all the same."""
    model = ModelConfig(n_layer=1, d_model=32, n_head=2)
    assert counted("eval", model) == counted("forward", model)


def test_a_step_is_its_three_phases() -> None:
    model = ModelConfig(n_layer=1, d_model=32, n_head=2)
    parts = [counted(phase, model) for phase in ("forward", "backward", "optimizer")]
    whole = counted("step", model)
    assert whole.total == sum(part.total for part in parts)
    assert whole.bytes_read == sum(part.bytes_read for part in parts)
    assert whole.bytes_written == sum(part.bytes_written for part in parts)


def test_two_counts_of_one_code_are_equal() -> None:
    model = ModelConfig(n_layer=2, d_model=32, n_head=2, activation="swiglu", tied_head=True)
    assert counted("step", model) == counted("step", model)

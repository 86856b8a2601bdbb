"""The sweep holds what it should, before anything is measured and without torch."""

import subprocess
import sys

from scalemark.measure.shapes import N_TRIADS, SQUARES, gemm_shapes, kernel_orders, model_products
from scalemark.model.accounting import account
from scalemark.schema import Dtype, ModelConfig, TaskRef, Workload


def workload(width: int, dtype: Dtype = "float32", batch: int = 2, seq_len: int = 8) -> Workload:
    model = ModelConfig(n_layer=1, d_model=width, n_head=1)
    return Workload(phase="step", model=model, batch=batch, seq_len=seq_len, dtype=dtype)


def test_a_models_products_are_its_forward_flops() -> None:
    """All layers but the head n_layer times: the same number as the accounting's, which counts weights instead."""
    for activation in ("relu2", "swiglu"):
        model = ModelConfig(n_layer=3, d_model=64, n_head=2, vocab_size=500, activation=activation)
        *in_each_block, head = model_products(model, 40)
        flops = sum(2 * m * n * k for m, n, k in in_each_block * model.n_layer + [head])
        assert flops == account(model, 5, 8).flops.matmul


def test_products_have_a_row_for_each_token() -> None:
    assert {m for m, _, _ in model_products(workload(64).model, 16)} == {16}


def test_the_sweep_is_the_squares_and_the_products_of_the_two_largest_rungs() -> None:
    shapes = gemm_shapes("cpu", [workload(width) for width in (32, 128, 64)])
    own = {*model_products(workload(128).model, 16), *model_products(workload(64).model, 16)}
    assert set(shapes) == {(size, size, size) for size in SQUARES["cpu"]} | own
    assert len(shapes) == len(set(shapes))


def test_a_rung_that_runs_in_several_batches_is_swept_at_its_largest() -> None:
    shapes = gemm_shapes("cpu", [workload(64, batch=2), workload(64, batch=4)])
    assert {m for m, n, k in shapes if not m == n == k} == {4 * 8}


def test_a_users_own_task_adds_no_shape() -> None:
    task = Workload(phase="step", task=TaskRef(path="bench_mine.py", function="mine"))
    assert gemm_shapes("cpu", [task]) == tuple((size, size, size) for size in SQUARES["cpu"])


def test_each_dtype_is_swept_with_the_shapes_of_its_own_cells() -> None:
    orders = kernel_orders([workload(32), workload(96, "bfloat16")], "cpu")
    for dtype, width in (("float32", 32), ("bfloat16", 96)):
        own = {order.shape for order in orders if order.name == "gemm" and order.dtype == dtype}
        assert (16, width, width) in own
        assert len(own) == len(SQUARES["cpu"]) + 5
    assert [order.shape for order in orders if order.name == "triad"] == [None] * N_TRIADS


def test_float32_is_swept_even_where_no_cell_uses_it() -> None:
    assert {order.dtype for order in kernel_orders([workload(64, "bfloat16")], "cpu")} == {"float32", "bfloat16"}


def test_a_product_is_ordered_once_in_a_block() -> None:
    products = [order for order in kernel_orders([workload(64), workload(64)], "cpu") if order.name == "gemm"]
    assert len(products) == len(set(products))


def test_choosing_shapes_does_not_load_torch() -> None:
    program = "import sys, scalemark.measure.shapes\nassert 'torch' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0

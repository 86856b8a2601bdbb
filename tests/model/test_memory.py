"""The memory model against the tensors that torch is seen to hold, and what must be true of any such model."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from scalemark.measure.memory import measure_memory
from scalemark.measure.phases import build_task, make_round
from scalemark.model.accounting import account
from scalemark.model.ladder import RUNGS, diagonal_shape, find_rung
from scalemark.model.memory import predict_memory
from scalemark.schema import AttentionBackend, Dtype, ModelConfig, Optimizer, Phase, PredictedMemory, TaskRef, Workload

PHASES: tuple[Phase, ...] = ("forward", "backward", "optimizer", "step", "eval")
DTYPES: tuple[Dtype, ...] = ("float32", "bfloat16")
PARTS = ("parameter", "gradient", "optimizer_state", "activation", "logits", "temporary", "data")
OPTIONS: tuple[dict[str, object], ...] = (
    {"micro_batches": 2},
    {"micro_batches": 4},
    {"micro_batches": 2, "checkpointed": True},
    {"optimizer_kernels": "foreach"},
    {"optimizer_kernels": "for_loop"},
    {"attention": "math"},
    {"attention": "math", "checkpointed": True},
    {"attention": "flash"},
)
TEXT = np.arange(5000).astype(np.uint8)
# Every option, with sizes that nothing divides, and small enough to build by the dozen.
SHAPES = {
    "relu2": ModelConfig(n_layer=3, d_model=40, n_head=5, vocab_size=300),
    "swiglu": ModelConfig(n_layer=2, d_model=24, n_head=2, vocab_size=300, activation="swiglu"),
    "tied": ModelConfig(n_layer=2, d_model=32, n_head=2, activation="swiglu", tied_head=True),
    "large-vocabulary": ModelConfig(n_layer=1, d_model=16, n_head=1, vocab_size=4096),
    "large-tied-vocabulary": ModelConfig(n_layer=1, d_model=16, n_head=1, vocab_size=4096, tied_head=True),
}


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def workload(
    model: ModelConfig,
    phase: Phase,
    dtype: Dtype = "float32",
    optimizer: Optimizer | None = "adamw",
    batch: int = 2,
    seq_len: int = 24,
    **changes: object,
) -> Workload:
    fields = {"batch": batch, "seq_len": seq_len, "dtype": dtype, "optimizer": optimizer, **changes}
    return Workload.model_validate({"phase": phase, "model": model, **fields})


def predicted(of: Workload) -> PredictedMemory:
    memory = predict_memory(of)
    assert memory is not None
    return memory


def measured_bytes(of: Workload) -> int:
    """What the memory pass sees."""
    task = build_task(of, TEXT, seed=0)
    one = make_round(task, of)
    if of.phase in ("step", "optimizer"):
        one.prepare()
        one.timed()
    allocated_bytes = measure_memory(task, one, "cpu").allocated_bytes
    assert allocated_bytes is not None
    return allocated_bytes


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("model", SHAPES.values(), ids=SHAPES)
def test_the_predicted_peak_is_that_of_the_live_tensors_to_the_byte(
    model: ModelConfig, phase: Phase, dtype: Dtype
) -> None:
    cell = workload(model, phase, dtype)
    assert predicted(cell).peak_bytes == measured_bytes(cell)


@pytest.mark.parametrize("optimizer", ["sgd", None])
@pytest.mark.parametrize("phase", ["optimizer", "step"])
def test_an_optimizer_without_state_is_predicted_to_the_byte(phase: Phase, optimizer: Optimizer | None) -> None:
    cell = workload(SHAPES["large-tied-vocabulary"], phase, optimizer=optimizer)
    assert predicted(cell).peak_bytes == measured_bytes(cell)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("name", "batch", "seq_len"),
    [("d1w64", 2, 256), ("d2w128", 1, 128), ("d2w128", 1, 1024), ("d2w512", 2, 256), ("d12w128", 2, 256)],
)
def test_a_step_of_a_rung_is_predicted_to_the_byte(name: str, dtype: Dtype, batch: int, seq_len: int) -> None:
    cell = workload(find_rung(name), "step", dtype, batch=batch, seq_len=seq_len)
    assert predicted(cell).peak_bytes == measured_bytes(cell)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["d2w128", "d4w256-v4096", "d4w256-swiglu-tied"])
def test_an_evaluation_of_a_rung_is_predicted_to_the_byte(name: str, dtype: Dtype) -> None:
    cell = workload(find_rung(name), "eval", dtype, batch=2, seq_len=256)
    assert predicted(cell).peak_bytes == measured_bytes(cell)


@settings(max_examples=25, deadline=None)
@given(
    depth=st.integers(1, 3),
    heads=st.integers(1, 3),
    half_head=st.integers(1, 9),
    vocab_size=st.integers(256, 1500),
    gated=st.booleans(),
    tied=st.booleans(),
    phase=st.sampled_from(PHASES),
    dtype=st.sampled_from(DTYPES),
    batch=st.integers(1, 3),
    seq_len=st.integers(1, 33),
    checkpointed=st.booleans(),
    attention=st.sampled_from([None, "math"]),
)
def test_any_shape_is_predicted_to_the_byte(
    depth: int,
    heads: int,
    half_head: int,
    vocab_size: int,
    gated: bool,
    tied: bool,
    phase: Phase,
    dtype: Dtype,
    batch: int,
    seq_len: int,
    checkpointed: bool,
    attention: AttentionBackend | None,
) -> None:
    model = ModelConfig(
        n_layer=depth,
        d_model=2 * heads * half_head,
        n_head=heads,
        vocab_size=vocab_size,
        activation="swiglu" if gated else "relu2",
        tied_head=tied,
    )
    how = {"batch": batch, "seq_len": seq_len, "checkpointed": checkpointed, "attention": attention}
    cell = workload(model, phase, dtype, **how)
    assert predicted(cell).peak_bytes == measured_bytes(cell)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("phase", ["forward", "step", "eval"])
@pytest.mark.parametrize("model", SHAPES.values(), ids=SHAPES)
def test_a_checkpointed_peak_is_predicted_to_the_byte(model: ModelConfig, phase: Phase, dtype: Dtype) -> None:
    cell = workload(model, phase, dtype, checkpointed=True)
    assert predicted(cell).peak_bytes == measured_bytes(cell)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("option", OPTIONS, ids=str)
@pytest.mark.parametrize("model", [SHAPES["relu2"], SHAPES["large-tied-vocabulary"]], ids=["relu2", "large-tied"])
def test_a_step_with_an_option_is_predicted_to_the_byte(
    model: ModelConfig, option: dict[str, object], dtype: Dtype
) -> None:
    cell = workload(model, "step", dtype, batch=4, **option)
    assert predicted(cell).peak_bytes == measured_bytes(cell)


@pytest.mark.parametrize("option", OPTIONS, ids=str)
def test_a_rungs_step_with_an_option_is_predicted_to_the_byte(option: dict[str, object]) -> None:
    cell = workload(find_rung("d2w128"), "step", batch=4, seq_len=256, **option)
    assert predicted(cell).peak_bytes == measured_bytes(cell)


@pytest.mark.parametrize("kernels", ["foreach", "for_loop"])
def test_an_update_by_other_kernels_is_predicted_to_the_byte(kernels: str) -> None:
    cell = workload(SHAPES["large-vocabulary"], "optimizer", optimizer_kernels=kernels)
    assert predicted(cell).peak_bytes == measured_bytes(cell)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_checkpointing_keeps_an_input_per_block_and_little_else(dtype: Dtype, device: str) -> None:
    """With all activations of 12 blocks against those of one and 12 inputs, most of them are gone."""
    model = ModelConfig(n_layer=12, d_model=128, n_head=2)
    kept, dropped = (
        predicted(workload(model, "backward", dtype, batch=8, device=device, checkpointed=checkpointed))
        for checkpointed in (False, True)
    )
    assert dropped.activation_bytes < 0.35 * kept.activation_bytes


def test_more_micro_batches_never_need_more() -> None:
    peaks = [
        predicted(workload(find_rung("d4w256"), "step", batch=8, seq_len=256, micro_batches=parts)).peak_bytes
        for parts in (1, 2, 4, 8)
    ]
    assert peaks == sorted(peaks, reverse=True)
    assert peaks[-1] < peaks[0]


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("model", RUNGS.values(), ids=RUNGS)
def test_the_parts_add_up_to_the_peak(model: ModelConfig, phase: Phase, dtype: Dtype, device: str) -> None:
    memory = predicted(workload(model, phase, dtype, device=device))
    parts = [getattr(memory, f"{part}_bytes") for part in PARTS]
    assert sum(parts) == memory.peak_bytes
    assert min(parts) >= 0


def test_the_parts_are_those_of_the_accounting() -> None:
    model = find_rung("d4w256")
    memory, counted = predicted(workload(model, "optimizer")), account(model, 2, 24)
    angles_bytes = 2 * 24 * model.d_head * 4
    counters_bytes = 4 * (2 + 6 * model.n_layer + 1)
    assert memory.parameter_bytes == counted.parameter_bytes + angles_bytes
    assert memory.gradient_bytes == counted.gradient_bytes
    assert memory.optimizer_state_bytes == counted.optimizer_state_bytes + counters_bytes


@pytest.mark.parametrize("phase", ["forward", "eval"])
def test_a_phase_without_update_holds_neither_gradients_nor_optimizer_state(phase: Phase) -> None:
    memory = predicted(workload(find_rung("d4w256"), phase))
    assert memory.gradient_bytes == memory.optimizer_state_bytes == 0


def test_eval_keeps_no_activations_so_depth_adds_only_parameters() -> None:
    shallow, deep = (
        predicted(workload(ModelConfig(n_layer=depth, d_model=64, n_head=1), "eval")) for depth in (1, 100)
    )
    assert deep.activation_bytes == 0
    assert deep.peak_bytes - shallow.peak_bytes == deep.parameter_bytes - shallow.parameter_bytes


@settings(max_examples=60)
@given(
    depth=st.integers(1, 12),
    phase=st.sampled_from(PHASES),
    dtype=st.sampled_from(DTYPES),
    batch=st.integers(1, 8),
    seq_len=st.integers(1, 2048),
    device=st.sampled_from(["cpu", "cuda"]),
)
def test_more_tokens_or_a_larger_model_never_need_less(
    depth: int, phase: Phase, dtype: Dtype, batch: int, seq_len: int, device: str
) -> None:
    def peak_bytes(rung: int = depth, batch: int = batch, seq_len: int = seq_len) -> int:
        changed = workload(diagonal_shape(rung), phase, dtype, batch=batch, seq_len=seq_len, device=device)
        return predicted(changed).peak_bytes

    assert peak_bytes() < peak_bytes(rung=depth + 1)
    assert peak_bytes() <= peak_bytes(batch=batch + 1)
    assert peak_bytes() <= peak_bytes(seq_len=seq_len + 1)


@given(seq_len=st.integers(1, 4096))
def test_flash_attention_holds_nothing_that_grows_with_the_square_of_the_length(seq_len: int) -> None:
    once, twice = (
        predicted(workload(find_rung("d4w256"), "forward", seq_len=length)).peak_bytes
        for length in (seq_len, 2 * seq_len)
    )
    assert twice < 2 * once


def test_a_step_needs_what_its_phases_need() -> None:
    model = find_rung("d4w256")
    step = predicted(workload(model, "step")).peak_bytes
    assert step >= max(predicted(workload(model, phase)).peak_bytes for phase in PHASES)


def test_cuda_hands_out_whole_blocks_of_512_bytes() -> None:
    memory = predicted(workload(SHAPES["relu2"], "step", device="cuda"))
    assert all(getattr(memory, f"{part}_bytes") % 512 == 0 for part in PARTS)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_the_fused_adamw_needs_no_room_of_its_own(device: str) -> None:
    memory = predicted(workload(find_rung("d9w576"), "optimizer", device=device))
    assert memory.temporary_bytes == 0
    assert (
        memory.peak_bytes
        == memory.parameter_bytes + memory.gradient_bytes + memory.optimizer_state_bytes + memory.data_bytes
    )


def test_a_users_own_task_is_not_predicted() -> None:
    assert predict_memory(Workload(phase="step", task=TaskRef(path="bench_mine.py", function="mine"))) is None


def test_a_compiled_workload_is_held_to_the_same_upper_bound() -> None:
    cells = [workload(find_rung("d2w128"), "step", compiled=compiled) for compiled in (False, True)]
    assert predict_memory(cells[0]) == predict_memory(cells[1])

"""What the formulas say of a shape is what torch finds in the built module."""

import numpy as np
import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from scalemark.measure.phases import build_task, make_round
from scalemark.model.accounting import account, account_workload, forward_flops
from scalemark.model.ladder import DIAGONAL, RUNGS
from scalemark.model.transformer import Transformer, next_token_loss
from scalemark.schema import ModelConfig, Optimizer, Workload

BATCH, SEQ_LEN = 2, 32
# Heads that do not divide evenly, a hidden width that SwiGLU rounds up, and every option together.
ODD_SHAPES = (
    ModelConfig(n_layer=3, d_model=40, n_head=5, vocab_size=97),
    ModelConfig(n_layer=1, d_model=24, n_head=2, vocab_size=50, activation="swiglu"),
    ModelConfig(n_layer=2, d_model=32, n_head=2, vocab_size=1000, activation="swiglu", tied_head=True),
    ModelConfig(n_layer=2, d_model=32, n_head=2, tied_head=True),
)
SHAPES = pytest.mark.parametrize("config", [*RUNGS.values(), *ODD_SHAPES], ids=lambda config: config.name)


def build_without_memory(config: ModelConfig) -> Transformer:
    """Shapes only, so that 680 M parameters cost nothing."""
    with torch.device("meta"):
        return Transformer(config, SEQ_LEN)


def count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@SHAPES
def test_parameter_counts_are_those_of_the_built_module(config: ModelConfig) -> None:
    model, accounting = build_without_memory(config), account(config, BATCH, SEQ_LEN)
    assert accounting.params_total == count(model)
    assert accounting.params_embedding == count(model.table)
    assert accounting.params_head == (0 if config.tied_head else count(model.head))
    assert accounting.params_non_embedding == count(model.blocks) + count(model.norm)


@SHAPES
def test_flops_are_those_that_torch_counts_with_plain_attention(config: ModelConfig) -> None:
    model, flops = build_without_memory(config), forward_flops(config, BATCH, SEQ_LEN)
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), counter:
        model(torch.zeros(BATCH, SEQ_LEN, dtype=torch.int64, device="meta"))
    by_operator = counter.get_flop_counts()["Global"]
    attention = sum(value for operator, value in by_operator.items() if "bmm" in str(operator))
    assert attention == flops.attention_full
    assert counter.get_total_flops() - attention == flops.matmul


def test_a_backward_pass_costs_twice_the_forward_pass() -> None:
    config = ODD_SHAPES[0]
    model, flops = Transformer(config, SEQ_LEN), forward_flops(config, BATCH, SEQ_LEN)
    tokens = torch.zeros(BATCH, SEQ_LEN, dtype=torch.int64)
    with sdpa_kernel(SDPBackend.MATH):
        loss = next_token_loss(model(tokens), tokens)
        with FlopCounterMode(display=False) as counter:
            loss.backward()  # type: ignore[no-untyped-call]
    assert counter.get_total_flops() == flops.model_flops("backward")


def test_a_step_is_a_forward_and_a_backward_pass_and_an_update_counts_nothing() -> None:
    flops = forward_flops(DIAGONAL[0], BATCH, SEQ_LEN)
    assert flops.model_flops("step") == flops.model_flops("forward") + flops.model_flops("backward")
    assert flops.model_flops("eval") == flops.model_flops("forward")
    assert flops.model_flops("optimizer") == 0


@pytest.mark.parametrize("seq_len", [1, 2, 7, 64])
def test_causal_attention_counts_the_pairs_that_the_mask_leaves(seq_len: int) -> None:
    config = ODD_SHAPES[0]
    pairs = sum(1 for query in range(seq_len) for key in range(seq_len) if key <= query)
    # Per pair, head and layer: a product of two d_head vectors for the score, and one value vector scaled and added.
    flops_per_pair = 2 * (2 * config.d_head)
    expected = pairs * flops_per_pair * config.n_head * config.n_layer * BATCH
    assert forward_flops(config, BATCH, seq_len).attention_causal == expected


def test_recomputation_is_kept_apart_and_is_none() -> None:
    assert all(forward_flops(config, BATCH, SEQ_LEN).recompute_forward_passes == 0 for config in RUNGS.values())


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_state_bytes_are_those_of_the_real_optimizer(optimizer: Optimizer) -> None:
    config = ODD_SHAPES[1]
    model = Transformer(config, SEQ_LEN)
    classes = {"adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}
    built = classes[optimizer](model.parameters(), lr=1e-3)
    tokens = torch.zeros(BATCH, SEQ_LEN, dtype=torch.int64)
    next_token_loss(model(tokens), tokens).backward()  # type: ignore[no-untyped-call]
    built.step()
    accounting = account(config, BATCH, SEQ_LEN, optimizer=optimizer)
    # AdamW also keeps one step counter per tensor, a scalar.
    states = [value for state in built.state.values() for value in state.values() if value.ndim > 0]
    assert accounting.optimizer_state_bytes == sum(state.nbytes for state in states)
    assert accounting.parameter_bytes == sum(parameter.nbytes for parameter in model.parameters())
    assert accounting.gradient_bytes == sum(p.grad.nbytes for p in model.parameters() if p.grad is not None)


def test_no_optimizer_keeps_no_state() -> None:
    assert account(DIAGONAL[0], BATCH, SEQ_LEN, optimizer=None).optimizer_state_bytes == 0


def test_mixed_precision_halves_the_activations_and_nothing_else() -> None:
    single, mixed = (account(DIAGONAL[1], BATCH, SEQ_LEN, dtype) for dtype in ("float32", "bfloat16"))
    assert single.activation_bytes == 2 * (mixed.activation_bytes or 0) > 0
    assert single.model_copy(update={"activation_bytes": None}) == mixed.model_copy(update={"activation_bytes": None})


def kept_for_backward_bytes(model: torch.nn.Module, tokens: torch.Tensor) -> int:
    """Bytes of every storage that autograd keeps, parameters apart."""
    parameters = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept: dict[int, torch.Tensor] = {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        loss = next_token_loss(model(tokens), tokens)
    assert loss.requires_grad
    return sum(tensor.untyped_storage().nbytes() for place, tensor in kept.items() if place not in parameters)


@pytest.mark.parametrize("config", [DIAGONAL[1], RUNGS["d12w128"], RUNGS["d4w256-swiglu-tied"]], ids=lambda c: c.name)
def test_activation_bytes_come_close_to_what_autograd_keeps(config: ModelConfig) -> None:
    accounting = account(config, 1, 128)
    kept_bytes = kept_for_backward_bytes(Transformer(config, 128), torch.zeros(1, 128, dtype=torch.int64))
    counted_bytes = (accounting.activation_bytes or 0) + (accounting.logits_bytes or 0)
    assert counted_bytes <= kept_bytes <= 1.3 * counted_bytes


def test_logits_bytes_are_those_of_the_logits() -> None:
    config = ODD_SHAPES[0]
    logits = build_without_memory(config)(torch.zeros(BATCH, SEQ_LEN, dtype=torch.int64, device="meta"))
    assert account(config, BATCH, SEQ_LEN).logits_bytes == logits.nbytes


def test_items_are_the_tokens_of_a_batch() -> None:
    assert account(DIAGONAL[0], batch=3, seq_len=5).items == 15


def test_narrower_heads_have_more_scores_for_the_same_flops() -> None:
    wide, narrow = (account(ModelConfig(n_layer=3, d_model=128, n_head=heads), 2, 64) for heads in (2, 8))
    assert wide.flops == narrow.flops
    assert wide.attention_scores == 3 * 2 * 2 * 64**2
    assert narrow.attention_scores == 4 * wide.attention_scores
    assert wide.flops.attention_full == 4 * 64 * wide.attention_scores


def odd_step(config: ModelConfig, **option: object) -> Workload:
    fields = {"phase": "step", "model": config, "batch": 4, "seq_len": 24, "optimizer": "adamw", **option}
    return Workload.model_validate(fields)


@pytest.mark.parametrize("checkpointed", [False, True])
@pytest.mark.parametrize("config", ODD_SHAPES, ids=lambda config: config.name)
def test_hardware_flops_of_a_step_are_those_that_torch_runs_what_is_repeated_among_them(
    config: ModelConfig, checkpointed: bool
) -> None:
    """Attention by its plain backend, since torch counts 0 for the fused one on CPU."""
    workload = odd_step(config, checkpointed=checkpointed, attention="math")
    one = make_round(build_task(workload, (np.arange(5000) % 50).astype(np.uint8), 0), workload)
    with FlopCounterMode(display=False) as counter:
        one.timed()
    accounting = account_workload(workload)
    assert accounting is not None
    assert counter.get_total_flops() == pytest.approx(accounting.flops.hardware_flops("step"), rel=1e-12)


def test_checkpointing_changes_no_model_flops_and_no_bytes_but_those_of_activations() -> None:
    plain, checkpointed = (account_workload(odd_step(DIAGONAL[7], checkpointed=is_so)) for is_so in (False, True))
    assert plain is not None and checkpointed is not None
    assert checkpointed.flops.model_flops("step") == plain.flops.model_flops("step")
    assert checkpointed.activation_bytes < plain.activation_bytes / 4
    same = {"flops", "activation_bytes"}
    assert checkpointed.model_dump(exclude=same) == plain.model_dump(exclude=same)


def test_micro_batches_keep_the_activations_and_logits_of_one_part_and_all_else_of_the_batch() -> None:
    whole, quarter = (account_workload(odd_step(DIAGONAL[1], micro_batches=parts)) for parts in (1, 4))
    assert whole is not None and quarter is not None
    assert (quarter.activation_bytes, quarter.logits_bytes) == (whole.activation_bytes / 4, whole.logits_bytes / 4)
    assert (quarter.flops, quarter.items) == (whole.flops, whole.items)

"""The model is causal, knows places only by their distance, and learns from a known start."""

import math

import pytest
import torch
from torch import Tensor

from scalemark.model.transformer import (
    ATTENTION_SHARPNESS,
    Attention,
    Transformer,
    next_token_loss,
    rotary_angles,
    rotate,
)
from scalemark.schema import ModelConfig

SEQ_LEN = 16
PLAIN = ModelConfig(n_layer=2, d_model=32, n_head=2, vocab_size=50)
GATED = PLAIN.model_copy(update={"activation": "swiglu"})
TIED = PLAIN.model_copy(update={"tied_head": True})
EVERY = pytest.mark.parametrize("config", [PLAIN, GATED, TIED], ids=lambda config: config.name)


def random_tokens(config: ModelConfig, batch: int = 2) -> Tensor:
    return torch.randint(config.vocab_size, (batch, SEQ_LEN), generator=torch.Generator().manual_seed(1))


def stirred(config: ModelConfig) -> Transformer:
    """A model none of whose weights is zero, as one is after training."""
    torch.manual_seed(0)
    model = Transformer(config, SEQ_LEN)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.2)
    return model


@EVERY
@pytest.mark.parametrize("changed", [1, 7, SEQ_LEN - 1])
def test_a_changed_token_leaves_all_earlier_logits_as_they_were(config: ModelConfig, changed: int) -> None:
    model, tokens = stirred(config), random_tokens(config)
    other = tokens.clone()
    other[:, changed] = (other[:, changed] + 1) % config.vocab_size
    with torch.no_grad():
        before, after = model(tokens), model(other)
    torch.testing.assert_close(after[:, :changed], before[:, :changed], rtol=0, atol=1e-6)
    assert (after[:, changed:] - before[:, changed:]).abs().amax(dim=-1).min() > 1e-4


def test_sequences_of_a_batch_do_not_see_each_other() -> None:
    model, tokens = stirred(PLAIN), random_tokens(PLAIN)
    with torch.no_grad():
        torch.testing.assert_close(model(tokens)[1:], model(tokens[1:]))


def test_a_shorter_text_gets_the_logits_of_a_longer_ones_beginning() -> None:
    model, tokens = stirred(PLAIN), random_tokens(PLAIN)
    with torch.no_grad():
        torch.testing.assert_close(model(tokens)[:, :5], model(tokens[:, :5]))


def test_rotary_scores_depend_on_the_distance_alone() -> None:
    d_head, length = 8, 64
    cos, sin = rotary_angles(length, d_head)
    query, key = torch.randn(2, d_head, generator=torch.Generator().manual_seed(0))
    queries, keys = (rotate(x.expand(length, 1, d_head), cos, sin)[:, 0] for x in (query, key))
    scores = queries @ keys.T
    for distance in range(-length + 1, length):
        diagonal = scores.diagonal(distance)
        torch.testing.assert_close(diagonal, diagonal[:1].expand_as(diagonal), rtol=0, atol=1e-4)
    assert scores[0].std() > 0.1, "and it does depend on the distance"


def test_rotary_positions_turn_pairs_by_position_times_frequency() -> None:
    d_head = 8
    cos, sin = rotary_angles(32, d_head)
    x = torch.randn(32, 1, d_head, generator=torch.Generator().manual_seed(0))
    turned = rotate(x, cos, sin)
    for pair in range(d_head // 2):
        angles = torch.arange(32) * 10_000 ** (-2 * pair / d_head)
        plane = torch.complex(x[:, 0, pair], x[:, 0, pair + d_head // 2]) * torch.exp(1j * angles)
        torch.testing.assert_close(turned[:, 0, pair], plane.real)
        torch.testing.assert_close(turned[:, 0, pair + d_head // 2], plane.imag)


def test_rotary_positions_change_no_length_and_leave_the_first_place_alone() -> None:
    cos, sin = rotary_angles(SEQ_LEN, 8)
    x = torch.randn(SEQ_LEN, 3, 8, generator=torch.Generator().manual_seed(0))
    turned = rotate(x, cos, sin)
    torch.testing.assert_close(turned.norm(dim=-1), x.norm(dim=-1))
    torch.testing.assert_close(turned[0], x[0])


def test_attention_is_the_softmax_of_normalised_rotated_products() -> None:
    """A second method: one head and one place at a time, in float64."""
    torch.manual_seed(0)
    attention = Attention(PLAIN).double()
    x = torch.randn(1, SEQ_LEN, PLAIN.d_model, dtype=torch.float64)
    cos, sin = rotary_angles(SEQ_LEN, PLAIN.d_head)
    heads = (x @ attention.qkv.weight.T).view(SEQ_LEN, 3, PLAIN.n_head, PLAIN.d_head)
    mixed = torch.zeros(SEQ_LEN, PLAIN.n_head, PLAIN.d_head, dtype=torch.float64)
    for head in range(PLAIN.n_head):
        q, k, v = heads[:, 0, head], heads[:, 1, head], heads[:, 2, head]
        q, k = (
            rotate((y / (y.square().mean(-1, keepdim=True)).sqrt())[:, None], cos.double(), sin.double())[:, 0]
            for y in (q, k)
        )
        for place in range(SEQ_LEN):
            weights = torch.softmax(k[: place + 1] @ q[place] * ATTENTION_SHARPNESS / PLAIN.d_head, dim=0)
            mixed[place, head] = weights @ v[: place + 1]
    expected = mixed.flatten(1) @ attention.out.weight.T
    torch.testing.assert_close(attention(x, cos.double(), sin.double())[0], expected, rtol=1e-5, atol=1e-6)


@EVERY
def test_checkpointed_gradients_are_the_plain_ones_to_the_last_bit(config: ModelConfig) -> None:
    tokens = random_tokens(config)
    gradients = []
    for checkpointed in (False, True):
        model = stirred(config)
        model.checkpointed = checkpointed
        next_token_loss(model(tokens), tokens).backward()
        gradients.append([parameter.grad for parameter in model.parameters()])
    plain, again = gradients
    assert all(torch.equal(one, other) for one, other in zip(plain, again, strict=True))
    assert all(gradient.abs().max() > 0 for gradient in plain)


def test_checkpointing_runs_each_block_twice_to_learn_and_once_to_tell() -> None:
    model = Transformer(PLAIN, SEQ_LEN, checkpointed=True)
    calls: list[str] = []
    for block in model.blocks:
        block.attention.out.register_forward_hook(lambda *_: calls.append("out"))
    tokens = random_tokens(PLAIN)
    with torch.no_grad():
        model(tokens)
    assert len(calls) == PLAIN.n_layer
    next_token_loss(model(tokens), tokens).backward()
    assert len(calls) == PLAIN.n_layer * 3


@EVERY
def test_every_block_begins_as_the_identity(config: ModelConfig) -> None:
    model = Transformer(config, SEQ_LEN)
    x = torch.randn(2, SEQ_LEN, config.d_model)
    for block in model.blocks:
        assert torch.equal(block(x, model.cos, model.sin), x)


@pytest.mark.parametrize("config", [PLAIN, GATED], ids=lambda config: config.name)
def test_a_new_model_gives_every_token_the_same_chance(config: ModelConfig) -> None:
    tokens = random_tokens(config)
    loss = next_token_loss(Transformer(config, SEQ_LEN)(tokens), tokens)
    assert loss.item() == pytest.approx(math.log(config.vocab_size), rel=1e-6)


def test_the_loss_is_the_mean_negative_log_probability_of_the_target() -> None:
    logits = torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(0))
    targets = torch.tensor([[0, 4, 2], [1, 1, 3]])
    by_hand = [
        math.log(sum(math.exp(z) for z in logits[row, place].tolist())) - logits[row, place, targets[row, place]].item()
        for row in range(2)
        for place in range(3)
    ]
    assert next_token_loss(logits, targets).item() == pytest.approx(sum(by_hand) / 6, rel=1e-5)


def test_a_tied_head_is_the_table_and_is_counted_once() -> None:
    model, untied = Transformer(TIED, SEQ_LEN), Transformer(PLAIN, SEQ_LEN)
    assert model.head.weight is model.table.weight
    counts = [sum(parameter.numel() for parameter in m.parameters()) for m in (untied, model)]
    assert counts[0] - counts[1] == TIED.vocab_size * TIED.d_model


@EVERY
def test_every_parameter_moves_within_three_steps(config: ModelConfig) -> None:
    """Zeros pass no gradient back, so the head wakes first, then what feeds the stream, then what feeds that."""
    torch.manual_seed(0)
    model, tokens = Transformer(config, SEQ_LEN), random_tokens(config)
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        next_token_loss(model(tokens[:, :-1]), tokens[:, 1:]).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    still = [name for name, parameter in model.named_parameters() if torch.equal(parameter, before[name])]
    assert not still


def test_the_same_seed_builds_the_same_model() -> None:
    def built(seed: int) -> list[Tensor]:
        torch.manual_seed(seed)
        return list(Transformer(PLAIN, SEQ_LEN).state_dict().values())

    assert all(torch.equal(one, other) for one, other in zip(built(0), built(0), strict=True))
    assert not all(torch.equal(one, other) for one, other in zip(built(0), built(1), strict=True))

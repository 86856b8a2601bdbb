"""Models that could be trained: every depth and width that the laws can be asked about.

    layers    those of the trained models, and deeper
    width     multiples of 16, 32, 64, … as models grow; at most 128 per layer (GPT-3's shape; Brown et al. 2020)
    heads     of the size that was trained, and larger where that leaves as many as the widest trained model has

The loss law knows a model by its size alone. At one size, loss hardly depends on shape over a wide range (Kaplan et
al. 2020, figure 5), but that range has ends: so nothing is shallower than what was trained, and nothing is wider for
its depth than the field's models are. Within these the cost law chooses. Fewer, larger heads do cost loss: with heads
of 64 in place of 16, models of width 64 and 128 ended 3 to 4 % higher, at the same time per step (docs/planning.md).
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from scalemark.errors import InputError, UnknownRungError
from scalemark.model.accounting import account, params_per_block
from scalemark.model.ladder import find_rung
from scalemark.schema import Accounting, Dtype, ModelConfig, Optimizer, TrainingRun, Workload

MOST_WIDTH_PER_LAYER = 128
# Of models deeper than those trained; narrower ones are never cheaper for their size.
LEAST_WIDTH_PER_LAYER = 8
# (up to this width, in steps of)
WIDTH_STEPS = ((128, 16), (512, 32), (2048, 64), (8192, 128), (24576, 256))
DEPTHS = (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 18, 20, 24, 28, 32, 40, 48, 56, 64, 80, 96, 112, 128)
HEAD_SIZES = (64, 32, 16, 8, 4, 2)
_SHAPE = re.compile(r"d(\d+)w(\d+)")


@dataclass(frozen=True)
class Recipe:
    """How the models of a loss law were trained, and so how the planned one must be for the law to hold.

    warmup_steps, decay_share: of the learning rate; see `TrainingConfig`.
    """

    batch: int
    seq_len: int
    vocab_size: int
    dtype: Dtype
    optimizer: Optimizer
    device: Literal["cpu", "cuda"]
    warmup_steps: int
    decay_share: float

    @classmethod
    def of(cls, run: TrainingRun) -> "Recipe":
        """Of a training run of one of our models."""
        config = run.config
        assert config.model and config.batch and config.optimizer
        return cls(
            batch=config.batch,
            seq_len=config.seq_len,
            vocab_size=config.model.vocab_size,
            dtype=config.dtype,
            optimizer=config.optimizer,
            device=config.device,
            warmup_steps=config.warmup_steps or 0,
            decay_share=config.decay_share or 0.0,
        )

    @property
    def tokens_per_step(self) -> int:
        return self.batch * self.seq_len

    @property
    def least_steps(self) -> int:
        """The shortest run whose learning rate gets to its height before it falls."""
        return max(1, round(self.warmup_steps / (1 - self.decay_share)) + 1 if self.decay_share < 1 else 1)

    def account(self, model: ModelConfig) -> Accounting:
        """Of one step of this model at the batch that it is trained with."""
        return account(model, self.batch, self.seq_len, self.dtype, self.optimizer)

    def step(self, model: ModelConfig) -> Workload:
        """The training step as a workload, whose memory can be predicted."""
        return Workload(
            phase="step",
            model=model,
            batch=self.batch,
            seq_len=self.seq_len,
            dtype=self.dtype,
            device=self.device,
            optimizer=self.optimizer,
        )


def shape(n_layer: int, d_model: int, like: Sequence[ModelConfig]) -> ModelConfig:
    """The model of this depth and width, its heads and all else after the models that were trained.

    Up to the widest of them its heads are as large as theirs; beyond, the largest that leave as many heads as that has.
    """
    widest = max(like, key=lambda model: model.d_model)
    if d_model <= widest.d_model and d_model % widest.d_head == 0:
        return widest.model_copy(update={"n_layer": n_layer, "d_model": d_model, "n_head": d_model // widest.d_head})
    dividing = [size for size in HEAD_SIZES if d_model % size == 0]
    size = next((size for size in dividing if d_model // size >= widest.n_head), dividing[-1])
    return widest.model_copy(update={"n_layer": n_layer, "d_model": d_model, "n_head": d_model // size})


def candidate_shapes(trained: Iterable[ModelConfig], most_params: float) -> tuple[ModelConfig, ...]:
    """Every model to choose from, up to so many non-embedding parameters, by depth and then width."""
    like = tuple(trained)
    depths = sorted({model.n_layer for model in like})
    deeper = [depth for depth in DEPTHS if depth > depths[0] and depth not in depths]
    found = [
        shape(depth, width, like)
        for depth in sorted([*depths, *deeper])
        for width in _widths(depth, 1 if depth in depths else LEAST_WIDTH_PER_LAYER)
    ]
    return tuple(model for model in found if _params(model) <= most_params)


def named_shape(name: str, trained: Iterable[ModelConfig]) -> ModelConfig:
    """The model that a user names: 'd6w384', six layers of width 384; or a rung, with the vocabulary of the text.

    Raises InputError where there is none.
    """
    like = tuple(trained)
    if match := _SHAPE.fullmatch(name):
        depth, width = int(match[1]), int(match[2])
        if depth < 1 or width < 2 or width % 2:
            raise InputError(f"there is no model {name}: it needs a layer or more, and an even width")
        return shape(depth, width, like)
    try:
        rung = find_rung(name)
    except UnknownRungError as error:
        raise InputError(f"cannot read {name!r} as a model: write layers and width like d6w384 ({error})") from error
    return rung.model_copy(update={"vocab_size": like[0].vocab_size})


def _widths(depth: int, least_per_layer: int) -> Iterator[int]:
    start = 0
    for end, step in WIDTH_STEPS:
        for width in range(start + step, end + 1, step):
            if least_per_layer * depth <= width <= MOST_WIDTH_PER_LAYER * depth:
                yield width
        start = end


def _params(model: ModelConfig) -> int:
    """Non-embedding parameters."""
    return model.n_layer * params_per_block(model) + model.d_model

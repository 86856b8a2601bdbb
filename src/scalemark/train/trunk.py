"""Train the models of one trunk and say what loss each reached.

    trunk ────●──────────●──────────────────●
              └─ decay   └─── decay         └────── decay
                 branch       branch                branch: one training run each

The runs of one trunk share their steps up to where the learning rate falls. Each branch is, to the last bit, the run
that its configuration alone would give. The clock runs over the training steps; validation and set-up are in the total.
"""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path

import torch

from scalemark.model.accounting import account
from scalemark.model.task import Batch, Task, make_optimizer
from scalemark.model.transformer import Transformer, next_token_loss
from scalemark.schema import Accounting, TrainingConfig, TrainingRun
from scalemark.train.batches import TextBatches
from scalemark.train.checkpoint import Checkpoints
from scalemark.train.corpus import open_tokens, spread_windows
from scalemark.train.jobs import TRAIN_WINDOWS, VALIDATION_WINDOWS, TokenFiles
from scalemark.train.learner import DivergedError, Learner, State
from scalemark.train.schedule import parameter_groups, warmup_stable_decay
from scalemark.train.validation import validate

# A language model that guesses evenly has a loss of ln(vocabulary); one this far above it has come apart.
DIVERGED_MARGIN = 1.0
CHECKPOINT_EVERY_S = 15.0

# Hears of a run, about once a second while it trains, how far it is (0 to 1) and its training loss.
Report = Callable[[TrainingConfig, float, float], None]


@dataclass(frozen=True)
class Pupil:
    """A language model about to be trained: its learner, its text, and what it will be examined on."""

    learner: Learner
    batches: TextBatches
    held_out: Batch
    files: TokenFiles

    @classmethod
    def of(cls, config: TrainingConfig, files: TokenFiles, validation_windows: int) -> "Pupil":
        """Freshly initialised from the configuration's seed. Raises InputError where the text is too short."""
        assert config.model and config.batch and config.learning_rate and config.optimizer
        batches = TextBatches(open_tokens(Path(files.train_path), files.dtype), config)
        torch.manual_seed(config.seed)
        model = Transformer(config.model, config.seq_len).to(config.device)
        optimizer = make_optimizer(config.optimizer, parameter_groups(model), config.learning_rate)
        task = Task(model, optimizer, next_token_loss, batches(0), batch_size=config.batch)
        highest_loss = math.log(config.model.vocab_size) + DIVERGED_MARGIN
        learner = Learner(
            task,
            batches,
            config.batch * config.seq_len,
            highest_loss=highest_loss,
            clip=True,
            bfloat16=config.dtype == "bfloat16",
        )
        text = open_tokens(Path(files.validation_path), files.dtype)
        inputs, targets = spread_windows(text, validation_windows, config.seq_len)
        return cls(learner, batches, (inputs.to(config.device), targets.to(config.device)), files)


def train_trunk(
    configs: Sequence[TrainingConfig],
    files: TokenFiles,
    report: Report,
    checkpoints: Checkpoints,
    begin: Callable[[TrainingConfig], None] = lambda _: None,
    validation_windows: int = VALIDATION_WINDOWS,
) -> Iterator[TrainingRun]:
    """Train runs of one trunk, fewest tokens first, and yield each as it is finished.

    begin: called before the work on each run. What it or `report` raises ends the trunk, its state kept.
    """
    assert len({config.trunk for config in configs}) == 1, "runs of one trunk"
    assert all(one.n_steps <= other.n_steps for one, other in pairwise(configs)), "fewest tokens first"
    started = time.perf_counter()
    pupil = Pupil.of(configs[0], files, validation_windows)
    setup_s = time.perf_counter() - started
    learner = pupil.learner
    _go_on_from(learner, checkpoints.load(configs[0].trunk), at_most=configs[0].decay_from)
    for index, config in enumerate(configs):
        begin(config)
        try:
            _advance(learner, config.decay_from, config, report, checkpoints, config.trunk)
        except DivergedError as error:
            yield from (diverged(one, learner, error) for one in configs[index:])
            return
        trunk = learner.snapshot()
        checkpoints.save(config.trunk, trunk)
        yield _finish_branch(pupil, config, report, checkpoints, setup_s)
        learner.restore(trunk)


def _go_on_from(learner: Learner, state: State | None, at_most: int) -> None:
    """Take up a kept state, unless it is past where the run leaves it, or was kept of something else."""
    if state is None:
        return
    before = learner.snapshot()
    try:
        if state["step"] <= at_most:
            learner.restore(state)
    except (AttributeError, KeyError, RuntimeError, TypeError, ValueError):  # by another version of this package
        learner.restore(before)


def _advance(
    learner: Learner, until: int, config: TrainingConfig, report: Report, checkpoints: Checkpoints, name: str
) -> None:
    """Train, telling how far it is, and keep the state under `name` now and then and when something stops it."""
    kept = time.monotonic()

    def look(learner: Learner) -> None:
        nonlocal kept
        try:
            report(config, learner.step / config.n_steps, learner.last_loss)
        except BaseException:
            checkpoints.save(name, learner.state())
            raise
        if time.monotonic() - kept >= CHECKPOINT_EVERY_S:
            checkpoints.save(name, learner.state())
            kept = time.monotonic()

    learner.advance(until, partial(_rate, config), look)


def _rate(config: TrainingConfig, step: int) -> float:
    return warmup_stable_decay(step, config)


def _finish_branch(
    pupil: Pupil, config: TrainingConfig, report: Report, checkpoints: Checkpoints, setup_s: float
) -> TrainingRun:
    """From the trunk to the end of one run: its decay and its validation."""
    learner = pupil.learner
    _go_on_from(learner, checkpoints.load(config.key), at_most=config.n_steps)
    try:
        _advance(learner, config.n_steps, config, report, checkpoints, config.key)
    except DivergedError as error:
        return diverged(config, learner, error)
    learner.mark()
    run = _examined(pupil, config, setup_s)
    checkpoints.drop(config.key)
    return run


def _examined(pupil: Pupil, config: TrainingConfig, setup_s: float) -> TrainingRun:
    started = time.perf_counter()
    learner = pupil.learner
    reached = validate(learner.task, pupil.held_out)
    assert config.model
    if not reached.loss < math.log(config.model.vocab_size) + DIVERGED_MARGIN:
        return diverged(config, learner, DivergedError(learner.step))
    seen = validate(learner.task, pupil.batches.seen(learner.step, min(TRAIN_WINDOWS, len(pupil.held_out[0]))))
    bytes_per_token = pupil.files.bytes_per_token
    return TrainingRun(
        config=config,
        status="ok",
        accounting=_accounting(config),
        curve=tuple(learner.curve),
        validation_loss=reached.loss,
        validation_accuracy=reached.accuracy,
        validation_items=reached.items,
        train_loss=seen.loss,
        bits_per_byte=reached.loss / math.log(2) / bytes_per_token if bytes_per_token else None,
        epochs=pupil.batches.epochs(learner.step),
        seconds=learner.seconds,
        total_seconds=setup_s + learner.seconds + time.perf_counter() - started,
        threads=torch.get_num_threads(),
    )


def _accounting(config: TrainingConfig) -> Accounting:
    assert config.model and config.batch
    return account(config.model, config.batch, config.seq_len, config.dtype, config.optimizer)


def diverged(config: TrainingConfig, learner: Learner, error: DivergedError) -> TrainingRun:
    """The record of a run that came apart: its curve up to the last sound loss."""
    return TrainingRun(
        config=config,
        status="diverged",
        reason=f"{error}: lower the learning rate",
        accounting=_accounting(config) if config.model else None,
        curve=tuple(point for point in learner.curve if point.step <= error.step),
        seconds=learner.seconds,
        threads=torch.get_num_threads(),
        diverged_at_step=error.step,
    )

"""A run is the same to the last bit, alone or as a branch, at one go or interrupted; and it learns real text."""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from factories import make_token_files, tiny_config
from torch import nn

from scalemark.errors import InputError
from scalemark.model.task import Task, make_optimizer
from scalemark.model.transformer import Transformer, next_token_loss
from scalemark.schema import TrainingConfig, TrainingRun
from scalemark.train import learner, trunk
from scalemark.train.checkpoint import Checkpoints
from scalemark.train.corpus import Corpus, open_corpus, open_tokens, spread_windows
from scalemark.train.grid import grid_shape
from scalemark.train.jobs import TokenFiles
from scalemark.train.schedule import TABLE_SCALE, warmup_stable_decay
from scalemark.train.trunk import Pupil, train_trunk
from scalemark.train.validation import validate

# Decays of a quarter: they leave their trunk after 6, 15 and 30 steps.
SHORT, MIDDLE, LONG = CONFIGS = (tiny_config(8), tiny_config(20), tiny_config(40))
LEAVES = [6, 15, 30]
WINDOWS = 8
TIMES = {"seconds", "total_seconds"}


class Interrupt(Exception):  # noqa: N818
    """What ends a run from outside."""


@dataclass
class Watcher:
    """Hears of every step, and stops the training after the one that it is told."""

    stop_in: TrainingConfig | None = None
    stop_at: int = 0
    steps: list[tuple[int, int]] = field(default_factory=list)

    def __call__(self, config: TrainingConfig, fraction: float, loss: float) -> None:
        assert math.isfinite(loss)
        step = round(fraction * config.n_steps)
        self.steps.append((config.n_steps, step))
        if config == self.stop_in and step == self.stop_at:
            raise Interrupt


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    """The order of additions, and so the last bit of a loss, depends on the number of threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def _told_of_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learner, "LOOK_EVERY_S", -1.0)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> TokenFiles:
    return make_token_files(tmp_path_factory.mktemp("text"))


def train(
    configs: Sequence[TrainingConfig],
    files: TokenFiles,
    folder: Path | None = None,
    watcher: Watcher | None = None,
    windows: int = WINDOWS,
) -> list[TrainingRun]:
    heard = watcher or Watcher()
    return list(train_trunk(configs, files, heard, Checkpoints(folder), validation_windows=windows))


def untimed(runs: Sequence[TrainingRun]) -> list[dict[str, object]]:
    """All that is recorded of them but for times: losses, accuracies, curves, the gap."""
    return [run.model_dump(exclude=TIMES) for run in runs]


@pytest.fixture(scope="module")
def alone(files: TokenFiles) -> list[TrainingRun]:
    """Each configuration trained by itself."""
    return [run for config in CONFIGS for run in train([config], files)]


# Branches


def test_branches_leave_where_their_rate_begins_to_fall() -> None:
    assert [config.decay_from for config in CONFIGS] == LEAVES
    assert len({config.trunk for config in CONFIGS}) == 1


@pytest.mark.parametrize("chosen", [(0, 1, 2), (0, 2), (1, 2)])
def test_a_branch_is_to_the_last_bit_the_run_of_its_own(
    chosen: tuple[int, ...], alone: list[TrainingRun], files: TokenFiles
) -> None:
    together = train([CONFIGS[index] for index in chosen], files)
    assert untimed(together) == untimed([alone[index] for index in chosen])


def test_every_run_ended_well_and_differs_from_the_others(alone: list[TrainingRun]) -> None:
    """Else the claims of equality here were empty."""
    assert {run.status for run in alone} == {"ok"}
    for value in ("validation_loss", "train_loss", "curve"):
        assert len({getattr(run, value) for run in alone}) == 3


def test_the_steps_of_a_trunk_are_taken_once_and_each_branch_adds_its_decay(files: TokenFiles) -> None:
    watcher = Watcher()
    train(CONFIGS, files, watcher=watcher)
    assert watcher.steps == [
        *((8, step) for step in range(1, 9)),
        *((20, step) for step in range(7, 21)),
        *((40, step) for step in range(16, 41)),
    ]


def test_a_run_is_given_out_before_the_next_is_begun(files: TokenFiles) -> None:
    said: list[str] = []
    runs = train_trunk(
        CONFIGS, files, lambda *_: None, Checkpoints(None), lambda config: said.append(f"begin {config.n_steps}"), 8
    )
    for run in runs:
        said.append(f"end {run.config.n_steps}")
    assert said == ["begin 8", "end 8", "begin 20", "end 20", "begin 40", "end 40"]


def test_runs_are_asked_for_fewest_tokens_first(files: TokenFiles) -> None:
    """In another order the learner would have to go back: that is a mistake of ours, and no other loss."""
    with pytest.raises(AssertionError):
        train([LONG, SHORT], files)


def test_runs_of_two_trunks_are_not_one(files: TokenFiles) -> None:
    with pytest.raises(AssertionError):
        train([SHORT, tiny_config(20, seed=1)], files)


def test_seconds_are_those_of_a_run_of_its_own_and_the_rest_is_in_the_total(files: TokenFiles) -> None:
    runs = train(CONFIGS, files)
    seconds = [run.seconds or 0.0 for run in runs]
    assert 0 < seconds[0] < seconds[1] < seconds[2]
    assert all(run.seconds < run.total_seconds for run in runs if run.seconds and run.total_seconds)


# Seeds


def test_the_same_seed_gives_the_same_to_the_last_bit(alone: list[TrainingRun], files: TokenFiles) -> None:
    assert untimed(train([MIDDLE], files)) == untimed([alone[1]])


def test_another_seed_gives_other_losses(alone: list[TrainingRun], files: TokenFiles) -> None:
    (other,) = train([tiny_config(20, seed=1)], files)
    assert all(one.train_loss != two.train_loss for one, two in zip(other.curve[1:], alone[1].curve[1:], strict=True))
    assert other.validation_loss != alone[1].validation_loss


def test_every_step_is_at_its_own_rate_and_the_token_table_learns_faster(files: TokenFiles) -> None:
    """What is trained is what the schedule says: the last rate but one of a decay of five steps is two fifths."""
    pupil = Pupil.of(MIDDLE, files, 1)
    groups = pupil.learner.task.optimizer.param_groups
    pupil.learner.advance(19, lambda step: warmup_stable_decay(step, MIDDLE), lambda _: None)
    assert [group["lr"] for group in groups] == pytest.approx([TABLE_SCALE * 0.016 * 2 / 5, 0.016 * 2 / 5])


# Interruptions

WHERE = {
    "in the trunk": (SHORT, 4),
    "where the first branch leaves": (SHORT, 6),
    "in the first branch": (SHORT, 7),
    "at the end of the first branch": (SHORT, 8),
    "in the trunk after a branch": (MIDDLE, 11),
    "in the middle branch": (MIDDLE, 18),
    "in the last stretch of trunk": (LONG, 22),
    "in the last branch": (LONG, 35),
}


@pytest.mark.parametrize("where", WHERE)
def test_interrupted_and_resumed_is_as_if_nothing_had_been(
    where: str, alone: list[TrainingRun], files: TokenFiles, tmp_path: Path
) -> None:
    config, step = WHERE[where]
    stopped = train_trunk(CONFIGS, files, Watcher(config, step), Checkpoints(tmp_path), validation_windows=WINDOWS)
    done: list[TrainingRun] = []
    with pytest.raises(Interrupt):
        done.extend(stopped)
    assert len(done) == CONFIGS.index(config)
    watcher = Watcher()
    resumed = train(CONFIGS[len(done) :], files, tmp_path, watcher)
    assert untimed([*done, *resumed]) == untimed(alone)
    first = watcher.steps[0]
    assert first == (config.n_steps, step + 1) or step == config.n_steps, "steps were taken again"


def test_a_run_that_is_interrupted_again_and_again_gets_there(
    alone: list[TrainingRun], files: TokenFiles, tmp_path: Path
) -> None:
    for step in (3, 4, 9, 15, 16, 19):
        with pytest.raises(Interrupt):
            train([MIDDLE], files, tmp_path, Watcher(MIDDLE, step))
    assert untimed(train([MIDDLE], files, tmp_path)) == untimed([alone[1]])


@pytest.mark.parametrize("where", ["in the trunk after a branch", "in the middle branch"])
def test_seconds_go_on_rather_than_starting_over(where: str, files: TokenFiles, tmp_path: Path) -> None:
    config, step = WHERE[where]
    with pytest.raises(Interrupt):
        train(CONFIGS[:2], files, tmp_path, Watcher(config, step))
    kept = Checkpoints(tmp_path)
    for path in tmp_path.glob("*.pt"):
        kept.save(path.stem, (kept.load(path.stem) or {}) | {"seconds": 1000.0})
    (run,) = train([config], files, tmp_path)
    assert run.seconds and 1000 < run.seconds < 1060


def test_a_longer_run_asked_for_later_goes_on_from_the_trunk(
    alone: list[TrainingRun], files: TokenFiles, tmp_path: Path
) -> None:
    train([MIDDLE], files, tmp_path)
    watcher = Watcher()
    assert untimed(train([LONG], files, tmp_path, watcher)) == untimed([alone[2]])
    assert watcher.steps[0] == (40, 16)


def test_a_state_past_the_wanted_branch_is_not_used(
    alone: list[TrainingRun], files: TokenFiles, tmp_path: Path
) -> None:
    train([LONG], files, tmp_path)
    watcher = Watcher()
    assert untimed(train([MIDDLE], files, tmp_path, watcher)) == untimed([alone[1]])
    assert watcher.steps[0] == (20, 1)


def test_what_ends_a_run_keeps_its_state_and_what_is_done_drops_it(files: TokenFiles, tmp_path: Path) -> None:
    with pytest.raises(Interrupt):
        train([MIDDLE], files, tmp_path, Watcher(MIDDLE, 18))
    assert {path.stem for path in tmp_path.iterdir()} == {MIDDLE.trunk, MIDDLE.key}
    train([MIDDLE], files, tmp_path)
    assert {path.stem for path in tmp_path.iterdir()} == {MIDDLE.trunk}


def test_a_state_is_kept_now_and_then(files: TokenFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For a process that is killed has no time to keep it."""
    saved: list[int] = []
    monkeypatch.setattr(Checkpoints, "save", lambda _, __, state: saved.append(state["step"]))
    train([MIDDLE], files, tmp_path)
    assert saved == [15], "where it leaves its trunk, and otherwise only after a while"
    monkeypatch.setattr(trunk, "CHECKPOINT_EVERY_S", 0.0)
    train([MIDDLE], files, tmp_path)
    assert set(saved) == set(range(1, 21))


@pytest.mark.parametrize("damage", ["cut off", "of another model", "of another kind"])
@pytest.mark.parametrize("name", [MIDDLE.trunk, MIDDLE.key], ids=["trunk", "branch"])
def test_a_state_that_cannot_be_used_is_ignored_and_the_work_done_anew(
    name: str, damage: str, alone: list[TrainingRun], files: TokenFiles, tmp_path: Path
) -> None:
    with pytest.raises(Interrupt):
        train([MIDDLE], files, tmp_path, Watcher(MIDDLE, 18))
    kept = Checkpoints(tmp_path)
    state = kept.load(name) or {}
    if damage == "cut off":
        path = tmp_path / f"{name}.pt"
        path.write_bytes(path.read_bytes()[:3000])
    elif damage == "of another model":
        state["model"] |= {"table.weight": torch.zeros(3, 3)}
        kept.save(name, state)
    else:
        kept.save(name, {"step": 1, "weights": [1.0]})
    assert untimed(train([MIDDLE], files, tmp_path)) == untimed([alone[1]])


# Coming apart


def rate_that_breaks(configs: Sequence[TrainingConfig], after: int) -> object:
    """The usual rate, and an absurd one for these configurations after so many steps."""

    def rate(step: int, config: TrainingConfig) -> float:
        return 1e30 if config in configs and step >= after else warmup_stable_decay(step, config)

    return rate


def test_an_absurd_learning_rate_ends_every_branch_as_diverged_with_what_to_do(files: TokenFiles) -> None:
    runs = train([tiny_config(n_steps, learning_rate=1e6) for n_steps in (8, 20, 40)], files)
    assert [run.config.n_steps for run in runs] == [8, 20, 40]
    for run in runs:
        assert run.status == "diverged" and "lower the learning rate" in (run.reason or "")
        assert run.diverged_at_step is not None and run.diverged_at_step < 8
        assert (run.validation_loss, run.validation_accuracy, run.train_loss, run.bits_per_byte) == (None,) * 4
        assert run.accounting and run.seconds is not None


def test_what_diverged_is_written_without_a_nan(files: TokenFiles) -> None:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} in the JSON")

    for run in train([tiny_config(8, learning_rate=1e30), tiny_config(20, learning_rate=1e30)], files):
        json.loads(run.model_dump_json(), parse_constant=refuse)
        assert all(math.isfinite(point.train_loss) for point in run.curve)
        assert all(point.step <= (run.diverged_at_step or 0) for point in run.curve)


def test_a_trunk_that_comes_apart_late_costs_only_the_branches_after_it(
    alone: list[TrainingRun], files: TokenFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trunk, "warmup_stable_decay", rate_that_breaks([LONG], after=18))
    runs = train([*CONFIGS, tiny_config(60)], files)
    assert [run.status for run in runs] == ["ok", "ok", "diverged", "diverged"]
    assert untimed(runs[:2]) == untimed(alone[:2])
    assert 18 <= (runs[2].diverged_at_step or 0) <= 22


def test_a_branch_that_comes_apart_leaves_its_trunk_as_it_was(
    alone: list[TrainingRun], files: TokenFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trunk, "warmup_stable_decay", rate_that_breaks([MIDDLE], after=15))
    runs = train(CONFIGS, files)
    assert [run.status for run in runs] == ["ok", "diverged", "ok"]
    assert untimed([runs[0], runs[2]]) == untimed([alone[0], alone[2]])
    assert [point for point in runs[1].curve if point.step <= 15] == [p for p in alone[1].curve if p.step <= 15]


# What is recorded


def test_the_curve_begins_with_a_model_that_knows_nothing_and_ends_at_the_last_step(alone: list[TrainingRun]) -> None:
    for run in alone:
        assert run.curve[0].step == 1
        assert run.curve[0].train_loss == pytest.approx(math.log(256), rel=1e-5)
        assert (run.curve[-1].step, run.curve[-1].tokens) == (run.config.n_steps, run.config.tokens)
        assert all(one.step < other.step for one, other in pairwise(run.curve))


def test_validation_covers_the_windows_that_every_run_shares(alone: list[TrainingRun], files: TokenFiles) -> None:
    assert {run.validation_items for run in alone} == {WINDOWS * 64}
    (more,) = train([SHORT], files, windows=16)
    assert more.validation_items == 16 * 64 and more.validation_loss != alone[0].validation_loss


def test_bits_per_byte_are_the_loss_in_base_two_over_the_bytes_of_a_token(
    alone: list[TrainingRun], files: TokenFiles
) -> None:
    assert alone[0].validation_loss
    assert 2 ** (alone[0].bits_per_byte or 0.0) == pytest.approx(math.exp(alone[0].validation_loss))
    (longer,) = train([SHORT], files.model_copy(update={"bytes_per_token": 4.0}))
    assert longer.bits_per_byte == pytest.approx((alone[0].bits_per_byte or 0.0) / 4)
    (no_text,) = train([SHORT], files.model_copy(update={"bytes_per_token": None}))
    assert no_text.bits_per_byte is None and no_text.validation_loss == alone[0].validation_loss


def test_threads_and_accounting_are_recorded(alone: list[TrainingRun]) -> None:
    assert {run.threads for run in alone} == {1}
    assert {run.accounting.items for run in alone if run.accounting} == {512}


def test_text_that_is_seen_again_and_again_is_learned_by_heart(files: TokenFiles) -> None:
    """One batch, a hundred times."""
    (run,) = train([tiny_config(100, unique_tokens=512, learning_rate=0.03)], files)
    assert (run.epochs, run.repeats) == (100.0, True)
    assert run.gap and run.gap > 0.4


def test_text_that_is_seen_once_is_not(files: TokenFiles) -> None:
    (run,) = train([tiny_config(80)], files, windows=64)
    assert run.epochs == 80 / 127 and not run.repeats
    assert run.gap is not None and abs(run.gap) < 0.1


def test_more_unique_tokens_than_the_text_has_are_an_error(files: TokenFiles) -> None:
    with pytest.raises(InputError, match="use a longer text"):
        train([tiny_config(8, unique_tokens=1_000_000)], files)


def test_bfloat16_trains_to_about_the_same_loss(alone: list[TrainingRun], files: TokenFiles) -> None:
    (run,) = train([tiny_config(20, dtype="bfloat16")], files)
    assert run.validation_loss != alone[1].validation_loss
    assert run.validation_loss == pytest.approx(alone[1].validation_loss, rel=0.02)


def test_tokens_of_two_bytes_train_like_those_of_one(
    alone: list[TrainingRun], files: TokenFiles, tmp_path: Path
) -> None:
    for path in (files.train_path, files.validation_path):
        open_tokens(Path(path)).astype("uint16").tofile(tmp_path / Path(path).name)
    wide = TokenFiles(
        train_path=str(tmp_path / "train.bin"), validation_path=str(tmp_path / "validation.bin"), dtype="uint16"
    )
    assert untimed(train([SHORT], wide)) == untimed([alone[0]])


# Real text


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return open_corpus("kjv", tmp_path_factory.mktemp("corpus"))


def test_a_second_of_training_beats_knowing_only_how_frequent_each_byte_is(
    corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learner, "LOOK_EVERY_S", 1.0)
    some, more = train([tiny_config(16), tiny_config(128)], TokenFiles.of(corpus), windows=64)
    counts = np.unique(np.fromfile(corpus.validation_path, dtype=np.uint8), return_counts=True)[1]
    shares = counts / counts.sum()
    unigram_entropy_nats = -float(np.sum(shares * np.log(shares)))
    assert some.validation_loss and more.validation_loss
    assert 1.0 < more.validation_loss < unigram_entropy_nats - 0.3
    assert (more.validation_accuracy or 0.0) > shares.max()
    assert more.validation_loss < some.validation_loss - 0.3


# Validation


def test_validation_is_what_a_loop_over_single_windows_gives(files: TokenFiles) -> None:
    torch.manual_seed(0)
    model = Transformer(grid_shape(16), 32)
    nn.init.normal_(model.head.weight, std=0.3)
    held_out = spread_windows(open_tokens(Path(files.validation_path)), 21, 32)
    task = Task(model, make_optimizer("sgd", model), next_token_loss, held_out, batch_size=1)
    losses, right = [], 0
    with torch.no_grad():
        for inputs, targets in zip(*held_out, strict=True):
            log_probabilities = model(inputs[None])[0].log_softmax(-1)
            losses += [-log_probabilities[place, target].item() for place, target in enumerate(targets)]
            right += sum(int(row.argmax() == target) for row, target in zip(log_probabilities, targets, strict=True))
    validation = validate(task, held_out, batch_size=8)  # 8 + 8 + 5: the last batch weighs less
    assert validation.loss == pytest.approx(sum(losses) / len(losses), rel=1e-5)
    assert (validation.accuracy, validation.items) == (right / (21 * 32), 21 * 32)


def test_validation_turns_dropout_off_and_on_again() -> None:
    model = nn.Sequential(nn.Dropout(0.9), nn.Linear(4, 2))
    held_out = (torch.ones(30, 4), torch.zeros(30, dtype=torch.int64))
    task = Task(model, make_optimizer("sgd", model), nn.functional.cross_entropy, held_out, batch_size=10)
    assert validate(task, held_out) == validate(task, held_out)
    assert model.training

"""What a grid gives where nothing disturbs it, trained once for all executors."""

from pathlib import Path

import pytest
import torch
from driver import known_machine, losses, train
from factories import make_token_files
from handing_out import LONG, OTHER, SHORT

from scalemark.record.store import load_suite
from scalemark.schema import TrainingConfig, TrainingRun
from scalemark.train.checkpoint import Checkpoints
from scalemark.train.corpus.prepared import digest_of
from scalemark.train.jobs import TokenFiles
from scalemark.train.trunk import train_trunk

GRID = tuple(config.model_copy(update={"corpus": None}) for config in (SHORT, LONG, OTHER))


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> TokenFiles:
    """Made-up text that says who it is."""
    made = make_token_files(tmp_path_factory.mktemp("text"))
    digest = digest_of(Path(made.train_path), Path(made.validation_path), "bytes")
    return made.model_copy(update={"identity": f"words@{digest}"})


@pytest.fixture(scope="session")
def undisturbed(files: TokenFiles) -> dict[str, object]:
    """What the short and the long run and the other trunk give, by name."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    runs: list[TrainingRun] = []
    for configs in ((SHORT, LONG), (OTHER,)):
        runs += train_trunk(configs, files, lambda *_: None, Checkpoints(None), validation_windows=8)
    torch.set_num_threads(before)
    return losses(runs)


@pytest.fixture(scope="session")
def grid() -> tuple[TrainingConfig, ...]:
    """The same runs, for the command."""
    return GRID


@pytest.fixture(scope="session")
def trained_here(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """What the command gives with this machine's own workers."""
    out = tmp_path_factory.mktemp("here") / "run"
    with pytest.MonkeyPatch.context() as patch:
        known_machine(patch, GRID)
        result = train(out, "--jobs", "2")
    assert result.exit_code == 0, result.output
    return losses(load_suite(out).training_runs)

"""A checkpoint is whole or not there, and reading one runs no code and trusts no bit."""

import io
import pickle
import random
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from scalemark.errors import StoreError
from scalemark.train import checkpoint
from scalemark.train.checkpoint import Checkpoints
from scalemark.train.learner import State


def made_state(step: int = 3) -> State:
    torch.manual_seed(step)
    model = nn.Linear(20, 20)
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.ones(2, 20)).sum().backward()
    optimizer.step()
    return {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "step": step,
        "seconds": 0.1 + 0.2,
        "curve": [[1, 512, 5.5]],
        "losses": [1 / 3],
    }


def same(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    return bool(one == other)


@pytest.fixture
def kept(tmp_path: Path) -> Checkpoints:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save("a", made_state())
    return checkpoints


def test_a_state_comes_back_to_the_last_bit(kept: Checkpoints) -> None:
    assert same(kept.load("a"), made_state())


def test_names_are_apart_and_a_state_that_is_dropped_is_gone(kept: Checkpoints) -> None:
    kept.save("b", made_state(4))
    kept.drop("a")
    kept.drop("a")
    assert kept.load("a") is None
    assert same(kept.load("b"), made_state(4))


def test_the_folder_is_made_when_it_is_first_needed(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "run" / "checkpoints")
    assert checkpoints.load("a") is None and not (tmp_path / "run").exists()
    checkpoints.save("a", made_state())
    assert checkpoints.load("a") is not None


def test_without_a_folder_nothing_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    checkpoints = Checkpoints(None)
    checkpoints.save("a", made_state())
    checkpoints.drop("a")
    assert checkpoints.load("a") is None and not list(tmp_path.iterdir())


# Writing


@pytest.mark.parametrize("error", [OSError("no space left"), RuntimeError("file write failed"), KeyboardInterrupt()])
def test_a_write_that_is_cut_off_leaves_the_state_before_it(
    kept: Checkpoints, error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = io.BytesIO()
    torch.save(made_state(4), whole)

    def half(_: State, path: Path) -> None:
        path.write_bytes(whole.getvalue()[:2000])
        raise error

    monkeypatch.setattr(checkpoint.torch, "save", half)
    with pytest.raises((StoreError, KeyboardInterrupt)) as caught:
        kept.save("a", made_state(4))
    assert isinstance(caught.value, KeyboardInterrupt) or "make room and run again" in str(caught.value)
    assert same(kept.load("a"), made_state(3))


def test_what_a_cut_off_write_left_is_in_nobodys_way(kept: Checkpoints, tmp_path: Path) -> None:
    """Another process's: where a node is cut off and not dead, two may train the same."""
    (tmp_path / "a.n7-123.partial").write_bytes(b"half")
    kept.save("a", made_state(5))
    assert same(kept.load("a"), made_state(5))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.n7-123.partial", "a.pt"]


def test_a_folder_that_cannot_be_written_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreError, match="make room"):
        Checkpoints(tmp_path / "file").save("a", made_state())


# Reading what is damaged or foreign


def test_a_file_cut_off_anywhere_is_no_state(kept: Checkpoints, tmp_path: Path) -> None:
    content = (tmp_path / "a.pt").read_bytes()
    for length in range(0, len(content), 397):
        (tmp_path / "a.pt").write_bytes(content[:length])
        assert kept.load("a") is None, f"{length} bytes"


def test_a_flipped_bit_is_found_or_changes_nothing(kept: Checkpoints, tmp_path: Path) -> None:
    """Weights that are only a little wrong would train on, to a loss that no undisturbed run has."""
    content = (tmp_path / "a.pt").read_bytes()
    rng = random.Random(0)
    found = 0
    for place in rng.sample(range(len(content)), 120):
        damaged = bytearray(content)
        damaged[place] ^= 1 << rng.randrange(8)
        (tmp_path / "a.pt").write_bytes(damaged)
        state = kept.load("a")
        found += state is None
        assert state is None or same(state, made_state()), f"byte {place}"
    assert found > 40


@pytest.mark.filterwarnings("ignore")
def test_noise_is_no_state(kept: Checkpoints, tmp_path: Path) -> None:
    rng = random.Random(0)
    for length in [*range(20), *(rng.randrange(400) for _ in range(60))]:
        (tmp_path / "a.pt").write_bytes(rng.randbytes(length))
        assert kept.load("a") is None


def zipped(name: str, content: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(name, content)
    return file.getvalue()


def saved(value: object) -> bytes:
    file = io.BytesIO()
    torch.save(value, file)
    return file.getvalue()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "content",
    [
        b"a line of text\nand another\n",
        b'{"step": 3}',
        pickle.dumps({"step": 3}),
        zipped("notes.txt", b"an archive of something else"),
        saved([1, 2, 3]),
        saved(nn.Linear(2, 2)),
    ],
    ids=["text", "json", "pickle", "archive", "list", "module"],
)
def test_a_foreign_file_is_no_state(content: bytes, kept: Checkpoints, tmp_path: Path) -> None:
    (tmp_path / "a.pt").write_bytes(content)
    assert kept.load("a") is None


def test_a_folder_of_that_name_is_no_state(kept: Checkpoints, tmp_path: Path) -> None:
    (tmp_path / "b.pt").mkdir()
    assert kept.load("b") is None


class Malicious:
    """Pickled, it makes a file when it is read."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return (_touch, (str(self.marker), "w"))


_touch = open


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("where", ["in torch's own format", "in the state", "in a bare pickle", "in an older format"])
def test_code_in_a_checkpoint_is_never_run(where: str, kept: Checkpoints, tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    evil = Malicious(marker)
    old = io.BytesIO()
    torch.save(evil, old, _use_new_zipfile_serialization=False)
    content = {
        "in torch's own format": saved(evil),
        "in the state": saved({**made_state(), "losses": evil}),
        "in a bare pickle": pickle.dumps(evil),
        "in an older format": old.getvalue(),
    }[where]
    (tmp_path / "a.pt").write_bytes(content)
    assert kept.load("a") is None
    assert not marker.exists()
    torch.load(tmp_path / "a.pt", weights_only=False) if where != "in a bare pickle" else pickle.loads(content)
    assert marker.exists(), "the file was harmless: this test tests nothing"

"""What a job finds on another machine: the same text and versions, or a word on why not; and where its runs were."""

import hashlib
import json
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from factories import make_token_files, tiny_config
from pydantic import BaseModel

from scalemark.errors import StoreError
from scalemark.process import Refused
from scalemark.schema import RunTrained, WarningRaised
from scalemark.train import worker
from scalemark.train.corpus import open_corpus
from scalemark.train.executors import remote
from scalemark.train.executors.remote import (
    Neighbours,
    Ticket,
    find_text,
    is_same_text,
    kept_at,
    perform,
    processor_name,
    versions,
    write_ticket,
)
from scalemark.train.jobs import RunOrder, TokenFiles, TrunkJob


def identified(folder: Path) -> TokenFiles:
    """Made-up text with the identity that its bytes have, worked out here by hand."""
    folder.mkdir(exist_ok=True)
    files = make_token_files(folder, 4096, 1024)
    both = Path(files.train_path).read_bytes() + b"\0" + Path(files.validation_path).read_bytes()
    return files.model_copy(update={"identity": f"words@{hashlib.sha256(both).hexdigest()[:12]}"})


def content_of(files: TokenFiles) -> list[bytes]:
    return [Path(files.train_path).read_bytes(), Path(files.validation_path).read_bytes()]


def gone(files: TokenFiles) -> TokenFiles:
    """The same text, but at paths that are not there."""
    return files.model_copy(update={"train_path": "/no/train.bin", "validation_path": "/no/validation.bin"})


# Text


def test_the_identity_of_a_prepared_corpus_is_that_of_its_files(tmp_path: Path) -> None:
    assert is_same_text(TokenFiles.of(open_corpus("synthetic:20k", tmp_path)))


def test_files_that_are_here_are_used_where_they_are(tmp_path: Path) -> None:
    files = identified(tmp_path)
    assert find_text(files, content=lambda: pytest.fail("nothing need be sent")) == files


def test_text_that_is_not_here_is_made_of_its_content_and_found_again(tmp_path: Path) -> None:
    files = identified(tmp_path / "driver")
    sent = content_of(files)
    found = find_text(gone(files), lambda: sent, tmp_path / "node")
    assert content_of(found) == sent and found.train_path.startswith(str(tmp_path / "node"))
    assert find_text(gone(files), lambda: pytest.fail("it is here already"), tmp_path / "node") == found
    assert not list((tmp_path / "node").rglob("*.partial"))


def test_damaged_text_is_made_again(tmp_path: Path) -> None:
    files = identified(tmp_path / "driver")
    kept = kept_at(gone(files), tmp_path / "node")
    Path(kept.train_path).parent.mkdir(parents=True)
    for name, one in zip((kept.train_path, kept.validation_path), content_of(files), strict=True):
        Path(name).write_bytes(one[:-1] + b"!")
    assert find_text(gone(files), lambda: content_of(files), tmp_path / "node") == kept
    assert content_of(kept) == content_of(files)


def test_other_text_under_the_same_path_is_not_trained_on(tmp_path: Path) -> None:
    files = identified(tmp_path)
    train = Path(files.train_path)
    train.write_bytes(b"?" + train.read_bytes()[1:])
    with pytest.raises(StoreError, match="give --out a folder that all nodes share"):
        find_text(files)


def test_other_text_that_was_sent_is_not_trained_on(tmp_path: Path) -> None:
    files = identified(tmp_path / "driver")
    with pytest.raises(StoreError, match="the driver's files were changed"):
        find_text(gone(files), lambda: [b"other", b"text"], tmp_path / "node")


def test_text_that_cannot_be_kept_names_the_place(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    files = identified(tmp_path / "driver")
    with pytest.raises(StoreError, match="make room there"):
        find_text(gone(files), lambda: content_of(files), tmp_path / "file")


# The job


@dataclass
class Done:
    """What was said, and the job as the worker was given it; no worker is needed for that."""

    said: list[BaseModel]
    jobs: list[TrunkJob]


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch) -> Done:
    done = Done([], [])

    def work(job: TrunkJob, emit: remote.Emit) -> None:
        done.jobs.append(job)
        emit(RunTrained(run=worker.TrainingRun(config=job.orders[0].config, status="ok", shared=job.shared)))

    monkeypatch.setattr(worker, "work", work)
    return done


def ticket(files: TokenFiles, checkpoints: Path | None = None) -> Ticket:
    orders = (RunOrder(config=tiny_config(8), expected_s=1.0),)
    job = TrunkJob(orders=orders, files=files, budget_s=60.0, affinity=(63,), shared=True)
    return write_ticket(job.model_copy(update={"checkpoints": checkpoints and str(checkpoints)}), "ray")


def test_a_ticket_survives_the_wire_and_names_no_cpu_of_the_driver(tmp_path: Path) -> None:
    one = ticket(identified(tmp_path), tmp_path / "checkpoints")
    assert Ticket.model_validate_json(one.model_dump_json()) == one
    assert one.job.affinity is None and one.versions == versions() and one.marker


@pytest.mark.parametrize("package", ["torch", "scalemark"])
def test_another_version_is_refused_by_name(package: str, tmp_path: Path, done: Done) -> None:
    """Losses of another torch differ, which nobody would see."""
    one = ticket(identified(tmp_path))
    other = one.model_copy(update={"versions": one.versions | {package: "0.0.1"}})
    perform(other, None, done.said.append)
    (message,) = done.said
    assert isinstance(message, Refused) and not done.jobs
    assert f"{package} {versions()[package]}, the driver 0.0.1: install the same on all nodes" in message.reason


def test_text_that_is_not_here_is_refused(tmp_path: Path, done: Done) -> None:
    perform(ticket(gone(identified(tmp_path))), None, done.said.append)
    assert isinstance(done.said[0], Refused) and not done.jobs


def test_checkpoints_are_kept_where_the_folder_is_the_drivers(tmp_path: Path, done: Done) -> None:
    perform(ticket(identified(tmp_path), tmp_path / "checkpoints"), None, done.said.append)
    assert done.jobs[0].checkpoints == str(tmp_path / "checkpoints")
    assert not any(isinstance(message, WarningRaised) for message in done.said)


@pytest.mark.parametrize("there", ["nothing", "another folder"])
def test_where_the_folder_is_not_shared_nothing_is_kept_and_a_warning_says_so(
    there: str, tmp_path: Path, done: Done
) -> None:
    """The folder of that name on the node, if there is one, is not the driver's."""
    one = ticket(identified(tmp_path), tmp_path / "checkpoints")
    marker = tmp_path / "checkpoints" / ".shared"
    marker.unlink() if there == "nothing" else marker.write_text("of a grid on this node")
    perform(one, None, done.said.append)
    assert done.jobs[0].checkpoints is None
    (warning,) = [message.warning for message in done.said if isinstance(message, WarningRaised)]
    assert "from the beginning, to the same loss: give --out a folder that all nodes share" in warning.message


def test_one_folder_has_one_marker(tmp_path: Path) -> None:
    """Workers of a driver that was killed still find theirs when the next one goes on."""
    assert remote.mark(tmp_path / "new") == remote.mark(tmp_path / "new")
    assert remote.mark(tmp_path / "new") != remote.mark(tmp_path / "other")


# Where it was


@pytest.mark.parametrize(("exclusive", "shared"), [(True, False), (False, True), (None, True)])
def test_a_run_says_where_it_was_and_whether_its_times_mean_anything(
    exclusive: bool | None, shared: bool, tmp_path: Path, done: Done
) -> None:
    perform(ticket(identified(tmp_path)), exclusive, done.said.append)
    (run,) = [message.run for message in done.said if isinstance(message, RunTrained)]
    assert run.place and (run.place.executor, run.place.exclusive, run.shared) == ("ray", exclusive, shared)
    assert run.has_own_node == (exclusive is True)
    assert run.place.node and run.place.beside_cpus is not None
    json.loads(run.model_dump_json())


def test_what_this_process_does_is_no_neighbours_work() -> None:
    """Of a second of its own work, none is counted; an error of a fifth of a CPU is what clock ticks allow."""
    neighbours = Neighbours()
    looked = iter([(10.0, 100.0, 50.0), (12.0, 105.0, 52.0)])
    neighbours._look = lambda: next(looked)  # type: ignore[method-assign]
    neighbours._last = neighbours._look()
    assert neighbours.lap() == pytest.approx((5.0 - 2.0) / 2.0)


def test_the_processor_time_of_this_process_is_read_whole() -> None:
    """Threads and all: what it burns here shows as its own."""
    neighbours = Neighbours()
    _, _, before = neighbours._look()
    until = time.process_time() + 0.2
    while time.process_time() < until:
        pass
    assert neighbours._look()[2] - before >= 0.15


def test_the_processor_is_named_where_the_system_names_it(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc" / "cpuinfo").write_text("processor\t: 0\nmodel name\t: Test CPU 9000\nmodel\t: 1\n")
    assert processor_name(tmp_path) == "Test CPU 9000"
    assert processor_name(tmp_path / "elsewhere") is None

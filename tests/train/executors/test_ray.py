"""Tasks of a real Ray cluster on this machine: same losses, also where workers or the driver are killed."""

import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from driver import known_machine, losses, start, train, trained, wait_for_runs, write_command
from factories import tiny_config
from handing_out import LONG, OTHER, SHORT, Listener, all_of, job

from scalemark.errors import DeviceError
from scalemark.process import Message, Progress
from scalemark.record.store import RunFolder, load_suite, read_journal
from scalemark.schema import TaskRef, TrainingConfig
from scalemark.train.checkpoint import Checkpoints
from scalemark.train.executors import ray as on_ray
from scalemark.train.executors.pool import Pool
from scalemark.train.executors.remote import kept_at, own_folder
from scalemark.train.jobs import TokenFiles
from scalemark.train.trunk import train_trunk

ray = pytest.importorskip("ray", reason='needs the extra: pip install "scalemark[ray]"')


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """A cluster of one node with two CPUs; its address."""
    connected = on_ray.connect(None, n_cpus=2)
    yield connected.get_runtime_context().gcs_address
    connected.shutdown()


def pool_of(slots: int, files: TokenFiles, hear: Callable[[Message], None], threads: int = 1) -> Pool:
    return on_ray.open_pool(ray, slots, threads, "cpu", files, hear)


def tasks() -> list[psutil.Process]:
    """The workers that train just now."""
    return [one for one in psutil.process_iter(["cmdline"]) if (one.info["cmdline"] or [""])[0] == "ray::_train"]


def kill_the_only_task() -> None:
    (process,) = tasks()
    process.kill()


# Training


def test_a_worker_that_is_killed_while_it_trains_costs_nothing_but_time(
    cluster: str, files: TokenFiles, undisturbed: dict[str, object], tmp_path: Path
) -> None:
    """Beside it another trunk, before it is killed and after; both end as without any of it, to the last bit."""
    listener = Listener(kill_the_only_task)
    wanted = job(SHORT, LONG, files=files, checkpoints=tmp_path / "checkpoints")
    ended = all_of(pool_of(1, files, listener), job(OTHER, files=files), wanted)
    assert listener.at and [one.death for one in ended] == [None, None]
    assert losses(listener.runs) == undisturbed
    assert [run.config for run in listener.runs] == [OTHER, SHORT, LONG], "what was done is not done again"
    assert min(listener.shares_after) * LONG.n_steps > SHORT.decay_from, "it goes on from where its trunk was kept"
    for run in listener.runs:
        assert run.place and run.place.executor == "ray" and run.place.node and run.shared and run.threads == 1
        assert run.place.exclusive is False or os.cpu_count() == 1
        assert run.place.beside_cpus is not None


def test_text_reaches_a_node_that_does_not_see_the_drivers_files(
    cluster: str, files: TokenFiles, tmp_path: Path
) -> None:
    """The files are gone when the job begins, so its text can only come from the object store."""
    seen = [shutil.copy(path, tmp_path) for path in (files.train_path, files.validation_path)]
    moved = files.model_copy(update={"train_path": str(seen[0]), "validation_path": str(seen[1])})
    listener = Listener()
    with pool_of(1, moved, listener, threads=2) as pool:
        for path in seen:
            Path(path).unlink()
        pool.submit(job(tiny_config(8), files=moved))
        list(pool.as_completed())
    (run,) = listener.runs
    (there,) = train_trunk([tiny_config(8)], files, lambda *_: None, Checkpoints(None), validation_windows=8)
    assert run.validation_loss == pytest.approx(there.validation_loss)
    assert run.place and run.place.exclusive == ((os.cpu_count() or 1) <= 2), "both CPUs of the node were its own"
    shutil.rmtree(Path(kept_at(moved, own_folder()).train_path).parent)


def test_a_run_that_ends_its_worker_every_time_fails_with_the_reason(
    cluster: str, files: TokenFiles, tmp_path: Path
) -> None:
    (tmp_path / "bench_deadly.py").write_text("import os\n\ndef deadly():\n    os._exit(3)\n")
    deadly = TrainingConfig(task=TaskRef(path=str(tmp_path / "bench_deadly.py"), function="deadly"), tokens=4)
    pool = pool_of(1, files, Listener())
    pool.tries = 2
    (ended,) = all_of(pool, job(deadly, files=files))
    assert ended.death and ended.death.key == deadly.key
    assert "its Ray worker was lost" in ended.death.reason and "begun 2 times" in ended.death.reason


def test_leaving_ends_the_tasks_that_are_under_way(cluster: str, files: TokenFiles) -> None:
    def interrupt(message: Message) -> None:
        if isinstance(message, Progress):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        all_of(pool_of(1, files, interrupt), job(tiny_config(100_000), files=files))
    deadline = time.monotonic() + 30
    while tasks():
        assert time.monotonic() < deadline
        time.sleep(0.1)


# The cluster


def test_the_cluster_holds_as_many_jobs_as_its_cpus_allow(cluster: str) -> None:
    assert [on_ray.capacity(ray, threads, "cpu") for threads in (1, 2)] == [2, 1]


@pytest.mark.parametrize(("threads", "device"), [(3, "cpu"), (1, "cuda")])
def test_a_job_that_fits_no_node_is_said_before_it_waits_for_ever(cluster: str, threads: int, device: Any) -> None:
    if device == "cuda" and ray.cluster_resources().get("GPU"):
        pytest.skip("needs a machine without CUDA")
    with pytest.raises(DeviceError, match=r"no node of the Ray cluster has .*lower --threads-per-job"):
        on_ray.capacity(ray, threads, device)


def test_text_too_large_to_be_sent_is_left_where_it_is(files: TokenFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(on_ray._content(files)) == 2
    monkeypatch.setattr(on_ray, "MOST_SENT_BYTES", 1000)
    assert on_ray._content(files) == ()


# The command


def test_the_same_command_goes_on_after_the_driver_was_killed(
    cluster: str,
    grid: tuple[TrainingConfig, ...],
    trained_here: dict[str, object],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On a cluster that outlives its driver, and whose workers end with it."""
    asked = ("--executor", "ray", "--ray-address", cluster)
    run = RunFolder(tmp_path / "run")
    process = start(write_command(tmp_path / "command.py", grid), run.path, *asked)
    wait_for_runs(run, 1, process)
    process.kill()
    process.communicate()
    known_machine(monkeypatch, grid)
    result = train(run.path, *asked)
    assert result.exit_code == 0, result.output
    assert "training runs on cpu (ray: 2 at a time, 1 thread each)" in result.stderr
    keys = [one.config.key for one in trained(read_journal(run.journal_path))]
    assert len(keys) == len(set(keys)) == 3, "what was recorded is not trained again"
    suite = load_suite(run.path)
    assert suite.complete and suite.settings.executor_options == {"ray_address": cluster}
    assert losses(suite.training_runs) == trained_here

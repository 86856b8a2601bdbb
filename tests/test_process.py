import os
import subprocess
import sys
import textwrap
import time

import psutil
import pytest
from fake_system import system_files, write_tree

from scalemark.process import (
    Began,
    Progress,
    Refused,
    Worker,
    WorkerDiedError,
    WorkerSilentError,
    default_affinity,
    default_threads,
    moving_variables,
    one_per_core,
    work_through,
    worker_environment,
)
from scalemark.schema import Frozen


class Job(Frozen):
    key: str


def child(tmp_path, body: str):
    """A worker whose `work(job, emit)` is `body`."""
    module = tmp_path / "child_module.py"
    module.write_text(
        "import os, sys, time\n"
        "from scalemark.process import Began, Progress, Refused, serve\n"
        "from scalemark.schema import Frozen\n"
        "class Job(Frozen):\n    key: str\n"
        f"def work(job, emit):\n{textwrap.indent(textwrap.dedent(body), '    ')}\n"
        "serve(Job, work)\n"
    )
    return Worker("child_module", Job(key="a"), {"PYTHONPATH": str(tmp_path)}, tmp_path / "log")


def read(worker: Worker, silence_s: float = 30.0) -> list:
    with worker:
        return list(worker.messages(lambda _: silence_s))


def test_reports_arrive_in_order_and_prints_go_to_the_log(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    worker = child(
        tmp_path, "print('hello'); emit(Began(key=job.key)); os.system('echo noise'); emit(Refused(reason='b'))"
    )
    assert read(worker) == [Began(key="a"), Refused(reason="b")]
    assert "hello" in (tmp_path / "log").read_text()


def test_a_child_that_dies_is_an_error_with_its_exit_status(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(WorkerDiedError) as caught:
        read(child(tmp_path, "emit(Began(key='a')); os._exit(7)"))
    assert caught.value.returncode == 7


def test_a_silent_child_is_an_error_and_is_ended(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    worker = child(tmp_path, "emit(Began(key='a')); time.sleep(600)")
    pid = worker._process.pid
    with pytest.raises(WorkerSilentError):
        read(worker, silence_s=3.0)
    assert not psutil.pid_exists(pid)


def test_jobs_are_done_one_after_the_other_in_the_same_process(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    worker = child(tmp_path, "emit(Began(key=job.key)); emit(Refused(reason=str(os.getpid())))")
    heard = []
    with worker:
        for key in "abc":
            heard += worker.messages(lambda _: 30.0)
            worker.send(Job(key={"a": "b", "b": "c", "c": "over"}[key]))
    assert [message.key for message in heard if isinstance(message, Began)] == ["a", "b", "c"]
    assert {message.reason for message in heard if isinstance(message, Refused)} == {str(worker._process.pid)}


def test_a_job_that_is_sent_to_a_child_that_died_ends_as_its_death(tmp_path, monkeypatch):
    """Between two jobs, as when memory runs out just then."""
    monkeypatch.syspath_prepend(tmp_path)
    with child(tmp_path, "emit(Began(key=job.key))") as worker:
        assert list(worker.messages(lambda _: 30.0)) == [Began(key="a")]
        worker._process.kill()
        worker._process.wait()
        worker.send(Job(key="b"))
        with pytest.raises(WorkerDiedError) as caught:
            list(worker.messages(lambda _: 30.0))
    assert caught.value.returncode == -9


def test_progress_is_a_report_like_others(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    worker = child(tmp_path, "emit(Progress(key='a', fraction=0.5, note='loss 2.1'))")
    assert read(worker) == [Progress(key="a", fraction=0.5, note="loss 2.1")]


def test_each_death_costs_one_order_and_a_new_worker_does_the_rest(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    body = "emit(Began(key=job.key)); (os._exit(3) if job.key == 'bad' else None); emit(Refused(reason=job.key))"
    taken: list = []

    def start(left: list[Job]) -> Worker:
        child(tmp_path, body).__exit__()  # writes the module
        return Worker("child_module", left[0], {}, tmp_path / "log")

    orders = [Job(key="bad"), Job(key="good")]
    deaths = list(work_through(orders, start, taken.append, lambda _: 30.0))
    assert [(death.key, death.cause) for death in deaths] == [("bad", "failed")]
    assert Refused(reason="good") in taken


def test_a_child_does_not_outlive_its_parent(tmp_path):
    script = tmp_path / "parent.py"
    (tmp_path / "child_module.py").write_text(
        "import time\nfrom scalemark.process import serve\nfrom scalemark.schema import Frozen\n"
        "class Job(Frozen):\n    key: str\n"
        "serve(Job, lambda job, emit: time.sleep(600))\n"
    )
    script.write_text(
        "import os, sys, time\nfrom pathlib import Path\nfrom scalemark.process import Worker\n"
        "from scalemark.schema import Frozen\nclass Job(Frozen):\n    key: str\n"
        "worker = Worker('child_module', Job(key='a'), {}, Path('log'))\n"
        "print(worker._process.pid, flush=True)\ntime.sleep(2)\nos._exit(0)\n"
    )
    output = subprocess.run([sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True, check=True)
    pid = int(output.stdout)
    deadline = time.monotonic() + 30
    while psutil.pid_exists(pid) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not psutil.pid_exists(pid)


def test_one_logical_cpu_of_every_core_is_used(tmp_path):
    root = write_tree(tmp_path, system_files())
    assert one_per_core({0, 1, 2, 3}, root) == (0, 2)


def test_only_cpus_that_this_process_may_use_are_used(tmp_path):
    root = write_tree(tmp_path, system_files())
    assert one_per_core({1, 3}, root) == (1, 3)
    assert one_per_core({2, 3}, root) == (2,)


def test_where_cores_are_unknown_each_cpu_is_one(tmp_path):
    assert one_per_core({5, 0, 1}, tmp_path) == (0, 1, 5)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system has no affinity")
def test_a_process_can_be_pinned_to_the_default_affinity_here():
    affinity = default_affinity()
    program = f"import os; os.sched_setaffinity(0, {affinity}); print(sorted(os.sched_getaffinity(0)))"
    output = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert output.strip() == str(sorted(affinity))


def test_there_is_a_thread_for_every_core_unless_a_quota_allows_fewer():
    affinity = default_affinity()
    assert 1 <= default_threads() <= (len(affinity) if affinity else os.cpu_count())


def test_variables_that_move_times_are_found_and_no_others():
    moving = {
        "CUDA_LAUNCH_BLOCKING": "1",
        "KMP_BLOCKTIME": "0",
        "LD_PRELOAD": "libjemalloc.so",
        "MALLOC_ARENA_MAX": "1",
        "NVIDIA_TF32_OVERRIDE": "0",
        "OMP_WAIT_POLICY": "active",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "PYTORCH_CUDA_ALLOC_CONF": "expandable_segments:True",
        "TORCHINDUCTOR_MAX_AUTOTUNE": "1",
    }
    assert (
        moving_variables({**moving, "HOME": "/nowhere", "PATH": "/bin", "SECRET_TOKEN": "x", "CUDA_HOME": "/cuda"})
        == moving
    )


def test_a_worker_for_memory_alone_changes_the_allocator():
    assert not [name for name in worker_environment(2) if name.startswith("MALLOC_")]
    assert [name for name in worker_environment(2, for_memory=True) if name.startswith("MALLOC_")]
    assert worker_environment(2)["OMP_NUM_THREADS"] == "2"

import subprocess
import sys
import textwrap
import time

import psutil
import pytest

from scalemark.process import Began, Refused, Worker, WorkerDiedError, WorkerSilentError, work_through
from scalemark.schema import Frozen


class Job(Frozen):
    key: str


def child(tmp_path, body: str):
    """A worker whose `work(job, emit)` is `body`."""
    module = tmp_path / "child_module.py"
    module.write_text(
        "import os, sys, time\n"
        "from scalemark.process import Began, Refused, serve\n"
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

"""What is lost is begun again, what was done is not, and nothing is begun for ever."""

from collections.abc import Callable, Iterator, Sequence
from types import SimpleNamespace

import pytest

from scalemark.errors import DeviceError, ScalemarkError
from scalemark.process import Began, Death, Message, Refused
from scalemark.schema import RunTrained, TaskRef, TrainingConfig, TrainingRun
from scalemark.train.executors import pool as pool_module
from scalemark.train.executors.pool import Ended, LostError, Pool
from scalemark.train.jobs import RunOrder, TokenFiles, TrunkJob

Act = Callable[[TrunkJob], Iterator[Message]]


class ActingSeat:
    """Does at each attempt what the next act says, and remembers what it was given."""

    def __init__(self, *acts: Act) -> None:
        self._acts = list(acts)
        self.given: list[TrunkJob] = []
        self.is_closed = False

    def attempt(self, job: TrunkJob) -> Iterator[Message]:
        self.given.append(job)
        yield from self._acts.pop(0)(job)

    def close(self) -> None:
        self.is_closed = True


def config(name: str) -> TrainingConfig:
    return TrainingConfig(task=TaskRef(path="acts.py", function=name), tokens=1)


def job(*names: str, budget_s: float = 100.0) -> TrunkJob:
    orders = tuple(RunOrder(config=config(name), expected_s=1.0) for name in names)
    return TrunkJob(orders=orders, files=TokenFiles(train_path="", validation_path=""), budget_s=budget_s)


def does(n_runs: int, then: str | None = None) -> Act:
    """The first runs of the job, and then it is lost for this reason, or done."""

    def act(job: TrunkJob) -> Iterator[Message]:
        for order in job.orders[:n_runs]:
            yield Began(key=order.key)
            yield RunTrained(run=TrainingRun(config=order.config, status="ok"))
        if then:
            raise LostError(Death(job.orders[-1].key, "failed", then))

    return act


def all_of(seats: Sequence[ActingSeat], *jobs: TrunkJob, tries: int = 2) -> tuple[list[Ended], list[str]]:
    heard: list[Message] = []
    with Pool(seats, heard.append, tries) as pool:
        for one in jobs:
            pool.submit(one)
        ended = list(pool.as_completed())
    return ended, [str(message.run.config) for message in heard if isinstance(message, RunTrained)]


def names(orders: Sequence[RunOrder]) -> list[str]:
    return [str(order.config).removesuffix("-1") for order in orders]


def test_what_was_done_before_a_loss_is_not_done_again() -> None:
    seat = ActingSeat(does(1, "its node went away"), does(2))
    ended, trained = all_of([seat], job("a", "b", "c"))
    assert [names(given.orders) for given in seat.given] == [["a", "b", "c"], ["b", "c"]]
    assert trained == ["a-1", "b-1", "c-1"]
    assert [(one.death, one.left) for one in ended] == [(None, ())]


@pytest.mark.parametrize("tries", [1, 3])
def test_what_is_lost_every_time_is_given_up_with_the_reason(tries: int) -> None:
    seat = ActingSeat(*[does(0, "its node went away")] * tries)
    (ended,), _ = all_of([seat], job("a", "b"), tries=tries)
    assert len(seat.given) == tries
    assert ended.death and ended.death.reason == f"its node went away; begun {tries} times"
    assert names(ended.left) == ["a", "b"]


def test_a_loss_after_the_last_run_costs_nothing() -> None:
    seat = ActingSeat(does(1, "it was killed while it said goodbye"))
    (ended,), trained = all_of([seat], job("a"))
    assert (ended.death, trained, len(seat.given)) == (None, ["a-1"], 1)


def test_the_time_that_a_lost_attempt_took_is_off_the_budget_and_the_queue_before_it_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now_s = [1000.0]
    monkeypatch.setattr(pool_module, "time", SimpleNamespace(monotonic=lambda: now_s[0]))

    def waits_and_works(job: TrunkJob) -> Iterator[Message]:
        now_s[0] += 500.0
        yield Began(key=job.orders[0].key)
        now_s[0] += 30.0
        yield from does(1, "lost")(job)

    seat = ActingSeat(waits_and_works, does(1))
    all_of([seat], job("a", "b", budget_s=100.0))
    assert [given.budget_s for given in seat.given] == [100.0, 70.0]


def test_losses_are_counted_job_by_job() -> None:
    seat = ActingSeat(does(0, "lost"), does(1), does(0, "lost"), does(1))
    ended, _ = all_of([seat], job("a"), job("b"))
    assert [one.death for one in ended] == [None, None]


def test_a_refusal_ends_all_of_it_with_what_to_do() -> None:
    def refuses(_: TrunkJob) -> Iterator[Message]:
        yield Refused(reason="node n7: it has torch 1: install the same on all nodes")

    with pytest.raises(DeviceError, match="install the same"):
        all_of([ActingSeat(refuses)], job("a"))


def test_what_no_attempt_could_do_better_reaches_the_caller_and_the_seats_are_closed() -> None:
    def raises(_: TrunkJob) -> Iterator[Message]:
        raise ScalemarkError("sbatch takes no job: check --slurm-option")
        yield

    seats = [ActingSeat(raises), ActingSeat(raises)]
    with pytest.raises(ScalemarkError, match="sbatch"):
        all_of(seats, job("a"), job("b"))
    assert all(seat.is_closed for seat in seats)

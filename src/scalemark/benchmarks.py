"""What a `bench_*.py` declares: lists of workloads and training runs to parametrise a benchmark with.

    @pytest.mark.parametrize("workload", scalemark.ladder("forward"), ids=str)
    def bench_forward(workload, measured):
        measured(workload)

The plugin finds them at collection, measures all of them interleaved, and `measured` replays each one's samples.
"""

import inspect
import itertools
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from scalemark.errors import InputError
from scalemark.model.ladder import BATCH, DIAGONAL, LARGE_DIAGONAL, SEQ_LEN
from scalemark.schema import Dtype, ModelConfig, Optimizer, Parallelism, Phase, TaskRef, TrainingConfig, Workload

if TYPE_CHECKING:
    from scalemark.model.task import Task

Argument = int | float | str | bool


def ladder(
    phase: Phase,
    rungs: Iterable[ModelConfig] = (*DIAGONAL, *LARGE_DIAGONAL),
    batch: int = BATCH,
    seq_len: int = SEQ_LEN,
    dtype: Dtype = "float32",
    optimizer: Optimizer | None = None,
    compiled: bool = False,
) -> list[Workload]:
    """One workload per rung. Which of them run depends on the budget and the memory. compiled: under torch.compile."""
    how = {"phase": phase, "batch": batch, "seq_len": seq_len, "dtype": dtype, "optimizer": optimizer}
    return [Workload.model_validate({"model": model, "compiled": compiled, **how}) for model in rungs]


def on_ranks(
    rungs: Iterable[ModelConfig],
    world_sizes: Sequence[int] = (2,),
    parallelisms: Sequence[Parallelism] = ("ddp", "fsdp"),
    rank_batch: int = BATCH,
    seq_len: int = SEQ_LEN,
    dtype: Dtype = "float32",
    optimizer: Optimizer = "adamw",
) -> list[Workload]:
    """Training steps spread over ranks of torch.distributed, and on one rank what they are compared with.

    rank_batch: sequences for each rank. One rank takes as many (for weak scaling), and as many as all ranks of a group
    together (for strong scaling). Which world sizes run depends on the machine.
    """
    batches = sorted({rank_batch * size for size in (1, *world_sizes)})
    how = {"phase": "step", "seq_len": seq_len, "dtype": dtype, "optimizer": optimizer}
    spread = [(name, size, rank_batch * size) for size in world_sizes if size > 1 for name in parallelisms]
    alone = [("ddp", 1, batch) for batch in batches]
    return [
        Workload.model_validate({"model": rung, "parallelism": name, "world_size": size, "batch": batch, **how})
        for rung in rungs
        for name, size, batch in (*alone, *spread)
    ]


def workloads(
    factory: "Callable[..., Task]", phases: Sequence[Phase] = ("step", "eval"), **arguments: Sequence[Argument]
) -> list[Workload]:
    """Your own model in the phases named, once for each combination of the factory's arguments.

    factory: a function at the top of its module that returns a `scalemark.Task`; workers import it from there.
    """
    return [Workload(phase=phase, task=task) for task in _references(factory, arguments) for phase in phases]


def trainings(factory: "Callable[..., Task]", samples: int, **arguments: Sequence[Argument]) -> list[TrainingConfig]:
    """Your own model trained on so many samples and validated, once for each combination of arguments."""
    return [TrainingConfig(task=task, tokens=samples) for task in _references(factory, arguments)]


def _references(factory: "Callable[..., Task]", arguments: dict[str, Sequence[Argument]]) -> list[TaskRef]:
    path = inspect.getsourcefile(factory)
    if path is None or "." in factory.__qualname__:
        raise InputError(f"workers cannot import {factory.__qualname__}: define it at the top of a Python file")
    combinations = itertools.product(*arguments.values())
    return [
        TaskRef(
            path=_portable(Path(path)), function=factory.__name__, arguments=tuple(zip(arguments, values, strict=True))
        )
        for values in combinations
    ]


def _portable(path: Path) -> str:
    """Relative where it can be, so that a suite does not name the folders of the machine it came from."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)

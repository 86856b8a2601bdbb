"""What it costs to train a language model as it grows, and what loss it reaches, on the machine in front of you.

The public interface, for a `bench_*.py` of your own and for a notebook. Nothing here imports torch until it is used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from scalemark.analysis import analyse
    from scalemark.benchmarks import ladder, on_ranks, trainings, workloads
    from scalemark.fitting import fit_cost, fit_loss
    from scalemark.model.ladder import find_rung
    from scalemark.model.options import step_options
    from scalemark.model.task import Task
    from scalemark.planning import plan
    from scalemark.record.store import load_suite
    from scalemark.record.store import load_suite as load
    from scalemark.train.grid import training_grid

__version__ = "0.1.0"
__all__ = [
    "Task",
    "analyse",
    "find_rung",
    "fit_cost",
    "fit_loss",
    "ladder",
    "load",
    "load_suite",
    "on_ranks",
    "plan",
    "step_options",
    "training_grid",
    "trainings",
    "workloads",
]

_HOMES = {
    "Task": "scalemark.model.task",
    "analyse": "scalemark.analysis",
    "find_rung": "scalemark.model.ladder",
    "fit_cost": "scalemark.fitting",
    "fit_loss": "scalemark.fitting",
    "ladder": "scalemark.benchmarks",
    "load": "scalemark.record.store",
    "load_suite": "scalemark.record.store",
    "on_ranks": "scalemark.benchmarks",
    "plan": "scalemark.planning",
    "step_options": "scalemark.model.options",
    "training_grid": "scalemark.train.grid",
    "trainings": "scalemark.benchmarks",
    "workloads": "scalemark.benchmarks",
}
# Where a public name is shorter than the function's own.
_OWN_NAMES = {"load": "load_suite"}


def __getattr__(name: str) -> Any:
    """Import what is asked for, and only then."""
    if name not in _HOMES:
        raise AttributeError(f"module 'scalemark' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), _OWN_NAMES.get(name, name))

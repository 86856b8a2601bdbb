"""The import directions of the design: stages do not know each other, and reading a report does not load torch."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import resolve_name
from pathlib import Path

import pytest

import scalemark

SOURCE_ROOT = Path(scalemark.__file__).parent
BASE = frozenset({"errors", "units", "schema", "stats", "system"})
WITHOUT_TORCH = BASE | {"process", "record", "fit", "plan", "diff", "export", "report"}
JOINTS = frozenset(
    {
        "__init__",
        "__main__",
        "ab",
        "analysis",
        "benchmarks",
        "cli",
        "comparing",
        "diagnosis",
        "doctor",
        "fitting",
        "history",
        "launched",
        "live",
        "planning",
        "plugin",
        "rechecking",
        "repeating",
        "session",
        "smoke",
        "training",
        "versus",
    }
)

# What each part may import besides itself. A joint may import anything; a part that is in neither has no place yet.
ALLOWED: dict[str, frozenset[str]] = {
    "errors": frozenset(),
    "units": frozenset({"errors"}),
    "schema": frozenset(),
    "stats": frozenset({"schema"}),
    "system": frozenset({"schema"}),
    "process": BASE,
    "model": BASE,
    "measure": BASE | {"model", "process"},
    "train": BASE | {"model", "process"},
    "record": BASE,
    "fit": BASE,
    "plan": BASE | {"fit", "model"},
    "diff": BASE,
    "export": BASE,
    "report": BASE,
}


def module_name(path: Path) -> str:
    """'scalemark.fit.solver'; a package's __init__ keeps that last name, so that relative imports resolve alike."""
    return ".".join((scalemark.__name__, *path.relative_to(SOURCE_ROOT).with_suffix("").parts))


def part_of(module: str) -> str:
    """'fit' of 'scalemark.fit.solver'."""
    return module.split(".")[1]


def imported_names(source: str, module: str) -> Iterator[str]:
    """Absolute name of everything imported anywhere in the source, functions included."""
    package = module.rpartition(".")[0]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            origin = resolve_name("." * node.level + (node.module or ""), package)
            yield from (f"{origin}.{alias.name}" for alias in node.names)


def violations(source: str, module: str) -> list[str]:
    """Imports that the design forbids this module, as 'importer -> imported'."""
    part = part_of(module)
    if part in JOINTS:
        return []
    assert part in ALLOWED, (
        f"{part} has no place in the import directions: add it to ALLOWED or JOINTS, and to the design"
    )
    return [f"{module} -> {name}" for name in imported_names(source, module) if _is_forbidden(name, part)]


def _is_forbidden(name: str, part: str) -> bool:
    """The package's own root gives a stage only the version: its other names lead to every stage."""
    root, *rest = name.split(".")
    if root == "torch":
        return part in WITHOUT_TORCH
    return root == scalemark.__name__ and not set(rest[:1]) & (ALLOWED[part] | {part, "__version__"})


def source_paths() -> list[Path]:
    return sorted(SOURCE_ROOT.rglob("*.py"))


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("scalemark.fit.solver", "def late():\n    from scalemark.train import run"),
        ("scalemark.fit.solver", "from scalemark import plan"),
        ("scalemark.fit.solver", "from scalemark import load_suite"),
        ("scalemark.fit.solver", "import scalemark.record.store as store"),
        ("scalemark.report.tables", "from ..model import ladder"),
        ("scalemark.report.__init__", "from .. import diff"),
        ("scalemark.plan.optimum", "if True:\n    import torch.nn"),
        ("scalemark.record.store", "from torch import Tensor"),
        ("scalemark.schema", "from scalemark.stats import median_over_blocks"),
        ("scalemark.measure.campaign", "from scalemark.train.run import train"),
        ("scalemark.model.task", "from scalemark.plugin import main"),
    ],
)
def test_a_planted_violation_is_found(module: str, source: str) -> None:
    assert len(violations(source, module)) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("scalemark.fit.solver", "from scalemark.fit import loss_law\nfrom . import cost_law\nimport numpy"),
        ("scalemark.fit.solver", "from scalemark import __version__\nfrom scalemark.schema import Law"),
        ("scalemark.stats", "from scalemark.schema import Estimate"),
        ("scalemark.train.run", "import torch\nfrom scalemark.model.task import Task"),
        ("scalemark.cli", "from scalemark.fit import loss_law\nfrom scalemark.report import html\nimport torch"),
    ],
)
def test_what_the_design_allows_is_not_reported(module: str, source: str) -> None:
    assert violations(source, module) == []


def test_a_part_without_a_place_is_refused() -> None:
    with pytest.raises(AssertionError, match="no place"):
        violations("", "scalemark.helpers")


@pytest.mark.parametrize("path", source_paths(), ids=module_name)
def test_a_module_imports_only_what_the_design_allows(path: Path) -> None:
    assert violations(path.read_text(encoding="utf-8"), module_name(path)) == []


def test_the_source_was_found() -> None:
    assert {part_of(module_name(path)) for path in source_paths()} >= BASE | {"model", "measure", "train"}


def test_reading_a_report_does_not_load_torch() -> None:
    modules = [module_name(path).removesuffix(".__init__") for path in source_paths()]
    light = [module for module in modules if "." in module and part_of(module) in WITHOUT_TORCH]
    program = (
        f"import sys, importlib\nfor name in {light}: importlib.import_module(name)\nassert 'torch' not in sys.modules"
    )
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr

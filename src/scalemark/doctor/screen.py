"""The findings as one screen of text: who the machine is, a line per check, and what to do first."""

from scalemark.doctor.findings import Check, Doctor
from scalemark.schema import Machine

SCREEN_COLUMNS = 100
SCREEN_LINES = 30

# What is worth changing, by how much a run gains from it: first what keeps it from starting, then what spoils many
# numbers, then what spoils some. What is not here is a property of the machine, and no to-do.
_BY_WORTH = (
    *("torch", "results", "corpus", "packages"),
    *("memory", "throttling", "load", "pressure", "noise", "threads"),
    *("clock", "timer", "compiler"),
)
_NEXT = "all is well: python -m pytest bench/ --benchmark-only"
_INDENT = " " * 9


def render(doctor: Doctor) -> str:
    """One screen of plain text: at most 30 lines of 100 columns. The JSON holds what had to be cut."""
    counts = ", ".join(f"{doctor.count(status)} {status}" for status in ("ok", "limited", "missing"))
    head = [f"scalemark doctor: {counts}", *_describe(doctor.machine), ""]
    tail = ["", f"first    {_first_advice(doctor) or _NEXT}"]
    room = SCREEN_LINES - len(head) - len(tail)
    shown = _advice_shown(doctor.checks, room - len(doctor.checks))
    lines = [line for check in doctor.checks for line in _lines(check, check.name in shown)]
    return "\n".join(_cut(line) for line in [*head, *lines[:room], *tail])


def _describe(machine: Machine) -> list[str]:
    facts, context = machine.identity, machine.context
    words = [
        str(context.get("os") or facts.get("system") or "unknown system"),
        f"kernel {context['kernel']}" if context.get("kernel") else "",
        f"Python {context.get('python_version') or facts.get('python')}",
        str(context["cloud"]) if context.get("cloud") else "",
        f"in {context['container']}" if context.get("container") else "",
    ]
    return [f"machine  {machine.id}", _INDENT + ", ".join(filter(None, words))]


def _first_advice(doctor: Doctor) -> str | None:
    """The advice that is worth most, with what it is about."""
    advised = {check.name: check for check in doctor.checks if check.advice and check.status != "ok"}
    first = next((advised[name] for name in _BY_WORTH if name in advised), None)
    return f"{first.name}: {first.advice}" if first else None


def _advice_shown(checks: tuple[Check, ...], room: int) -> set[str]:
    """Names of the checks whose advice is written, in as many lines as there is room for: what is worth most."""
    advised = sorted((check.name for check in checks if check.advice), key=_worth)
    return set(advised[: max(room, 0)])


def _worth(name: str) -> int:
    return _BY_WORTH.index(name) if name in _BY_WORTH else len(_BY_WORTH)


def _lines(check: Check, with_advice: bool) -> list[str]:
    line = f"{check.status:<9}{check.name:<15}{check.detail}"
    return [line, f"{_INDENT}-> {check.advice}"] if with_advice else [line]


def _cut(line: str) -> str:
    return line if len(line) <= SCREEN_COLUMNS else line[: SCREEN_COLUMNS - 3] + "..."

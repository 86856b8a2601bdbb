"""What the command line asks for: suites with the names that a reader gives them, and what an hour of each costs.

results/runs/a             named after its machine, and by what differs where machines are one
laptop=results/runs/a      named
half=results/runs/a:bfloat16:compiled    its training steps in bfloat16, compiled
all.jsonl                  every suite of a collection; all.jsonl#ID is one of them
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any

from scalemark.errors import InputError
from scalemark.record.collection import COLLECTION_ENDINGS, read_suites
from scalemark.record.store import load_suite
from scalemark.schema import Contender

# What may follow a path: which training steps take part, other than eager ones in float32 with AdamW.
_CHOICES: dict[str, dict[str, Any]] = {
    "float32": {"dtype": "float32"},
    "bfloat16": {"dtype": "bfloat16"},
    "adamw": {"optimizer": "adamw"},
    "sgd": {"optimizer": "sgd"},
    "eager": {"compiled": False},
    "compiled": {"compiled": True},
}
_COMMIT_LENGTH = 8


@dataclass(frozen=True)
class Asked:
    """One suite as asked for. choices: fields of `Contender` that say which of its steps take part."""

    name: str | None
    path: Path
    choices: dict[str, Any] = field(default_factory=dict)


def contenders_asked(suites: Sequence[str], usd_per_hour: Sequence[str] = ()) -> tuple[Contender, ...]:
    """The suites read, each with its name and its price; raises InputError or StoreError."""
    named = [contender for text in suites for contender in _read(parse_suite(text))]
    if len(named) < 2:
        raise InputError("a comparison takes two suites or more: name another")
    _refuse_twice(named)
    contenders = with_names(named)
    prices = parse_prices(usd_per_hour, [contender.name for contender in contenders])
    return tuple(one.model_copy(update={"usd_per_hour": prices.get(one.name)}) for one in contenders)


def _read(asked: Asked) -> Iterator[Contender]:
    """The suite; of a whole collection, all of them."""
    if not is_collection(asked.path):
        yield Contender(name=asked.name or "", suite=load_suite(asked.path), **asked.choices)
        return
    if asked.name:
        raise InputError(f"{asked.path} holds several suites: name one, as in {asked.name}={asked.path}#ID")
    for _, suite in read_suites([asked.path], []):
        yield Contender(name="", suite=suite, **asked.choices)


def is_collection(path: Path) -> bool:
    """Whether it is a file that `scalemark merge` wrote, and not one suite of it."""
    return path.is_file() and path.name.endswith(COLLECTION_ENDINGS)


def parse_suite(text: str) -> Asked:
    """NAME=PATH:bfloat16:compiled, of which only the path must be there; a file of that very name is the path."""
    if Path(text).exists():
        return Asked(None, Path(text))
    name, equals, rest = text.partition("=")
    if not equals:
        name, rest = "", text
    elif not name.strip():
        raise InputError(f"{text!r} has no name before its '=': write NAME=PATH, or PATH alone")
    path, choices = _choices(rest)
    return Asked(name.strip() or None, path, choices)


def _choices(text: str) -> tuple[Path, dict[str, Any]]:
    """The path, and what follows it after colons."""
    if Path(text).exists():
        return Path(text), {}
    path, *words = text.split(":")
    unknown = [word for word in words if word not in _CHOICES]
    if unknown and Path(path).exists():
        raise InputError(f"there are no steps {unknown[0]!r}: after the path may stand {', '.join(_CHOICES)}")
    if unknown or not words:
        return Path(text), {}
    return Path(path), {name: value for word in words for name, value in _CHOICES[word].items()}


def parse_prices(texts: Sequence[str], names: Sequence[str]) -> dict[str, float]:
    """US dollars per hour by name; raises InputError for an unknown name, one priced twice, or what is no price."""
    prices: dict[str, float] = {}
    for text in texts:
        name, equals, amount = text.rpartition("=")
        if not equals or name not in names:
            raise InputError(f"--usd-per-hour {text!r} names none of {', '.join(names)}: write it like {names[0]}=1.5")
        if name in prices:
            raise InputError(f"{name} has two prices: give --usd-per-hour {name}=P once")
        prices[name] = _price(amount, text)
    return prices


def _price(amount: str, text: str) -> float:
    try:
        price = float(amount)
    except ValueError:
        price = -1.0
    if not (isfinite(price) and price > 0):
        raise InputError(f"--usd-per-hour {text!r} is no price: give US dollars above 0, or leave it out")
    return price


def _refuse_twice(contenders: Sequence[Contender]) -> None:
    taken = Counter(_steps(one) for one in contenders)
    twice = next((one for one in contenders if taken[_steps(one)] > 1), None)
    if twice:
        raise InputError(
            f"suite {twice.suite.id} is named twice: give another, or other steps of it, as in PATH:bfloat16"
        )


def _steps(contender: Contender) -> tuple[object, ...]:
    return contender.suite.id, contender.suite.machine.id, contender.dtype, contender.optimizer, contender.compiled


# --- names ------------------------------------------------------------------------------------------------------------

_Fact = Callable[[Contender], str]


def with_names(contenders: Sequence[Contender]) -> tuple[Contender, ...]:
    """Those without a name are called after their machine, then after what differs between those of one name.

    Raises InputError where two have one name.
    """
    given = [one.name for one in contenders if one.name]
    nameless = [one for one in contenders if not one.name]
    names = iter(_default_names(nameless))
    named = [one if one.name else one.model_copy(update={"name": next(names)}) for one in contenders]
    counts = Counter(one.name for one in named)
    twice = next((name for name in [*given, *counts] if counts[name] > 1), None)
    if twice:
        raise InputError(f"two suites are called {twice!r}: name them apart, as in new=PATH")
    return tuple(named)


def _default_names(contenders: Sequence[Contender]) -> list[str]:
    """A machine that all share tells nothing apart, and is left out."""
    machines = [_machine_name(one) for one in contenders]
    names = [""] * len(machines) if len(set(machines)) == 1 < len(machines) else machines
    for fact in _FACTS:
        facts = [fact(one) for one in contenders]
        counts = [Counter(told for told, name in zip(facts, names, strict=True) if name == own) for own in names]
        names = [
            ", ".join(filter(None, [name, told])) if len(count) > 1 else name
            for name, told, count in zip(names, facts, counts, strict=True)
        ]
    return names


def _machine_name(contender: Contender) -> str:
    """'NVIDIA H200', 'AMD EPYC, 2 cores'."""
    facts = contender.suite.machine.identity
    if contender.suite.settings.device == "cuda":
        count = facts.get("gpu_count")
        return f"{f'{count} × ' if isinstance(count, int) and count > 1 else ''}{facts.get('gpu') or 'CUDA'}"
    return f"{facts.get('cpu') or 'CPU'}, {facts.get('cores')} cores"


# What tells contenders of one machine apart, in this order.
_FACTS: tuple[_Fact, ...] = (
    lambda one: f"torch {one.suite.machine.identity.get('torch')}",
    lambda one: one.dtype,
    lambda one: one.optimizer,
    lambda one: "compiled" if one.compiled else "eager",
    lambda one: f"commit {(one.suite.commit or 'unknown')[:_COMMIT_LENGTH]}",
    lambda one: one.suite.id,
)

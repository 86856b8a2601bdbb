"""What the command line asks for, from its texts: rungs, tasks, time and margin."""

import re
from collections.abc import Sequence
from typing import Literal

from scalemark.ab.run import DEFAULT_RUNGS, AbRequest
from scalemark.errors import InputError
from scalemark.schema import TaskRef
from scalemark.units import parse_duration_s

_TASK = re.compile(r"(?P<path>.+\.py):(?P<function>\w+)(\((?P<arguments>.*)\))?")


def parse_request(
    base: str,
    head: str,
    rungs: str | None,
    tasks: Sequence[str],
    time: str,
    margin: str,
    device: Literal["auto", "cpu", "cuda"],
    seed: int,
) -> AbRequest:
    """The request; raises InputError where a text cannot be read. Rungs are the default only where no task is named."""
    names = tuple(name.strip() for name in rungs.split(",") if name.strip()) if rungs else ()
    return AbRequest(
        base=base,
        head=head,
        rungs=names or (() if tasks else DEFAULT_RUNGS),
        tasks=tuple(map(parse_task, tasks)),
        budget_s=parse_duration_s(time),
        margin=parse_margin(margin),
        device=device,
        seed=seed,
    )


def parse_margin(text: str) -> float:
    """0.02 from '2%', '2 %' or '0.02'; raises InputError."""
    number, percent = text.strip().removesuffix("%").strip(), text.strip().endswith("%")
    try:
        return float(number) / 100 if percent else float(number)
    except ValueError:
        raise InputError(f"cannot read {text!r} as a margin: write it like 2% or 0.02") from None


def parse_task(text: str) -> TaskRef:
    """'bench/bench_simple_nn.py:simple_nn(width=10)'; raises InputError."""
    match = _TASK.fullmatch(text.strip())
    if match is None:
        raise InputError(f"cannot read {text!r} as a task: write it like bench/bench_mine.py:my_model(width=10)")
    pairs = [part.partition("=") for part in (match["arguments"] or "").split(",") if part.strip()]
    arguments = tuple((name.strip(), _value(value.strip())) for name, _, value in pairs)
    return TaskRef(path=match["path"], function=match["function"], arguments=arguments)


def _value(text: str) -> int | float | str | bool:
    if text in ("True", "False"):
        return text == "True"
    for read in (int, float):
        try:
            return read(text)
        except ValueError:
            continue
    return text.strip("'\"")

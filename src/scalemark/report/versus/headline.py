"""The sentences that come first: who is faster from which size on and by how much, what it costs, what not to trust."""

from collections.abc import Sequence

from scalemark.report.numbers import WITHIN
from scalemark.report.versus.words import crossover_size, far_beyond, speedup, usd
from scalemark.schema import (
    BestRange,
    CoefficientCompared,
    Contender,
    ContenderStep,
    Crossover,
    ShapeCompared,
    SuiteComparison,
)
from scalemark.units import format_amount, format_percent, format_seconds

_SURE = 0.95
_NO_TIMES = "No time could be compared: no shape has one on two of the suites, measured or predicted."


def headline(comparison: SuiteComparison) -> str:
    """Who is faster, from which size on, and by how much at the largest size that was measured."""
    shape = largest_measured(comparison)
    parts = [_fastest_sentence(comparison), _speedup_sentence(comparison, shape) if shape else ""]
    return " ".join(filter(None, parts)) or f"{_NO_TIMES}{_loss_sentence(comparison)}"


def price_line(comparison: SuiteComparison) -> str:
    """What a million tokens cost at that size; why that is not known, otherwise."""
    shape = largest_measured(comparison)
    priced = [step for step in shape.steps if step.usd] if shape else []
    if not shape or not priced:
        return "No prices: give --usd-per-hour NAME=P for each, and cost per million tokens stands beside the speed."
    each = sorted(priced, key=_usd)
    costs = ", ".join(f"{usd(_usd(step) * 1e6 / shape.items)} on {step.contender}" for step in each)
    at_size = f"A million tokens of {shape.name} ({format_amount(shape.params_total)} parameters) cost {costs}."
    return " ".join(filter(None, [at_size, _cheapest_sentence(comparison)]))


def cause_line(comparison: SuiteComparison) -> str:
    """'Where the time of d4w256 goes: on laptop mostly matrix products (88 ms), …'; empty without coefficients."""
    parts = [words for index in range(len(comparison.names)) if (words := _largest_term(comparison, index))]
    return f"Where the time of {comparison.cause_shape} goes: {', '.join(parts)}." if parts else ""


def _largest_term(comparison: SuiteComparison, index: int) -> str:
    """Of one contender, by its place; empty where it has no law."""
    largest = max(comparison.coefficients, key=lambda one: _taken(one, index), default=None)
    if largest is None or not _taken(largest, index):
        return ""
    taken = format_seconds(_taken(largest, index), 2)
    return f"on {comparison.names[index]} mostly {_short(largest.meaning)} ({taken})"


def _taken(compared: CoefficientCompared, index: int) -> float:
    seconds = compared.seconds[index]
    return seconds.value if seconds else 0.0


def _short(meaning: str) -> str:
    return meaning.partition(",")[0].partition(":")[0]


def contender_lines(comparison: SuiteComparison) -> list[str]:
    """'laptop: AMD EPYC, 2 cores, 24.0 GiB, torch 2.13.0+cpu; float32', one line each."""
    return [f"{one.name}: {one.suite.machine.summary}; {how_it_runs(one)}" for one in comparison.contenders]


def how_it_runs(contender: Contender) -> str:
    """'cuda, bfloat16, compiled'."""
    parts = [contender.suite.settings.device, contender.dtype, "compiled" * contender.compiled]
    parts += [contender.optimizer] * (contender.optimizer != "adamw")
    return ", ".join(filter(None, parts))


def doubt_line(comparison: SuiteComparison) -> str:
    """What could not be compared, by name; empty where all could."""
    left_out = [one.what for one in comparison.not_compared]
    return f"Not compared, or not on equal terms: {'; '.join(left_out)} (see below)." if left_out else ""


def largest_measured(comparison: SuiteComparison) -> ShapeCompared | None:
    """The largest shape that was measured on all, else on any two; of the growing model, where there is one."""
    measured = [shape for shape in comparison.shapes if _n_measured(shape) > 1]
    return max(measured, key=_size, default=None)


def _n_measured(shape: ShapeCompared) -> int:
    return sum(step.measured for step in shape.steps)


def _size(shape: ShapeCompared) -> tuple[int, bool, int, int]:
    return _n_measured(shape), shape.on_line, shape.params_non_embedding, shape.items


def _cheapest_sentence(comparison: SuiteComparison) -> str:
    ranges, crossovers = comparison.cheapest, comparison.price_crossovers
    if len(ranges) == 1:
        best = "cheaper" if len(comparison.names) == 2 else "cheapest"
        return f"{ranges[0].contender} is the {best} at every size that the laws reach."
    if len(ranges) == 2 and crossovers[0].is_told:
        return f"{ranges[1].contender} is cheaper above {crossover_size(crossovers[0])}."
    return ""


def _loss_sentence(comparison: SuiteComparison) -> str:
    """Where training is all that there is."""
    if not comparison.losses:
        return ""
    largest = max(one.spread for one in comparison.losses)
    return f" Losses of {len(comparison.losses)} equal configurations differ by {format_percent(largest, 2)} at most."


def _fastest_sentence(comparison: SuiteComparison) -> str:
    """By the laws; empty where there are fewer than two."""
    ranges = comparison.fastest
    if not ranges:
        return ""
    if len(ranges) == 1:
        return _one_range(ranges[0], "faster" if len(comparison.names) == 2 else "fastest")
    if not all(crossover.is_told for crossover in comparison.crossovers):
        return "The laws cross, but their bands overlap so far that no size is told from which on one is the faster."
    return _chain(ranges, comparison.crossovers)


def _one_range(only: BestRange, best: str) -> str:
    sizes = f"{format_amount(only.params.low, 2)} to {format_amount(only.params.high, 2)} parameters"
    if only.share < _SURE:
        return (
            f"The law of {only.contender} is the lowest from {sizes}, though not surely ({_share(only)} of the draws)."
        )
    return f"{only.contender} is the {best} at every size from {sizes} ({_reach(only)})."


def _reach(only: BestRange) -> str:
    if only.extrapolation <= 1:
        return WITHIN
    return f"up to {far_beyond(only.extrapolation)}"


def _share(only: BestRange) -> str:
    return format_percent(only.share, 0)


def _chain(ranges: Sequence[BestRange], crossovers: Sequence[Crossover]) -> str:
    """'gpu wins above 0.40 M (0.31 M to 0.56 M) parameters, laptop below.'"""
    if len(ranges) == 2:
        at = crossover_size(crossovers[0])
        return f"{ranges[1].contender} wins above {at}, {ranges[0].contender} below."
    ends = [f"up to {crossover_size(crossover)}" for crossover in crossovers]
    parts = [f"{one.contender} {end}" for one, end in zip(ranges, [*ends, "above"], strict=True)]
    return f"Fastest: {', '.join(parts)}."


def _speedup_sentence(comparison: SuiteComparison, shape: ShapeCompared) -> str:
    """The fastest that was measured there against the first contender, or the first against the next fastest."""
    first = shape.step(comparison.names[0])
    measured = sorted((step for step in shape.steps if step.measured), key=lambda step: step.seconds.value)
    winner, second = measured[0], measured[1]
    where = f"{shape.name}, {format_amount(shape.params_non_embedding, 2)} parameters without embeddings"
    if first is None or not first.measured:
        return f"{winner.contender} is the fastest measured at {where}."
    ratio = winner.speedup or (second.speedup.inverted(1.0) if second.speedup else None)
    other = second if winner.contender == first.contender else first
    if ratio is None:
        return ""
    if ratio.low <= 1:
        return f"At {where}, no difference to {other.contender} is told: {speedup(ratio)}."
    return f"{winner.contender} is {speedup(ratio)} as fast as {other.contender} at {where}."


def _usd(step: ContenderStep) -> float:
    assert step.usd is not None
    return step.usd.value

"""What a law is a sum of: physical terms, each a quantity that follows from the shape times a coefficient ≥ 0.

    step time = overhead + per layer · L + FLOPs / rate + activation bytes / bandwidth + state bytes / bandwidth

A form is one way to put terms together. In a roofline (Williams, Waterman & Patterson 2009) the groups of terms that
run at the same time are joined by a p-norm, (a^p + b^p)^(1/p): p = 1 adds them, a large p takes the longest.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, Protocol

import numpy as np

from scalemark.fit.cost.solver import Array
from scalemark.schema import Accounting, Flops, Phase, PredictedMemory

Counted = Accounting | PredictedMemory

# STREAM's arrays lie in main memory; what fits a cache comes a few times faster.
CACHE_SPEEDUP = 4.0
# Attention counts all pairs, and a causal kernel leaves out nearly half of them.
CAUSAL_SPEEDUP = 2.0


@dataclass(frozen=True)
class Term:
    """One term of a law. of: the quantity that it is proportional to. rate_name: how 1/coefficient is called.

    ceiling: what its rate cannot exceed, times `slack`.
    """

    name: str
    unit: str
    meaning: str
    of: Callable[[Any], float]
    rate_name: str | None = None
    rate_unit: str = ""
    ceiling: Literal["flops", "bytes"] | None = None
    slack: float = 1.0


@dataclass(frozen=True)
class Limits:
    """Ceilings measured in the same run, per second: no term may be faster. None where they were not measured."""

    flops_per_s: float | None = None
    bytes_per_s: float | None = None

    def lowest(self, term: Term) -> float:
        """What the coefficient of this term is at least."""
        rate = {"flops": self.flops_per_s, "bytes": self.bytes_per_s, None: None}[term.ceiling]
        return 1 / (rate * term.slack) if rate else 0.0


class Evaluated(Protocol):
    """A form by which coefficients become values."""

    @property
    def text(self) -> str:
        """The form in words."""

    def quantities(self, counted: Sequence[Any]) -> Array:
        """Shape (rows, terms)."""

    def evaluate(self, coefficients: Array, quantities: Array) -> Array:
        """Values, shape (…, rows), from coefficients of shape (…, coefficients)."""


@dataclass(frozen=True)
class Form:
    """Terms, and which groups of them overlap; the others are added.

    name: what the form is called beside others. text: the form in words, by which a law that was written to a file
    finds it again. Coefficients are one per term, and where groups overlap, the power p after them.
    """

    name: str
    text: str
    terms: tuple[Term, ...]
    overlapping: tuple[tuple[str, ...], ...] = ()

    def quantities(self, counted: Sequence[Any]) -> Array:
        """Shape (rows, terms)."""
        table = [[float(term.of(one)) for term in self.terms] for one in counted]
        return np.array(table).reshape(-1, len(self.terms))

    def lowest(self, limits: Limits) -> Array:
        """What the coefficients are at least, shape (terms,)."""
        return np.array([limits.lowest(term) for term in self.terms])

    def evaluate(self, coefficients: Array, quantities: Array) -> Array:
        """Values, shape (…, rows), from coefficients of shape (…, terms), with the power where groups overlap."""
        if not self.overlapping:
            return np.asarray(coefficients @ quantities.T)
        parts = coefficients[..., None, : len(self.terms)] * quantities
        _, joined = self._joined(parts, coefficients[..., -1, None])
        return np.asarray(parts[..., ~self._overlaps()].sum(axis=-1) + joined)

    def slopes(self, coefficients: Array, quantities: Array) -> Array:
        """Derivatives by each term's coefficient, shape (rows, terms), of one set of coefficients."""
        slopes = quantities.copy()
        if self.overlapping:
            power = coefficients[-1]
            groups, joined = self._joined(coefficients[: len(self.terms)] * quantities, power)
            for names, group in zip(self.overlapping, groups, strict=True):
                slopes[:, self._columns(names)] *= ((group / joined) ** (power - 1))[:, None]
        return slopes

    def _joined(self, parts: Array, power: Array) -> tuple[Array, Array]:
        """What each group takes, shape (groups, …, rows), and their p-norm, never 0."""
        groups = np.stack([parts[..., self._columns(names)].sum(axis=-1) for names in self.overlapping])
        longest = np.maximum(groups.max(axis=0), 1e-300)
        norm = longest * ((groups / longest) ** power).sum(axis=0) ** (1 / power)
        return groups, np.asarray(np.maximum(norm, 1e-300))

    def _columns(self, names: Sequence[str]) -> np.ndarray:
        return np.array([term.name in names for term in self.terms])

    def _overlaps(self) -> np.ndarray:
        return np.array([any(term.name in names for names in self.overlapping) for term in self.terms])


# --- step time --------------------------------------------------------------------------------------------------------

PHASE_NAMES: dict[Phase, str] = {
    "step": "training step",
    "forward": "forward pass",
    "backward": "backward pass",
    "optimizer": "optimizer step",
    "eval": "evaluation pass",
}
_OVERHEAD = Term("overhead_s", "s", "fixed cost, whatever the shape", lambda _: 1.0)
_LAYERS = Term("per_layer_s", "s", "cost of a layer whatever its size: launching its operators", lambda a: a.n_layer)
_WORDS = {
    "overhead_s": "overhead",
    "per_layer_s": "layers",
    "compute_s_per_flop": "FLOPs / rate",
    "matmul_s_per_flop": "matmul FLOPs / rate",
    "attention_s_per_flop": "attention FLOPs / rate",
    "activation_s_per_byte": "activation bytes / bandwidth",
    "state_s_per_byte": "state bytes / bandwidth",
}


@cache
def time_forms(phase: Phase, asynchronous: bool = False) -> tuple[Form, ...]:
    """The forms that a law of this phase's time may have, the simplest first.

    asynchronous: the device works through a queue that the host fills, as CUDA does, so that the two always overlap: a
    sum would take a device that is hidden behind its host for one that needs no time.
    """
    activations = _activations(with_scores=not asynchronous)
    joined = (_OVERHEAD, _LAYERS, _compute(phase), activations, _states(phase))
    apart = (_OVERHEAD, _LAYERS, _matmul(phase), _attention(phase), activations, _states(phase))
    if phase == "optimizer":
        moving = (_OVERHEAD, _LAYERS, _states(phase))
        return (_host_and_device(phase, moving),) if asynchronous else (_sum(phase, moving),)
    if asynchronous:
        return _host_and_device(phase, joined), _host_and_device(phase, apart)
    both = _host_and_device(phase, joined, ", attention scores among the activations")
    return _sum(phase, joined), _sum(phase, apart), _roofline(phase, joined), both


def _sum(phase: Phase, terms: tuple[Term, ...]) -> Form:
    return Form(f"sum{_apart(terms)}", f"{phase} time = {_words(terms)}", terms)


def _roofline(phase: Phase, terms: tuple[Term, ...]) -> Form:
    compute, memory = ([term for term in terms if term.ceiling == kind] for kind in ("flops", "bytes"))
    return Form(
        "p-norm roofline",
        f"{phase} time = overhead + layers + p-norm of {_words(compute)} and ({_words(memory)})",
        terms,
        (_names(compute), _names(memory)),
    )


def _host_and_device(phase: Phase, terms: tuple[Term, ...], remark: str = "") -> Form:
    """remark: what tells it from the form of the same words on another kind of device; a law is found by its text."""
    host, device = terms[:2], terms[2:]
    return Form(
        f"p-norm of host and device{_apart(terms)}",
        f"{phase} time = p-norm of ({_words(host)}) and ({_words(device)}){remark}",
        terms,
        (_names(host), _names(device)),
    )


def _words(terms: Sequence[Term]) -> str:
    return " + ".join(_WORDS[term.name] for term in terms)


def _names(terms: Sequence[Term]) -> tuple[str, ...]:
    return tuple(term.name for term in terms)


def _apart(terms: Sequence[Term]) -> str:
    return " with attention apart" if "attention_s_per_flop" in _names(terms) else ""


def _compute(phase: Phase) -> Term:
    return Term(
        "compute_s_per_flop",
        "s/FLOP",
        "matrix products and attention",
        lambda a: a.flops.model_flops(phase),
        "compute_flops_per_s",
        "FLOP/s",
        "flops",
    )


def _matmul(phase: Phase) -> Term:
    return Term(
        "matmul_s_per_flop",
        "s/FLOP",
        "matrix products",
        lambda a: _passes(phase) * a.flops.matmul,
        "matmul_flops_per_s",
        "FLOP/s",
        "flops",
    )


def _attention(phase: Phase) -> Term:
    return Term(
        "attention_s_per_flop",
        "s/FLOP",
        "attention over all pairs",
        lambda a: _passes(phase) * a.flops.attention_full,
        "attention_flops_per_s",
        "FLOP/s",
        "flops",
        CAUSAL_SPEEDUP,
    )


def _activations(with_scores: bool) -> Term:
    """On a CPU the scores of attention move like activations do: see `attention_score_bytes`."""
    what = "activations, logits and attention scores" if with_scores else "activations and logits"
    return Term(
        "activation_s_per_byte",
        "s/byte",
        f"{what}, each byte counted once however often it moves",
        lambda a: (a.activation_bytes or 0) + (a.logits_bytes or 0) + with_scores * attention_score_bytes(a),
        "activation_bytes_per_s",
        "bytes/s",
        "bytes",
        CACHE_SPEEDUP,
    )


def attention_score_bytes(accounting: Accounting) -> int:
    """Scores of attention as float32. Narrow heads have more of them for the same FLOPs.

    Measured on two cores, interleaved: heads of 16 in place of 64 cost 2.2 to 2.4 ns for each further score, at two
    batches, where a float32 activation costs 2.9. A fused kernel of a GPU keeps them in registers.
    """
    return 4 * (accounting.attention_scores or 0)


def _states(phase: Phase) -> Term:
    meaning = {
        "forward": "parameters read",
        "eval": "parameters read",
        "backward": "parameters read and gradients written",
    }.get(phase, "parameters, gradients and optimizer states updated")
    return Term(
        "state_s_per_byte",
        "s/byte",
        meaning,
        lambda a: state_bytes(a, phase),
        "state_bytes_per_s",
        "bytes/s",
        "bytes",
        CACHE_SPEEDUP,
    )


def state_bytes(accounting: Accounting, phase: Phase = "step") -> int:
    """Bytes of parameters, and of gradients and optimizer states where the phase uses them."""
    total = accounting.parameter_bytes
    if phase not in ("forward", "eval"):
        total += accounting.gradient_bytes
    return total + accounting.optimizer_state_bytes * (phase in ("step", "optimizer"))


def _passes(phase: Phase) -> float:
    """Forward passes that the phase is worth."""
    return Flops(matmul=1).model_flops(phase)


# --- memory -----------------------------------------------------------------------------------------------------------

MEMORY_FORM = Form(
    "fixed and factor",
    "allocated = fixed + factor · peak of live tensors, as the shape gives it",
    (
        Term("fixed_bytes", "bytes", "what no shape changes: workspaces of libraries", lambda _: 1.0),
        Term("peak_factor", "1", "allocated bytes per byte of tensors live at the peak", lambda m: m.peak_bytes),
    ),
)

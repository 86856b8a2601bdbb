"""One run that could be trained, with what deciding on it needs: its trunk, its steps, and what a step takes."""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

from scalemark.model.accounting import account
from scalemark.schema import Accounting, TrainingConfig
from scalemark.train.jobs import TRAIN_WINDOWS, VALIDATION_WINDOWS

# Per run: what is neither a step nor validation.
OVERHEAD_S = 0.2
# A forward pass takes about a third of a step.
STEPS_PER_EXAMINED_BATCH = 1 / 3
# What a user's own task is taken to need in all.
TASK_S = 1.0

StepSeconds = Callable[[Accounting], float]


@dataclass(frozen=True, eq=False)
class Candidate:
    """A configuration and its costs, worked out once. trunk: runs with the same one share their steps.

    n_steps, decay_from: in steps, and 0 for a user's task; step_s: seconds of one; params: without embeddings;
    fixed_s: seconds that are no training steps. is_plain: whether the loss law is fitted to it.
    """

    config: TrainingConfig
    trunk: str
    n_steps: int
    decay_from: int
    step_s: float
    fixed_s: float
    params: int
    is_plain: bool

    @classmethod
    def of(cls, config: TrainingConfig, step_s: StepSeconds) -> "Candidate":
        """step_s: seconds of a step of a language model of this accounting."""
        if config.model is None or config.batch is None:
            return cls(config, config.key, 0, 0, 0.0, TASK_S, 0, is_plain=False)
        accounting = account(config.model, config.batch, config.seq_len, config.dtype, config.optimizer)
        one_s = step_s(accounting)
        examined = STEPS_PER_EXAMINED_BATCH * (VALIDATION_WINDOWS + TRAIN_WINDOWS) / config.batch
        return cls(
            config=config,
            trunk=config.trunk,
            n_steps=config.n_steps,
            decay_from=config.decay_from,
            step_s=one_s,
            fixed_s=OVERHEAD_S + examined * one_s,
            params=accounting.params_non_embedding,
            is_plain=config.unique_tokens is None,
        )

    @property
    def compute(self) -> float:
        """N·D: a sixth of the FLOPs that its training takes (Kaplan et al. 2020)."""
        return float(self.params * self.config.tokens)

    def added_s(self, trunk_at: int) -> float:
        """Seconds of this run where its trunk has already been trained up to a step."""
        return (self.n_steps - trunk_at) * self.step_s + self.fixed_s


def by_trunk(candidates: Iterable[Candidate]) -> list[list[Candidate]]:
    """The runs of each trunk, fewest tokens first."""
    found: dict[str, list[Candidate]] = defaultdict(list)
    for candidate in candidates:
        found[candidate.trunk].append(candidate)
    return [sorted(branches, key=lambda branch: branch.n_steps) for branches in found.values()]


def costs_s(branches: Iterable[Candidate], known: Collection[Candidate] = ()) -> list[float]:
    """What each run of one trunk, fewest tokens first, adds to those before it.

    known: runs that are there, cost nothing, and have left their trunk's state at the step where they branched off.
    """
    costs, trunk_at = [], 0
    for branch in branches:
        costs.append(0.0 if branch in known else branch.added_s(trunk_at))
        trunk_at = branch.decay_from
    return costs


def makespan_s(costs_s: Sequence[float], slots: int) -> float:
    """Seconds until the last is done where each slot takes the longest that is left (Graham 1969)."""
    ends = [0.0] * slots
    for cost_s in sorted(costs_s, reverse=True):
        first = ends.index(min(ends))
        ends[first] += cost_s
    return max(ends)

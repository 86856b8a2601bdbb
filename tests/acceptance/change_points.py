"""How often a history is marked where nothing changed, and how often a change is found where it is.

    python tests/acceptance/change_points.py [--histories 200]

Histories of 100 suites with 20 steps, whose luck is half their own and half that of each step; the change is a tenth,
anywhere but in the first and last ten suites. Rewrites the table in docs/scaling_data.md.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from scipy.stats import binomtest

from scalemark.fit.changes import find_changes
from scalemark.fit.solver import Array

DOCUMENT = Path(__file__).parents[2] / "docs" / "scaling_data.md"
BEGIN, END = "<!-- simulated: begin -->", "<!-- simulated: end -->"
SUITES, STEPS, NOISE, CHANGE, NEAR = 100, 20, 0.03, np.log(1.1), 2
# Each with a standard deviation of 1.
NOISES = {
    "normal": lambda rng, shape: rng.standard_normal(shape),
    "heavy tails (Student's t, 3 degrees of freedom)": lambda rng, shape: rng.standard_t(3, shape) / np.sqrt(3),
    "one-sided (exponential)": lambda rng, shape: rng.exponential(1.0, shape) - 1,
}


def history(rng: np.random.Generator, noise: str) -> Array:
    shared, own = NOISES[noise](rng, (1, SUITES)), NOISES[noise](rng, (STEPS, SUITES))
    return np.asarray(NOISE * (np.sqrt(0.5) * shared + np.sqrt(0.5) * own))


def is_marked(rng: np.random.Generator, noise: str, seed: int) -> bool:
    return bool(find_changes(history(rng, noise), seed=seed))


def is_found(rng: np.random.Generator, noise: str, seed: int) -> bool:
    series, at = history(rng, noise), int(rng.integers(10, SUITES - 10))
    series[:, at:] += CHANGE
    return any(abs(change.index - at) <= NEAR for change in find_changes(series, seed=seed))


def lines(histories: int) -> Iterator[str]:
    yield f"| noise | marked without a change | a change of a tenth found within ± {NEAR} suites |"
    yield "| --- | ---: | ---: |"
    for noise in NOISES:
        rng = np.random.default_rng(0)
        cells = [
            _share(sum(event(rng, noise, seed) for seed in range(histories)), histories)
            for event in (is_marked, is_found)
        ]
        yield f"| {noise} | {cells[0]} | {cells[1]} |"


def _share(count: int, n: int) -> str:
    interval = binomtest(count, n).proportion_ci(0.9, "wilson")
    return f"{count / n:.1%} ({interval.low:.1%} to {interval.high:.1%})"


def write(table: list[str]) -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    DOCUMENT.write_text(before + "\n".join([BEGIN, "", *table, "", END]) + after, encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--histories", type=int, default=200)
    found = list(lines(parser.parse_args().histories))
    print("\n".join(found))
    write(found)

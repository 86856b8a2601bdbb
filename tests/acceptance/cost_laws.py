"""What the cost laws miss, on published step times and on suites of this machine.

    python tests/acceptance/cost_laws.py                                 the published tables
    python tests/acceptance/cost_laws.py results/runs/*/suite.json       and these suites, read and not measured

The tables lie in ../shared/data, or in the folder that SCALEMARK_REFERENCE_DATA names. Markdown on standard output.
"""

import argparse
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from scalemark.analysis import ceilings_as_limits, law_cells
from scalemark.errors import FitError
from scalemark.fit.cost.table import fit_cost_table
from scalemark.fit.cost_law import fit_energy_law, fit_memory_law, fit_time_law
from scalemark.record.store import load_suite
from scalemark.schema import Holdout, Law, Suite

REFERENCE_ROOT = Path(os.environ.get("SCALEMARK_REFERENCE_DATA", Path(__file__).parents[3] / "shared" / "data"))
GEMSTONES_BATCH, GEMSTONES_SEQ_LEN, GEMSTONES_FITTED_BELOW = 2048, 2048, 0.9e9


def gemstones() -> pd.DataFrame:
    table = pd.read_csv(REFERENCE_ROOT / "gemstones_hot.csv")
    table = table.rename(columns={"nodes": "devices", "seconds_per_step": "seconds"})
    return table.assign(batch=GEMSTONES_BATCH, seq_len=GEMSTONES_SEQ_LEN)


def foundry() -> pd.DataFrame:
    table = pd.read_csv(REFERENCE_ROOT / "llm_foundry_a100_80gb.csv")
    table = table[(table.gpus == 8) & ~table.activation_checkpointing]
    tokens_per_s = table.tokens_per_s_per_gpu * table.gpus
    return table.assign(tokens_per_s=tokens_per_s, batch=table.global_batch, devices=table.gpus)


def table_lines() -> Iterator[str]:
    """The two published tables, where they are."""
    if not (REFERENCE_ROOT / "gemstones_hot.csv").exists():
        yield "- no published tables: name their folder with SCALEMARK_REFERENCE_DATA"
        return
    hidden = fit_cost_table(gemstones(), holdout_above_params=GEMSTONES_FITTED_BELOW).holdout
    left_out = fit_cost_table(foundry(), target="tokens_per_s").left_out_error
    assert hidden and left_out
    others = ", ".join(f"{name} {error:.1%}" for name, error in hidden.rivals.items())
    yield (
        f"- gemstones_hot.csv, fitted below 0.9 B, {len(hidden.rows)} shapes from 1 B on: {hidden.mape:.1%} mean"
        f" absolute, {hidden.coverage:.0%} inside their intervals ({others})"
    )
    yield f"- llm_foundry_a100_80gb.csv, one size left out at a time: {left_out:.1%} in the median"


def suite_lines(suite: Suite) -> Iterator[str]:
    """The hidden rungs of one suite, for each of its laws."""
    yield f"- {suite.machine.summary}, {suite.id}"
    for law in _laws(suite):
        yield f"    - {law.kind}, {law.n} cells{_missed(law.holdout)}"


def _laws(suite: Suite) -> Iterator[Law]:
    cells, seed, limits = law_cells(suite), suite.settings.seed, ceilings_as_limits(suite)
    for fit in (
        lambda: fit_time_law(cells, seed, limits),
        lambda: fit_memory_law(cells, seed),
        lambda: fit_energy_law(cells, seed, limits),
    ):
        try:
            yield fit()
        except FitError:
            continue


def _missed(holdout: Holdout | None) -> str:
    if holdout is None or holdout.reach is None:
        return ", nothing hidden"
    errors = ", ".join(f"{error:+.1%}" for error in holdout.errors)
    others = ", ".join(f"{name} {np.mean(np.abs(missed)):.0%}" for name, missed in holdout.rivals.items())
    return f": {errors} at up to {holdout.reach:.1f} × beyond ({others})"


def main(paths: Sequence[Path]) -> None:
    lines = [*table_lines(), *(line for path in paths for line in suite_lines(load_suite(path)))]
    print("\n".join(lines))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("suites", nargs="*", type=Path)
    main(parser.parse_args().suites)

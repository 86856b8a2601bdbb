"""How exact, how fast and how honest the fit of a loss law is, on published measurements.

    python tests/acceptance/fitting.py exact speed coverage --data ../shared/data --markdown docs/fitting.md

    exact      the known minimum of Hoffmann et al.'s 240 rows, and what each form makes of them
    speed      global search and 4,000 refits, beside the published way of doing it, timed in the same run; growth with
               rows and refits
    coverage   data made from the fitted law, 500 times, at the noise of the real rows: how often 90 % intervals hold

The published way is the one of Besiroglu et al. 2024: L-BFGS-B with derivatives by differences from a grid of 4,500
starts, then BFGS for each of 4,000 refits. A sample of both is timed, every hundredth, and the time scaled up.
"""

import argparse
import re
import time
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.optimize import minimize
from scipy.special import huber as scipy_huber
from scipy.special import logsumexp

from scalemark.fit.forms import CHINCHILLA, FORMS
from scalemark.fit.loss_fit import corrected_akaike, fit_form
from scalemark.fit.loss_holdout import predict_hidden
from scalemark.fit.rows import Rows
from scalemark.fit.solver import HUBER_DELTA
from scalemark.record.store import write_whole

DROPPED, REPLICATES = 5, 4000
KNOWN_MINIMUM = 1.018274026e-3
SAMPLE = 100
SIMULATIONS, SIMULATED_REPLICATES = 500, 400
PREDICTED = ((1e10, 2e11), (7e10, 1.4e12))


def published_rows(data: Path) -> Rows:
    table = pd.read_csv(data / "chinchilla_svg.csv")
    return Rows.independent(*(table[name].to_numpy() for name in ("params", "tokens", "loss"))).without_highest(DROPPED)


# --- exact ------------------------------------------------------------------------------------------------------------


def show_exact(rows: Rows) -> Iterator[str]:
    yield "| form | objective | parameters | exponent a | AICc | hidden quarter: mean error | starts at the minimum |"
    yield "|---|---:|---|---|---:|---:|---:|"
    for form in FORMS.values():
        fit = fit_form(form, rows, replicates=1000)
        values = ", ".join(f"{name} {value:.5g}" for name, value in zip(form.parameters, fit.values, strict=True))
        a = form.allocation(fit.draws)
        low, high = np.quantile(a, [0.05, 0.95])
        allocation = (
            f"{float(form.allocation(fit.values)):.3f} ({low:.3f} to {high:.3f})" if np.isfinite(a).all() else "–"
        )
        hidden = predict_hidden(rows, form=form)
        yield (
            f"| {form.name} | {fit.objective:.6e} | {values} | {allocation} | {corrected_akaike(fit, rows):.1f} "
            f"| {hidden.mean_error:.2%} | {fit.reached:.0%} |"
        )
    objective = fit_form(CHINCHILLA, rows, replicates=1).objective
    yield ""
    yield f"Known minimum of chinchilla: {KNOWN_MINIMUM:.9e}; reached: {objective:.9e}."


# --- speed ------------------------------------------------------------------------------------------------------------


def show_speed(rows: Rows) -> Iterator[str]:
    ours = seconds_of(lambda: fit_form(CHINCHILLA, rows, replicates=REPLICATES))
    theirs = SAMPLE * (seconds_of(lambda: search_as_published(rows)) + seconds_of(lambda: refit_as_published(rows)))
    yield f"- Global search and {REPLICATES:,} refits of {len(rows)} rows: **{ours:.2f} s**."
    yield f"- The published way, scaled from every {SAMPLE}th of both: {theirs:.0f} s, **{theirs / ours:.0f} ×**."
    yield ""
    yield "| rows | refits | seconds | µs per row and refit |"
    yield "|---:|---:|---:|---:|"
    for factor, replicates in ((1, 1000), (1, 4000), (10, 400), (100, 40), (10, 4000)):
        many = Rows.independent(*(np.tile(column, factor) for column in (rows.params, rows.tokens, rows.loss)))
        seconds = seconds_of(lambda many=many, replicates=replicates: fit_form(CHINCHILLA, many, replicates=replicates))
        search = seconds_of(lambda many=many: fit_form(CHINCHILLA, many, replicates=1))
        each = (seconds - search) / len(many) / replicates * 1e6
        yield f"| {len(many):,} | {replicates:,} | {seconds:.2f} (search {search:.2f}) | {each:.2f} |"


def seconds_of(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def published_objective(x: np.ndarray, log_n: np.ndarray, log_d: np.ndarray, log_loss: np.ndarray) -> float:
    a, b, e, alpha, beta = x
    terms = np.stack([a - alpha * log_n, b - beta * log_d, np.full_like(log_n, e)])
    return float(scipy_huber(HUBER_DELTA, logsumexp(terms, axis=0) - log_loss).sum())


def search_as_published(rows: Rows) -> None:
    columns = np.log(rows.params), np.log(rows.tokens), np.log(rows.loss)
    grid = product(
        np.arange(0, 30, 5),
        np.arange(0, 30, 5),
        np.arange(-1, 1.5, 0.5),
        np.arange(0, 2.5, 0.5),
        np.arange(0, 2.5, 0.5),
    )
    for start in list(grid)[::SAMPLE]:
        minimize(published_objective, np.array(start, dtype=float), args=columns, method="L-BFGS-B")


def refit_as_published(rows: Rows) -> None:
    rng = np.random.default_rng(0)
    best = fit_form(CHINCHILLA, rows, replicates=1).values
    start = np.array([np.log(best[1]), np.log(best[2]), np.log(best[0]), best[3], best[4]])
    for _ in range(REPLICATES // SAMPLE):
        drawn = rows.only(rng.integers(len(rows), size=len(rows)))
        columns = np.log(drawn.params), np.log(drawn.tokens), np.log(drawn.loss)
        minimize(published_objective, start, args=columns, method="BFGS")


# --- coverage ---------------------------------------------------------------------------------------------------------


def show_coverage(rows: Rows) -> Iterator[str]:
    fit = fit_form(CHINCHILLA, rows, replicates=1)
    residuals = np.log(rows.loss) - np.log(fit.predict(rows.params, rows.tokens))
    held = np.array([holds(fit.values, rows, residuals - np.median(residuals), seed) for seed in range(SIMULATIONS)])
    names = [*CHINCHILLA.parameters, "a", *(f"loss of {n / 1e9:.0f} B after {d / 1e12:.1f} T" for n, d in PREDICTED)]
    yield f"{SIMULATIONS} data sets of the real design and residuals, {SIMULATED_REPLICATES} refits each:"
    yield ""
    yield "| " + " | ".join(names) + " |"
    yield "|" + "---:|" * len(names)
    yield "| " + " | ".join(f"{share:.1%}" for share in held.mean(axis=0)) + " |"


def holds(truth: np.ndarray, rows: Rows, residuals: np.ndarray, seed: int) -> np.ndarray:
    """Which 90 % intervals hold the truth, for one data set made from it."""
    rng = np.random.default_rng(seed)
    loss = CHINCHILLA.predict(truth, rows.params, rows.tokens) * np.exp(rng.choice(residuals, len(rows)))
    made = Rows.independent(rows.params, rows.tokens, loss)
    fit = fit_form(CHINCHILLA, made, seed, SIMULATED_REPLICATES)
    n, d = np.array(PREDICTED).T
    drawn = np.column_stack([fit.draws, CHINCHILLA.allocation(fit.draws), fit.predict_draws(n, d)])
    true = np.array([*truth, float(CHINCHILLA.allocation(truth)), *CHINCHILLA.predict(truth, n, d)])
    low, high = np.quantile(drawn, [0.05, 0.95], axis=0)
    return np.asarray((low <= true) & (true <= high))


# --- the document -----------------------------------------------------------------------------------------------------

PARTS: dict[str, Callable[[Rows], Iterator[str]]] = {
    "exact": show_exact,
    "speed": show_speed,
    "coverage": show_coverage,
}


def renew(document: str, part: str, lines: list[str]) -> str:
    """The document with what stands between a part's markers replaced; raises SystemExit where they are not there."""
    begin, end = f"<!-- {part}: begin -->", f"<!-- {part}: end -->"
    pattern = re.compile(re.escape(begin) + r".*?" + re.escape(end), re.DOTALL)
    if not pattern.search(document):
        raise SystemExit(f"the document has no markers {begin} and {end}")
    text = "\n".join([begin, "", *lines, "", end])
    return pattern.sub(lambda _: text, document)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="+", choices=list(PARTS))
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder of the published tables")
    parser.add_argument("--markdown", type=Path, help="file to renew between its markers")
    options = parser.parse_args()
    rows = published_rows(options.data)
    for part in options.parts:
        lines = list(PARTS[part](rows))
        print("\n".join([f"## {part}", "", *lines, ""]))
        if options.markdown:
            document = options.markdown.read_text(encoding="utf-8")
            write_whole(renew(document, part, lines), options.markdown)


if __name__ == "__main__":
    main()

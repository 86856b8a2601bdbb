"""A law from a file, a suite or a table is the same law, and says what it knows of itself."""

import json
from pathlib import Path

import factories
import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from scalemark.cli import app
from scalemark.errors import FitError, InputError
from scalemark.fit.forms import CHINCHILLA
from scalemark.fitting import fit_cost, fit_loss

TRUTH = np.array([0.9, 60.0, 400.0, 0.45, 0.42])
REPEATED_TRUTH = 15.0


def table(noise: float = 0.002, seed: int = 0) -> pd.DataFrame:
    params, tokens = (c.ravel() for c in np.meshgrid(np.geomspace(1e4, 1e7, 6), np.geomspace(1e6, 1e9, 6)))
    scatter = np.exp(noise * np.random.default_rng(seed).standard_normal(len(params)))
    return pd.DataFrame(
        {"params": params, "tokens": tokens, "loss": CHINCHILLA.predict(TRUTH, params, tokens) * scatter}
    )


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tables") / "runs.csv"
    table().rename(columns={"params": "N", "tokens": "D", "loss": "L"}).to_csv(path, index=False)
    return path


NAMES = {"params": "N", "tokens": "D", "loss": "L"}


def test_a_file_and_a_table_in_memory_give_the_same_law(file: Path) -> None:
    from_file = fit_loss(file, form="chinchilla", columns=NAMES, bootstrap=100).result
    from_table = fit_loss(table(), form="chinchilla", bootstrap=100).result
    assert from_file.data_sha256 and from_table.data_sha256 is None
    assert from_file.params["alpha"].value == pytest.approx(from_table.params["alpha"].value, rel=1e-9)


def test_the_result_holds_the_truth_and_says_how_it_knows() -> None:
    found = fit_loss(table(seed=1), form="chinchilla", bootstrap=400).result
    truth = dict(zip(CHINCHILLA.parameters, TRUTH, strict=True))
    held = [found.params[name].low <= truth[name] <= found.params[name].high for name in truth]
    assert sum(held) >= 4
    assert (found.status, found.n, found.bootstrap.replicates, found.bootstrap.unconverged) == ("converged", 36, 400, 0)
    assert all(found.identified.values())
    assert found.allocation is not None and found.allocation.low < 0.42 / 0.87 < found.allocation.high


def test_the_largest_rows_are_hidden_and_predicted() -> None:
    found = fit_loss(table(), bootstrap=100).result.holdout
    assert found is not None and (found.n, found.n_kept) == (9, 27)
    rows = table()
    for hidden in found.rows:
        assert hidden.measured == rows["loss"][hidden.row - 1]
    assert found.mape == pytest.approx(np.mean([abs(h.predicted / h.measured - 1) for h in found.rows]))
    assert found.mape < 0.01


def test_rows_above_a_compute_are_hidden_on_request() -> None:
    limit = 6e14
    found = fit_loss(table(), bootstrap=100, holdout_above_flops=limit).result.holdout
    rows = table()
    assert found is not None and found.n == int((6 * rows["params"] * rows["tokens"] > limit).sum())
    with pytest.raises(FitError, match="leave 0"):
        fit_loss(table(), bootstrap=100, holdout_above_flops=1.0)


def test_the_highest_losses_are_dropped_and_counted() -> None:
    spoilt = table()
    spoilt.loc[3, "loss"] = 50.0
    found = fit_loss(spoilt, form="chinchilla", drop_highest=1, bootstrap=100).result
    assert (found.n, found.dropped) == (35, 1)
    assert found.params["E"].value == pytest.approx(0.9, rel=0.05)


def test_predictions_are_arrays_with_intervals_and_their_distance() -> None:
    law = fit_loss(table(), form="chinchilla", bootstrap=200)
    found = law.predict([1e6, 1e8], 1e8)
    assert found["value"].tolist() == pytest.approx(CHINCHILLA.predict(TRUTH, np.array([1e6, 1e8]), 1e8), rel=0.02)
    assert (found["low"] < found["value"]).all() and (found["value"] < found["high"]).all()
    assert found["beyond"].tolist() == pytest.approx([1.0, 10.0])
    with pytest.raises(InputError, match="1e\\+03 times beyond"):
        law.predict(1e10, 1e8)
    assert law.predict(1e10, 1e8, force=True)["value"][0] > 0


def test_repeated_text_needs_to_know_how_much_of_it_was_different() -> None:
    with pytest.raises(InputError, match="unique_tokens"):
        fit_loss(table(), form="repeated", bootstrap=100)


def test_repeated_text_is_fitted_from_a_table() -> None:
    from scalemark.fit.repeated import predict_repeated_loss

    base = table(noise=0.0).assign(unique_tokens=lambda t: t["tokens"])
    repeats = base[base["tokens"] > 1e7].assign(unique_tokens=lambda t: t["tokens"] / 20)
    values = np.concatenate([TRUTH, [REPEATED_TRUTH, 8.0]])
    repeats["loss"] = predict_repeated_loss(
        values, *(repeats[c].to_numpy() for c in ("params", "tokens", "unique_tokens"))
    )
    law = fit_loss(pd.concat([base, repeats]), form="repeated", bootstrap=100)
    assert law.result.params["R_D*"].value == pytest.approx(REPEATED_TRUTH, rel=0.01)
    new, seen = (law.predict(1e6, 1e9, unique_tokens=u)["value"][0] for u in (1e9, 2e7))
    assert seen > new * 1.005


# Costs


def steps(noise: float = 0.02) -> pd.DataFrame:
    """Four milliseconds, half a millisecond a layer, and 200 GFLOP/s."""
    rows = [
        (w, d, s, b)
        for w, d in ((64, 2), (128, 3), (256, 4), (384, 6), (512, 8), (768, 10), (1024, 12))
        for s, b in ((256, 4), (512, 8))
    ]
    table = pd.DataFrame(rows, columns=["width", "depth", "seq_len", "batch"]).assign(devices=1)
    table["params"] = 12.0 * table["depth"] * table["width"] ** 2
    exact = 0.004 + 5e-4 * table["depth"] + 6 * table["params"] * table["batch"] * table["seq_len"] / 2e11
    return table.assign(seconds=exact * np.exp(noise * np.random.default_rng(0).standard_normal(len(table))))


def test_a_cost_law_tells_the_rate_and_predicts_larger_steps() -> None:
    law = fit_cost(steps(), holdout_above_params=9e7)
    rate = law.result.params["compute_flops_per_s"]
    assert rate.value == pytest.approx(2e11, rel=0.1)
    assert law.result.holdout is not None
    assert (law.result.holdout.n, law.result.holdout.n_kept, law.result.n) == (2, 12, 12)
    assert law.result.holdout.mape < 0.1
    larger = steps(noise=0.0).tail(1).assign(params=12.0 * 24 * 1536**2, width=1536, depth=24)
    exact = 0.004 + 5e-4 * 24 + 6 * 12.0 * 24 * 1536**2 * 4096 / 2e11
    found = law.predict(larger)
    assert found["value"].iloc[0] == pytest.approx(exact, rel=0.15)
    assert found["beyond"].iloc[0] > 1


def test_throughput_is_turned_into_seconds() -> None:
    table = steps()
    rates = table.assign(tokens_per_s=table["batch"] * table["seq_len"] / table["seconds"]).drop(columns="seconds")
    by_rate, by_time = fit_cost(rates, target="tokens_per_s"), fit_cost(table)
    assert by_rate.result.objective.value == pytest.approx(by_time.result.objective.value, rel=1e-9)
    np.testing.assert_allclose(by_rate.measured_s, by_time.measured_s)


def test_a_suite_without_timed_steps_says_how_to_get_them() -> None:
    with pytest.raises(FitError, match="pytest bench/"):
        fit_cost(factories.make_suite().model_copy(update={"cells": ()}))


# The command line


def run(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return result.exit_code, result.stdout, result.stderr


def test_the_command_prints_the_law_and_writes_json_and_chart(file: Path, tmp_path: Path) -> None:
    out, plot = tmp_path / "fit.json", tmp_path / "fit.svg"
    columns = "params=N,tokens=D,loss=L"
    code, printed, _ = run("fit", "loss", file, "--columns", columns, "--bootstrap", 200, "--json", out, "--plot", plot)
    assert code == 0
    assert "E + A/N^alpha" in printed and "holdout   9 rows hidden" in printed
    written = json.loads(out.read_text())
    assert {"form", "params", "objective", "n", "status", "identified", "allocation", "bootstrap", "holdout"} <= set(
        written
    )
    assert set(written["params"]["E"]) >= {"value", "low", "high"} and len(written["data_sha256"]) == 64
    assert plot.read_text().startswith("<svg")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--form", "cubic"], "there is no form 'cubic'"),
        (["--columns", "params=Size,tokens=D,loss=L"], "no column 'Size'"),
        (["--columns", "params"], "write it as params=N"),
        (["--columns", "params=N,tokens=D,loss=L", "--drop-highest", "34"], "there are 2"),
        (["--columns", "params=N,tokens=D,loss=L", "--form", "repeated"], "unique_tokens"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_two(file: Path, arguments: list[str], complaint: str) -> None:
    code, printed, errors = run("fit", "loss", file, *arguments)
    assert (code, printed) == (2, "")
    assert complaint in errors and errors.count("\n") == 1


def test_a_cost_law_is_printed_written_and_drawn(tmp_path: Path) -> None:
    table, out, plot = tmp_path / "steps.csv", tmp_path / "cost.json", tmp_path / "cost.svg"
    steps().rename(columns={"params": "N"}).to_csv(table, index=False)
    code, printed, errors = run("fit", "cost", table, "--columns", "params=N", "--json", out, "--plot", plot)
    assert code == 0, errors
    assert "compute_flops_per_s" in printed and "simpler laws" in printed
    assert json.loads(out.read_text())["holdout"]["rivals"]
    assert plot.read_text().startswith("<svg")


def test_a_cost_table_without_what_was_measured_is_refused(file: Path) -> None:
    code, _, errors = run("fit", "cost", file, "--columns", "params=N")
    assert code == 2 and "no column 'seconds'" in errors
    assert run("fit", "cost", file, "--target", "hours")[0] == 2


def test_a_suite_may_follow_fit_at_once() -> None:
    code, _, errors = run("fit", "nowhere")
    assert code == 2 and "nowhere" in errors

"""Commands that use the machine: look at it, train on it, measure on many of it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from scalemark.cli.app import DEFAULT_RESULTS, ResultsOption, app, choice, terminal_columns
from scalemark.errors import InputError


@app.command()
def doctor(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Say what this machine can measure, and what to change first."""
    from scalemark.doctor import examine, render

    findings = examine()
    typer.echo(findings.model_dump_json(indent=2) if as_json else render(findings))


@app.command()
def train(
    budget: Annotated[
        str, typer.Option("--budget", metavar="TIME", help="Time for the whole run: 4m, 20m, 1h.")
    ] = "4m",
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="The run's folder; one that has begun goes on.")
    ] = None,
    corpus: Annotated[
        str,
        typer.Option(
            "--corpus",
            metavar="TEXT",
            help="kjv, stdlib, synthetic, hf:NAME, or a text, .jsonl or .parquet file or folder.",
        ),
    ] = "kjv",
    tokenizer: Annotated[str, typer.Option("--tokenizer", metavar="NAME", help="bytes, or bpe:SIZE.")] = "bytes",
    grid: Annotated[
        str, typer.Option("--grid", metavar="NAME", help="plain, or repeated: little text, many epochs.")
    ] = "plain",
    device: Annotated[str, typer.Option("--device", metavar="NAME", help="auto, cpu or cuda.")] = "auto",
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Seed of models and of the order of the text.")] = 0,
    jobs: Annotated[int | None, typer.Option("--jobs", min=1, metavar="N", help="Models trained at a time.")] = None,
    threads: Annotated[
        int | None, typer.Option("--threads-per-job", min=1, metavar="N", help="Threads of each (default 1 on a CPU).")
    ] = None,
    executor: Annotated[
        str, typer.Option("--executor", metavar="NAME", help="Who trains: local, ray or slurm (docs/cluster.md).")
    ] = "local",
    ray_address: Annotated[
        str | None,
        typer.Option("--ray-address", metavar="ADDRESS", help="A Ray cluster that runs; else one is started here."),
    ] = None,
    slurm_option: Annotated[
        list[str] | None,
        typer.Option("--slurm-option", metavar="K=V", help="For sbatch, as in partition=short; may be repeated."),
    ] = None,
    results: ResultsOption = DEFAULT_RESULTS,
) -> None:
    """Train a grid of small models within a budget, and fit the loss law to what they reach."""
    from scalemark.session import Request
    from scalemark.train.grid import find_grid
    from scalemark.training import run_training
    from scalemark.units import parse_duration_s

    request = Request(
        workloads=(),
        trainings=find_grid(grid, seed),
        budget_s=parse_duration_s(budget),
        device=choice(device, ("auto", "cpu", "cuda"), "device"),
        seed=seed,
        results_root=results,
        corpus=corpus,
        tokenizer=tokenizer,
        out=out,
        jobs=jobs,
        threads_per_job=threads,
        placement=_placement(executor, ray_address, slurm_option or []),
    )
    typer.echo("\n".join(run_training(request, terminal_columns())))


@app.command()
def measure(
    rungs: Annotated[
        str, typer.Option("--rungs", metavar="NAME,…", help="Rungs to spread over the ranks.")
    ] = "d4w256,d8w512",
    parallelism: Annotated[
        str, typer.Option("--parallelism", metavar="NAME,…", help="ddp, fsdp, or both.")
    ] = "ddp,fsdp",
    batch_per_rank: Annotated[int, typer.Option("--batch-per-rank", min=1, metavar="N", help="Sequences.")] = 2,
    seq_len: Annotated[int, typer.Option("--seq-len", min=1, metavar="T", help="Tokens of a sequence.")] = 256,
    dtype: Annotated[str, typer.Option("--dtype", metavar="NAME", help="float32 or bfloat16.")] = "float32",
    budget: Annotated[str, typer.Option("--budget", metavar="TIME", help="Time for all of it: 90s, 4m.")] = "4m",
    device: Annotated[str, typer.Option("--device", metavar="NAME", help="auto, cpu or cuda.")] = "auto",
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Seed of models, text and order.")] = 0,
    timeout: Annotated[
        str, typer.Option("--timeout", metavar="TIME", help="A rank that others wait for longer is given up.")
    ] = "5m",
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="The run's folder; one that has begun goes on.")
    ] = None,
    results: ResultsOption = DEFAULT_RESULTS,
) -> None:
    """Under torchrun: training steps on all ranks of a cluster (`torchrun … -m scalemark measure`)."""
    from scalemark.launched import LaunchedRequest, check_launched, measure_launched
    from scalemark.model.ladder import find_rung
    from scalemark.units import parse_duration_s

    check_launched()
    request = LaunchedRequest(
        rungs=tuple(find_rung(name.strip()) for name in rungs.split(",")),
        parallelisms=tuple(choice(name.strip(), ("ddp", "fsdp"), "parallelism") for name in parallelism.split(",")),
        rank_batch=batch_per_rank,
        seq_len=seq_len,
        dtype=choice(dtype, ("float32", "bfloat16"), "dtype"),
        budget_s=parse_duration_s(budget),
        device=choice(device, ("auto", "cpu", "cuda"), "device"),
        seed=seed,
        results_root=results,
        out=out,
        timeout_s=parse_duration_s(timeout),
    )
    lines = measure_launched(request, terminal_columns(), lambda words: typer.echo(f"scalemark: {words}", err=True))
    if lines:
        typer.echo("\n".join(lines))


def _placement(executor: str, ray_address: str | None, slurm_options: Sequence[str]) -> Any:
    from scalemark.train.placement import EXECUTORS, Placement

    pairs = [option.partition("=") for option in slurm_options]
    if not all(key for key, _, _ in pairs):
        raise InputError("--slurm-option takes K=V, as in --slurm-option partition=short")
    options = {key: value for key, _, value in pairs}
    return Placement(choice(executor, EXECUTORS, "executor"), ray_address, options)

"""Suites of any size whose truth is known, stamped fake: a grid of training runs, and a history of reruns."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice, product
from pathlib import Path

import numpy as np
from factories import GEMM_CEILING, TRIAD_CEILING, make_cell, make_machine, true_loss

from scalemark.model.accounting import account
from scalemark.model.ladder import DIAGONAL
from scalemark.schema import Ceilings, Cell, LossPoint, ModelConfig, Settings, Suite, TrainingConfig, TrainingRun

NOISE = 0.01
_CURVE_POINTS = 20
_BRANCHES = (1, 2, 4, 8, 16)
_FIRST = datetime(2026, 1, 1, tzinfo=UTC)


def grid_suite(n_runs: int) -> Suite:
    """A suite of so many training runs: a trunk with five branches for each size and seed."""
    rng = np.random.default_rng(0)
    trunks = product(range(n_runs), range(2, 26))  # more seeds than are taken
    runs = (run for seed, width in trunks for run in _trunk(16 * width, seed, rng))
    return Suite(
        scalemark_version="0.1.0",
        id=f"grid-{n_runs}",
        created=_FIRST.isoformat(),
        machine=make_machine(),
        settings=Settings(budget_s=480, device="cpu", seed=0, n_blocks=3, threads=2),
        cells=tuple(make_cell(rung) for rung in DIAGONAL),
        training_runs=tuple(islice(runs, n_runs)),
        fake=True,
    )


def _trunk(width: int, seed: int, rng: np.random.Generator) -> Iterator[TrainingRun]:
    """Runs that differ in their tokens alone, and share half of their luck."""
    model = ModelConfig(n_layer=4, d_model=width, n_head=width // 16)
    accounting = account(model, 4, 128)
    luck = rng.standard_normal()
    for factor in _BRANCHES:
        tokens = 262_144 * factor
        own = rng.standard_normal()
        loss = true_loss(accounting.params_non_embedding, tokens) * float(np.exp(NOISE * (luck + own) / np.sqrt(2)))
        config = TrainingConfig(
            model=model,
            tokens=tokens,
            batch=4,
            seq_len=128,
            learning_rate=0.01,
            warmup_steps=400,
            decay_share=0.2,
            optimizer="adamw",
            seed=seed,
            corpus="made up",
        )
        yield TrainingRun(
            config=config,
            status="ok",
            accounting=accounting,
            curve=_curve(config, loss),
            validation_loss=loss,
            validation_accuracy=0.4,
            validation_items=65_536,
            train_loss=loss - 0.01,
            bits_per_byte=loss / float(np.log(2)),
            epochs=tokens / 4_000_000,
            seconds=tokens / 50_000,
            total_seconds=tokens / 50_000 + 1,
            threads=1,
        )


def _curve(config: TrainingConfig, loss: float) -> tuple[LossPoint, ...]:
    steps = np.unique(np.geomspace(1, config.n_steps, _CURVE_POINTS).astype(int))
    return tuple(LossPoint(int(step), int(step) * 512, loss * (1 + 3 / (1 + float(step) / 20))) for step in steps)


def history_suites(n: int, step_at: int | None = None, step: float = 1.1, noise: float = 0.03) -> Iterator[Suite]:
    """Suites of one machine, one every eight hours; from `step_at` on every step takes `step` times as long.

    noise: standard deviation of a suite's luck, which half of all its steps share.
    """
    rng = np.random.default_rng(0)
    cells = [make_cell(rung) for rung in DIAGONAL]
    for number in range(n):
        shared, own = rng.standard_normal(), rng.standard_normal(len(cells))
        slower = step if step_at is not None and number >= step_at else 1.0
        factors = slower * np.exp(noise * (shared + own) / np.sqrt(2))
        created = _FIRST + timedelta(hours=8 * number)
        yield Suite(
            scalemark_version="0.1.0",
            id=f"{created:%Y%m%d-%H%M%S}-{number % 65536:04x}",
            created=created.isoformat(),
            commit=f"{number:07x}" + "0" * 33,
            machine=make_machine(),
            settings=Settings(budget_s=480, device="cpu", seed=0, n_blocks=3, threads=2),
            ceilings=Ceilings(gemm_flops_per_s={"cpu/float32": GEMM_CEILING}, triad_bytes_per_s={"cpu": TRIAD_CEILING}),
            cells=tuple(_slower(cell, float(factor)) for cell, factor in zip(cells, factors, strict=True)),
            fake=True,
        )


def _slower(cell: Cell, factor: float) -> Cell:
    assert cell.time_s
    blocks = tuple(
        block.model_copy(update={"rounds_s": tuple(second * factor for second in block.rounds_s)})
        for block in cell.blocks
    )
    return cell.model_copy(update={"blocks": blocks, "time_s": cell.time_s.scaled(factor)})


def write_suite(suite: Suite, path: Path) -> Path:
    """Compact JSON, as a collection has it."""
    path.write_bytes(suite.model_dump_json().encode())
    return path

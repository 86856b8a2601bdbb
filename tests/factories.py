"""Small suites with a known truth, for tests that must not measure anything; and models that train in no time."""

from pathlib import Path

import networks
import numpy as np

from scalemark.model.accounting import account
from scalemark.model.ladder import BATCH, DIAGONAL, OFF_DIAGONAL, SEQ_LEN, find_rung
from scalemark.model.memory import predict_memory
from scalemark.schema import (
    Block,
    Ceilings,
    Cell,
    CollectiveTime,
    Energy,
    Estimate,
    LossPoint,
    Machine,
    Memory,
    ModelConfig,
    Phase,
    Scaling,
    ScalingForecast,
    ScalingRow,
    Settings,
    Suite,
    TrainingConfig,
    TrainingRun,
    Workload,
)
from scalemark.stats import median_over_blocks
from scalemark.train.jobs import TokenFiles

TRUE_FLOPS_PER_S = 1e11
TRUE_SECONDS_PER_LAYER = 2e-4
TRUE_LOSS_LAW = {"E": 1.2, "A": 60.0, "B": 400.0, "alpha": 0.45, "beta": 0.45}
GEMM_CEILING = Estimate(value=1.6e11, low=1.55e11, high=1.65e11)
TRIAD_CEILING = Estimate(value=2.0e10, low=1.9e10, high=2.1e10)


def estimate(value: float, half_width: float = 0.02) -> Estimate:
    return Estimate(value=value, low=value * (1 - half_width), high=value * (1 + half_width))


def true_step_s(model: ModelConfig, batch: int = BATCH, seq_len: int = SEQ_LEN, phase: Phase = "step") -> float:
    flops = account(model, batch, seq_len).flops.model_flops(phase)
    return flops / TRUE_FLOPS_PER_S + TRUE_SECONDS_PER_LAYER * model.n_layer


def make_cell(
    model: ModelConfig,
    phase: Phase = "step",
    batch: int = BATCH,
    seq_len: int = SEQ_LEN,
    slowdown: float = 1.0,
    noise: float = 0.01,
    seed: int = 0,
) -> Cell:
    """A measured cell whose true time is `slowdown` × `true_step_s`."""
    rng = np.random.default_rng([seed, model.n_layer, model.d_model, batch, seq_len])
    workload = Workload(phase=phase, model=model, batch=batch, seq_len=seq_len, optimizer="adamw")
    accounting = account(model, batch, seq_len)
    seconds = slowdown * true_step_s(model, batch, seq_len, phase)
    blocks = tuple(
        Block(index=index, warmup_s=(seconds * 2,), rounds_s=tuple(seconds * np.exp(noise * row)), setup_s=0.1)
        for index, row in enumerate(rng.standard_normal((3, 8)))
    )
    time_s = median_over_blocks([block.rounds_s for block in blocks])
    flops_per_s = time_s.inverted(accounting.flops.model_flops(phase))
    predicted = predict_memory(workload)
    assert predicted is not None
    return Cell(
        workload=workload,
        status="ok",
        accounting=accounting,
        blocks=blocks,
        time_s=time_s,
        items_per_s=time_s.inverted(accounting.items),
        flops_per_s=flops_per_s,
        mfu=flops_per_s.scaled(1 / GEMM_CEILING.value),
        predicted_memory=predicted,
        memory=Memory(allocated_bytes=predicted.peak_bytes, method="made up"),
        energy=Energy(status="unavailable", reason="no energy counter on this machine"),
    )


def true_loss(params: float, tokens: float) -> float:
    law = TRUE_LOSS_LAW
    return law["E"] + law["A"] / params ** law["alpha"] + law["B"] / tokens ** law["beta"]


def make_training_run(model: ModelConfig, tokens: int, noise: float = 0.003, seed: int = 0) -> TrainingRun:
    rng = np.random.default_rng([seed, model.d_model, tokens])
    accounting = account(model, 8, 128)
    loss = true_loss(accounting.params_non_embedding, tokens) * float(np.exp(noise * rng.standard_normal()))
    config = TrainingConfig(
        model=model,
        tokens=tokens,
        batch=8,
        seq_len=128,
        learning_rate=0.01,
        warmup_steps=100,
        decay_share=0.2,
        optimizer="adamw",
        corpus="kjv",
    )
    steps = np.linspace(1, config.n_steps, 20).astype(int)
    curve = tuple(
        LossPoint(step=int(step), tokens=int(step) * 1024, train_loss=loss * (1 + 3 / (1 + step / 20)))
        for step in steps
    )
    return TrainingRun(
        config=config,
        status="ok",
        accounting=accounting,
        curve=curve,
        validation_loss=loss,
        validation_accuracy=0.4,
        validation_items=100_000,
        train_loss=loss - 0.01,
        bits_per_byte=loss / np.log(2),
        epochs=tokens / 4_000_000,
        seconds=tokens / 50_000,
        total_seconds=tokens / 50_000 + 1,
        threads=1,
    )


def tiny_config(n_steps: int, **changes: object) -> TrainingConfig:
    """A model of width 16 that trains on 512 tokens a step; `changes` as in `TrainingConfig`."""
    config = TrainingConfig(
        model=ModelConfig(n_layer=2, d_model=16, n_head=1),
        tokens=n_steps * 512,
        batch=8,
        seq_len=64,
        learning_rate=0.016,
        warmup_steps=4,
        decay_share=0.25,
        optimizer="adamw",
        corpus="made up",
    )
    return TrainingConfig.model_validate({**config.model_dump(), **changes})


def make_token_files(folder: Path, n_train: int = 65_536, n_validation: int = 8192) -> TokenFiles:
    """Bytes with something to learn in them: forty made-up words in a random order."""
    rng = np.random.default_rng(0)
    words = [bytes(rng.integers(97, 123, length)) + b" " for length in rng.integers(2, 9, 40)]
    for name, n_tokens in (("train.bin", n_train), ("validation.bin", n_validation)):
        text = b"".join(words[index] for index in rng.integers(0, len(words), n_tokens))
        (folder / name).write_bytes(text[:n_tokens])
    return TokenFiles(train_path=str(folder / "train.bin"), validation_path=str(folder / "validation.bin"))


TRAINED_SHAPES = tuple(ModelConfig(n_layer=2, d_model=width, n_head=width // 16) for width in (16, 32, 64, 96))


def make_machine(id: str = "machine-under-test") -> Machine:
    identity = {"cpu": "Test CPU", "cores": 2, "memory_bytes": 16 * 2**30, "torch": "2.13.0"}
    return Machine(id=id, identity=identity)


def make_suite(id: str = "20260101-000000-test", slowdown: float = 1.0, seed: int = 0, machine_id: str = "") -> Suite:
    """A whole suite: steps on every rung and in two more batch shapes, two other phases, a training grid."""
    cells = [make_cell(rung, slowdown=slowdown, seed=seed) for rung in (*DIAGONAL, *OFF_DIAGONAL)]
    cells += [make_cell(DIAGONAL[3], batch=8, seq_len=256, slowdown=slowdown, seed=seed)]
    cells += [make_cell(DIAGONAL[3], batch=1, seq_len=1024, slowdown=slowdown, seed=seed)]
    cells += [
        make_cell(rung, phase, slowdown=slowdown, seed=seed) for rung in DIAGONAL for phase in ("forward", "backward")
    ]
    runs = [
        make_training_run(model, tokens, seed=seed)
        for model in TRAINED_SHAPES
        for tokens in (250_000, 500_000, 1_000_000, 2_000_000)
    ]
    return Suite(
        scalemark_version="0.1.0",
        id=id,
        created="2026-01-01T00:00:00Z",
        machine=make_machine(machine_id or "machine-under-test"),
        settings=Settings(budget_s=480, device="cpu", seed=0, n_blocks=3, threads=2),
        ceilings=Ceilings(gemm_flops_per_s={"cpu/float32": GEMM_CEILING}, triad_bytes_per_s={"cpu": TRIAD_CEILING}),
        cells=tuple(cells),
        training_runs=tuple(runs),
        duration_s=470,
    )


def make_collectives() -> tuple[CollectiveTime, ...]:
    """Three operations among two ranks, on three sizes of messages."""
    network = networks.Network(networks.Link(1e-5, 1e9), networks.Link(1e-4, 1e8), noise=0.02)
    return tuple(networks.measured(network, [2], [2**12, 2**16, 2**20]))


def make_scaling() -> Scaling:
    """A step on two ranks, how it was foretold where it was hidden, and the step on four."""
    model = find_rung("d4w256")
    fields = {"phase": "step", "model": model, "seq_len": 256, "optimizer": "adamw", "parallelism": "ddp"}
    two, four = (Workload.model_validate({**fields, "batch": 2 * size, "world_size": size}) for size in (2, 4))
    row = ScalingRow(
        workload=two,
        step_s=estimate(0.25),
        compute_s=estimate(0.22),
        exposed_s=Estimate(value=0.03, low=-0.01, high=0.07),
        skew=estimate(0.04),
        weak=estimate(0.8),
        state_bytes=2**20,
        replicated_state_bytes=2**21,
    )
    hidden = ScalingForecast(workload=two, step_s=estimate(0.26), measured_s=estimate(0.25))
    following = ScalingForecast(workload=four, step_s=estimate(0.27), weak=estimate(0.74))
    return Scaling(rows=(row,), forecasts=(hidden, following), notes=("measured on one node",))

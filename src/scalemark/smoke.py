"""Run a workload or a training configuration once in this process, unmeasured: does it work at all?"""

from pathlib import Path
from typing import Literal

import torch

from scalemark.errors import InputError
from scalemark.measure.device import require, synchronise
from scalemark.measure.phases import build_task, make_round
from scalemark.model.accounting import forward_flops
from scalemark.model.options import why_unsupported
from scalemark.schema import TrainingConfig, Workload
from scalemark.train.checkpoint import Checkpoints
from scalemark.train.corpus import open_corpus, open_tokens
from scalemark.train.jobs import TokenFiles
from scalemark.train.trunk import train_trunk
from scalemark.train.user_task import train_task

SMOKE_STEPS, SMOKE_WINDOWS = 2, 64
# Some seconds on two cores: a smoke test that takes longer is not run.
CPU_FLOPS_LIMIT = 4e11
# Whether an option works at all shows on a small model; compiling a large one takes long.
OPTION_FLOPS_LIMIT = 2e9


def run_once(
    thing: Workload | TrainingConfig, device: Literal["auto", "cpu", "cuda"], results_root: Path, seed: int
) -> None:
    """One round of the workload, or two steps of the training and a look at its validation loss.

    Raises DeviceError where the device is not there, and whatever the model raises.
    """
    chosen = _chosen(device)
    require(chosen)
    corpus = open_corpus("kjv", results_root / "corpora")
    if isinstance(thing, Workload):
        _run_round(thing.model_copy(update={"device": chosen}), corpus.train_path, seed)
        return
    tokens = SMOKE_STEPS * thing.batch * thing.seq_len if thing.batch else 1
    _train(thing.model_copy(update={"device": chosen, "tokens": tokens}), TokenFiles.of(corpus))


def why_not(thing: Workload | TrainingConfig, device: Literal["auto", "cpu", "cuda"]) -> str | None:
    """Why it is not even run once: no device of this kind can, or it would take long without a GPU."""
    if not isinstance(thing, Workload) or thing.model is None:
        return None
    if reason := why_unsupported(thing.model_copy(update={"device": _chosen(device)})):
        return reason
    flops = forward_flops(thing.model, thing.batch or 1, thing.seq_len or 1)
    limit = OPTION_FLOPS_LIMIT if thing.options else CPU_FLOPS_LIMIT
    too_large = flops.model_flops("step") > limit and not torch.cuda.is_available()
    return "too large for a smoke test without a GPU" if too_large else None


def _chosen(device: Literal["auto", "cpu", "cuda"]) -> Literal["cpu", "cuda"]:
    return "cuda" if device != "cpu" and (device == "cuda" or torch.cuda.is_available()) else "cpu"


def _train(config: TrainingConfig, files: TokenFiles) -> None:
    """Raises whatever the model raises, or an InputError where its loss comes apart at once."""
    runs = (
        [train_task(config, _silent)]
        if config.task
        else train_trunk([config], files, _silent, Checkpoints(None), validation_windows=SMOKE_WINDOWS)
    )
    for run in runs:
        if run.status != "ok":
            raise InputError(run.reason or run.status)


def _silent(*_: object) -> None:
    pass


def _run_round(workload: Workload, token_path: Path, seed: int) -> None:
    one = make_round(build_task(workload, open_tokens(token_path), seed), workload)
    one.prepare()
    one.timed()
    synchronise(workload.device)

"""What the other types are made of: names, a frozen value, an estimate with its interval."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

SCHEMA_VERSION = 5
INTERVAL_LEVEL = 0.9
Phase = Literal["forward", "backward", "optimizer", "step", "eval"]
Dtype = Literal["float32", "bfloat16"]
Optimizer = Literal["adamw", "sgd"]
OptimizerKernels = Literal["foreach", "for_loop"]
AttentionBackend = Literal["math", "flash", "efficient"]
Parallelism = Literal["none", "ddp", "fsdp"]
Collective = Literal["all_reduce", "all_gather", "reduce_scatter"]
Backend = Literal["gloo", "nccl"]
CellStatus = Literal["ok", "oom", "predicted_oom", "timeout", "skipped", "failed"]
RunStatus = Literal["ok", "diverged", "skipped", "failed"]
VerdictName = Literal["regressed", "improved", "same", "inconclusive", "missing", "new", "incomparable"]
LawKind = Literal["step_time", "memory", "energy", "loss", "repeated_loss", "communication"]
Purpose = Literal["scout", "time", "memory", "loss", "energy"]
Goal = Literal["hours", "usd", "kwh", "loss"]
Kernel = Literal["gemm", "triad"]
Reference = Literal["gemm", "exchange", "triad"]
Mark = Literal["not_steady", "wide"]
RemoteExecutor = Literal["ray", "slurm"]
ExecutorName = Literal["local"] | RemoteExecutor
Tag = Literal["stolen", "preempted", "pressured", "throttled"]
Facts = dict[str, str | int | float | None]


class Frozen(BaseModel):
    """A value: equal by content, hashable, no field unknown, no NaN."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Estimate(Frozen):
    """A value with its interval, in the unit that the field's name says."""

    value: float
    low: float
    high: float
    level: float = INTERVAL_LEVEL

    def scaled(self, factor: float) -> "Estimate":
        """The same estimate in another unit; `factor` is positive."""
        return Estimate(value=self.value * factor, low=self.low * factor, high=self.high * factor, level=self.level)

    def inverted(self, numerator: float) -> "Estimate":
        """`numerator` divided by the estimate, as a rate is made of a time."""
        return Estimate(
            value=numerator / self.value, low=numerator / self.high, high=numerator / self.low, level=self.level
        )

    @property
    def relative_half_width(self) -> float:
        """Half the interval over the value: 0.01 reads '± 1 %'."""
        return (self.high - self.low) / 2 / abs(self.value) if self.value else 0.0

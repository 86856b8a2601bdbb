"""What two machines have in common, as far as it decides what may be compared."""

from scalemark.schema import Machine

# Only these facts of a machine decide what torch allocates: its build, its kernels, and a buffer for every thread.
_TORCH_BUILD = ("torch", "cuda", "blas", "onednn", "torch_cpu_capability", "float32_matmul_precision", "threads")
# What decides which operators a model comes apart into: not the kernels inside them, nor how many threads share one.
_OPERATOR_SET = ("architecture", "torch", "cuda", "onednn")


class Machines:
    """The machines of two suites. differing_fields: names of identity facts; empty where the machines are one."""

    def __init__(self, base: Machine, new: Machine) -> None:
        names = sorted(base.identity.keys() | new.identity.keys())
        self.differ = base.id != new.id
        differing = tuple(name for name in names if base.identity.get(name) != new.identity.get(name))
        self.differing_fields = (differing or ("id",)) if self.differ else ()

    @property
    def reason(self) -> str:
        return f"another machine: {', '.join(self.differing_fields)} differ"

    def reason_against_memory(self, device: str) -> str | None:
        """Why allocated bytes cannot be compared, or None where they can."""
        return self._reason_against(_TORCH_BUILD, device)

    def reason_against_operators(self, device: str) -> str | None:
        """Why operators cannot be compared, or None where they can."""
        return self._reason_against(_OPERATOR_SET, device)

    def _reason_against(self, facts: tuple[str, ...], device: str) -> str | None:
        decisive = (*facts, "gpu") if device == "cuda" else facts
        differing = [name for name in self.differing_fields if name in decisive]
        return f"another torch build or device: {', '.join(differing)} differ" if differing else None

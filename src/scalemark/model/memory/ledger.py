"""Tensors as sizes with holders, and the ledger of what is live: its highest sum is the peak."""

from collections import Counter
from typing import Literal

from scalemark.schema import PredictedMemory

Part = Literal["parameter", "gradient", "optimizer_state", "activation", "logits", "temporary", "data"]


class Tensor:
    """Bytes that live as long as somebody holds them."""

    __slots__ = ("bytes", "holders", "part")

    def __init__(self, bytes: int, part: Part) -> None:
        self.bytes, self.part, self.holders = bytes, part, 1


class Ledger:
    """What is live, by part, and what was when its sum was highest."""

    def __init__(self, granule_bytes: int) -> None:
        self._granule_bytes = granule_bytes
        self._live: Counter[Part] = Counter()
        self._at_peak: Counter[Part] = Counter()

    def new(self, bytes: int, part: Part = "temporary") -> Tensor:
        """A tensor with one holder."""
        tensor = Tensor(-(-bytes // self._granule_bytes) * self._granule_bytes, part)
        self._live[part] += tensor.bytes
        if self._live.total() > self._at_peak.total():
            self._at_peak = self._live.copy()
        return tensor

    def drop(self, *tensors: Tensor) -> None:
        """One holder lets go of each; the last one frees it."""
        for tensor in tensors:
            tensor.holders -= 1
            assert tensor.holders >= 0, "a tensor was dropped more often than it was held"
            if tensor.holders == 0:
                self._live[tensor.part] -= tensor.bytes

    def keep(self, *tensors: Tensor) -> None:
        """Autograd is one more holder of each, which counts as an activation from then on."""
        for tensor in tensors:
            tensor.holders += 1
            if tensor.part == "temporary":
                self._live["temporary"] -= tensor.bytes
                self._live["activation"] += tensor.bytes
                tensor.part = "activation"

    def peak(self) -> PredictedMemory:
        """The parts at the highest sum."""
        parts = {f"{part}_bytes": part_bytes for part, part_bytes in self._at_peak.items()}
        return PredictedMemory(peak_bytes=self._at_peak.total(), **parts)

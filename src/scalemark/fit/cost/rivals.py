"""Simpler laws, to be beaten: what a cost law misses means little until others have missed the same rows.

    constant MFU            y = FLOPs / rate
    power law in N          y = a · N^b · tokens
    power law in FLOPs      y = a · FLOPs^b

Each by least squares on the logarithm. A sum of physical terms that does no better has found nothing.
"""

from dataclasses import dataclass

import numpy as np

from scalemark.fit.cost.solver import Array, Mask

RIVALS = ("constant MFU", "power law in parameters", "power law in FLOPs")


@dataclass(frozen=True)
class Sizes:
    """What the rivals know of each row, shape (rows,): parameters, FLOPs and tokens of what was measured.

    FLOPs are 0 where they do not count, as for memory; tokens are then 1.
    """

    params: Array
    flops: Array
    items: Array

    def only(self, kept: Mask) -> "Sizes":
        return Sizes(self.params[kept], self.flops[kept], self.items[kept])


def rival_errors(kept: Sizes, values: Array, hidden: Sizes, measured: Array) -> dict[str, tuple[float, ...]]:
    """predicted/measured − 1 of the hidden rows, by rival; without FLOPs only what needs none."""
    per_item = _power_law(kept.params, values / kept.items, hidden.params)
    predictions = {"power law in parameters": per_item * hidden.items}
    if kept.flops.min() > 0 and hidden.flops.min() > 0:
        rate = np.exp(np.mean(np.log(kept.flops / values)))
        predictions["constant MFU"] = hidden.flops / rate
        predictions["power law in FLOPs"] = _power_law(kept.flops, values, hidden.flops)
    return {
        name: tuple(float(error) for error in predictions[name] / measured - 1)
        for name in RIVALS
        if name in predictions
    }


def _power_law(x: Array, y: Array, at: Array) -> Array:
    slope, intercept = np.polyfit(np.log(x), np.log(y), 1)
    return np.asarray(np.exp(intercept + slope * np.log(at)))

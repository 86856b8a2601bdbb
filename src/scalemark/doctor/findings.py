"""What the doctor found: the machine, and one check per concern."""

from typing import Literal

from scalemark.schema import Frozen, Machine

Status = Literal["ok", "limited", "missing"]


class Check(Frozen):
    """One thing that a benchmark may need. advice: what to do, where something can be done.

    limited: it works, with numbers that are fewer or noisier.
    """

    name: str
    status: Status
    detail: str
    advice: str | None = None


class Doctor(Frozen):
    """The machine as a run would record it, and every check, in the order in which they are read."""

    machine: Machine
    checks: tuple[Check, ...]

    def count(self, status: Status) -> int:
        """How many checks ended so."""
        return sum(check.status == status for check in self.checks)

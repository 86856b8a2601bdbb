"""What a history needs of a suite: its times and peaks without the raw samples, so that ten thousand can be read.

JSON that is not asked for is passed over without being made into objects: most of a suite is raw rounds and curves.
"""

from pydantic import BaseModel, ConfigDict

from scalemark.record.parse import parse_as
from scalemark.schema import (
    Accounting,
    Ceilings,
    Cell,
    CellStatus,
    ControlVariate,
    Estimate,
    Machine,
    Mark,
    Memory,
    Settings,
    Workload,
)


class _Part(BaseModel):
    """Some fields of a record; others are not looked at."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


class CellGlance(_Part):
    """A cell without its samples; fields as in `schema.Cell`."""

    workload: Workload
    status: CellStatus
    reason: str | None = None
    accounting: Accounting | None = None
    marks: tuple[Mark, ...] = ()
    time_s: Estimate | None = None
    corrected_s: Estimate | None = None
    control: ControlVariate | None = None
    memory: Memory | None = None


class SuiteGlance(_Part):
    """A suite without samples, training runs and warnings; fields as in `schema.Suite`."""

    schema_version: int
    id: str
    created: str
    commit: str | None = None
    machine: Machine
    settings: Settings
    ceilings: Ceilings = Ceilings()
    cells: tuple[CellGlance, ...] = ()
    complete: bool = True
    fake: bool = False


def parse_glance(content: bytes, place: object) -> SuiteGlance:
    """As `parse.parse_suite`, without what a history does not read."""
    return parse_as(SuiteGlance, content, place)


def as_cell(workload: Workload, accounting: Accounting, time_s: Estimate) -> Cell:
    """A cell that was measured, as laws take it."""
    return Cell.model_construct(workload=workload, status="ok", accounting=accounting, time_s=time_s)

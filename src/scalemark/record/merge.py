"""Many suites into one collection, one in memory at a time; and shards of one run into the suite that they are of.

    paths ─> read_suites ─> each once, as it is      ─> collection       merge
                        └─> joined by what ran them  ─> collection       merge --join

Nothing loses its identity: each suite keeps its id, machine and commit, and a joined one names its parts.
"""

from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict

from scalemark.errors import InputError, StoreError
from scalemark.record.collection import COLLECTION_ENDINGS, as_written, read_suites, read_views, write_collection
from scalemark.record.parse import parse_as
from scalemark.schema import Cell, Estimate, Machine, PassedOver, Settings, Suite, TrainingRun

_Result = TypeVar("_Result", Cell, TrainingRun)


@dataclass
class Merged:
    """What became of the suites that were found.

    written: lines of the collection. found_twice: suites left out, as the same was there before. conflicts: ids of
    suites that are there with several contents, all of which are kept. joined: suites that became part of another.
    """

    written: int = 0
    machines: set[str] = field(default_factory=set)
    found_twice: int = 0
    conflicts: list[str] = field(default_factory=list)
    joined: int = 0
    passed_over: list[PassedOver] = field(default_factory=list)


def merge(paths: Sequence[Path], out: Path, join: bool = False) -> Merged:
    """Write all suites of these files, collections and folders into one collection.

    join: shards of one machine, code and settings become one suite, whose memory they then take. Raises InputError for
    another ending than that of a collection, or for shards that contradict one another; StoreError where there is
    nothing to merge or a file that was named cannot be used.
    """
    if not out.name.endswith(COLLECTION_ENDINGS):
        raise InputError(f"cannot write a collection to {out}: name it {out.with_suffix('.jsonl')} or ….jsonl.gz")
    merged = Merged()
    suites = _joined(paths, merged) if join else _distinct(paths, merged)
    merged.written = write_collection(_refuse_none(suites, paths), out)
    return merged


def _refuse_none(suites: Iterator[Suite], paths: Sequence[Path]) -> Iterator[Suite]:
    """The same suites; an empty collection is not written."""
    first = next(suites, None)
    if first is None:
        raise StoreError(f"there is no suite in {', '.join(map(str, paths))}: run `pytest bench/` to make one")
    yield first
    yield from suites


def _distinct(paths: Sequence[Path], merged: Merged) -> Iterator[Suite]:
    """Each suite once. The same id with other content is another suite, and said."""
    seen: dict[tuple[str, str], set[bytes]] = {}
    for _, suite in read_suites(paths, merged.passed_over):
        contents = seen.setdefault((suite.machine.id, suite.id), set())
        digest = sha256(as_written(suite).model_dump_json().encode()).digest()
        if digest in contents:
            merged.found_twice += 1
            continue
        if contents:
            merged.conflicts.append(suite.id)
        contents.add(digest)
        merged.machines.add(suite.machine.id)
        yield suite


# --- shards -----------------------------------------------------------------------------------------------------------


class _Header(BaseModel):
    """What tells which run a shard is of."""

    model_config = ConfigDict(extra="ignore")

    schema_version: int
    scalemark_version: str
    commit: str | None = None
    machine: Machine
    settings: Settings


def _parse_header(content: bytes, place: object) -> _Header:
    return parse_as(_Header, content, place)


def _whole(suite: Suite | _Header) -> Hashable:
    """Equal for shards of one run: the machine, the code, and the settings that results depend on."""
    settings = suite.settings
    how = settings.device, settings.threads, settings.stated_power_w, tuple(sorted(settings.environment.items()))
    return suite.machine.id, suite.commit, suite.scalemark_version, how


def _joined(paths: Sequence[Path], merged: Merged) -> Iterator[Suite]:
    """Each whole as soon as its last shard was read: what is held are the wholes that are not complete yet."""
    shards_left = Counter(_whole(header) for _, header in read_views(paths, [], _parse_header))
    wholes: dict[Hashable, _Whole] = {}
    for _, suite in read_suites(paths, merged.passed_over):
        key = _whole(suite)
        shards_left[key] -= 1
        merged.machines.add(suite.machine.id)
        wholes.setdefault(key, _Whole(merged)).add(suite)
        if shards_left[key] <= 0:
            yield wholes.pop(key).as_suite()
    # What could be read as a header and not as a suite left its whole waiting.
    yield from (whole.as_suite() for whole in wholes.values())


class _Whole:
    """Shards put together, each cell and training run once."""

    def __init__(self, merged: Merged) -> None:
        self.merged = merged
        self.shards: list[Suite] = []
        self.ids: set[str] = set()
        self.cells: dict[str, tuple[Cell, str]] = {}
        self.runs: dict[str, tuple[TrainingRun, str]] = {}

    def add(self, shard: Suite) -> None:
        """Raises InputError where a result is there already and differs."""
        if shard.id in self.ids:
            self.merged.found_twice += 1
        else:
            self.ids.add(shard.id)
            self.shards.append(shard.model_copy(update={"cells": (), "training_runs": ()}))
        for cell in shard.cells:
            _put(self.cells, cell.workload.key, cell, shard.id)
        for run in shard.training_runs:
            _put(self.runs, run.config.key, run, shard.id)

    def as_suite(self) -> Suite:
        """The first shard with everything that the others add."""
        first, *others = self.shards
        results = {
            "cells": tuple(cell for cell, _ in self.cells.values()),
            "training_runs": tuple(run for run, _ in self.runs.values()),
        }
        if not others:
            return first.model_copy(update=results)
        self.merged.joined += len(self.shards)
        return first.model_copy(update={**results, **_common_fields(self.shards)})


def _put(kept: dict[str, tuple[_Result, str]], key: str, new: _Result, shard: str) -> None:
    """Keep the new result unless there is one as good; raises InputError where both are good and differ."""
    old, owner = kept.get(key, (None, ""))
    if old is None or _worth(new) > _worth(old):
        kept[key] = new, shard
    elif _worth(new) == _worth(old) > 1 and _result_of(new) != _result_of(old):
        raise InputError(
            f"{key} has one result in {owner} and another in {shard}: they are runs of their own and no shards of one; "
            "merge them without --join, which keeps both"
        )


def _worth(result: Cell | TrainingRun) -> int:
    """A result counts more than a failure, and that more than what was never tried."""
    return {"ok": 2, "diverged": 2, "skipped": 0}.get(result.status, 1)


def _result_of(result: Cell | TrainingRun) -> object:
    """What a training run found does not depend on how long it took, or beside what: that may differ."""
    if isinstance(result, Cell):
        return result
    unlike = {"seconds": None, "total_seconds": None, "threads": None, "shared": False, "place": None}
    return result.model_copy(update=unlike)


def _common_fields(shards: Sequence[Suite]) -> dict[str, object]:
    """Of a whole: times add up, ceilings are the highest that were reached, warnings are said once."""
    first, parts = shards[0], [part for shard in shards for part in (shard.parts or (shard.id,))]
    selections = [shard.settings.selection for shard in shards]
    settings = {
        "budget_s": sum(shard.settings.budget_s for shard in shards),
        "n_blocks": min(shard.settings.n_blocks for shard in shards),
        "selection": " or ".join(f"({one})" for one in dict.fromkeys(selections)) if all(selections) else None,
    }
    durations = [shard.duration_s for shard in shards]
    return {
        "id": f"{first.id}+{len(parts) - 1}",
        "created": min(shard.created for shard in shards),
        "settings": first.settings.model_copy(update=settings),
        "corpus": _one_corpus(shards),
        "ceilings": _highest_ceilings(shards),
        "workers": tuple(worker for shard in shards for worker in shard.workers),
        "warnings": tuple(dict.fromkeys(warning for shard in shards for warning in shard.warnings)),
        "complete": all(shard.complete for shard in shards),
        "fake": any(shard.fake for shard in shards),
        "duration_s": sum(filter(None, durations)) if any(durations) else None,
        "parts": tuple(parts),
    }


def _one_corpus(shards: Sequence[Suite]) -> object:
    found = list({shard.corpus.identity: shard.corpus for shard in shards if shard.corpus}.values())
    if len(found) > 1:
        names = " and ".join(corpus.identity for corpus in found)
        raise InputError(
            f"shards were trained on different text ({names}): merge them without --join, or one at a time"
        )
    return found[0] if found else None


def _highest_ceilings(shards: Sequence[Suite]) -> object:
    """By key the highest rate of any shard; of the sweeps, all products."""
    gemm: dict[str, Estimate] = {}
    triad: dict[str, Estimate] = {}
    for shard in shards:
        for kept, new in (
            (gemm, shard.ceilings.gemm_flops_per_s),
            (triad, shard.ceilings.triad_bytes_per_s),
        ):
            kept.update({key: rate for key, rate in new.items() if key not in kept or rate.value > kept[key].value})
    sizes = {key: size for shard in shards for key, size in shard.ceilings.triad_array_bytes.items()}
    sweep = tuple(product for shard in shards for product in shard.ceilings.gemm_sweep)
    return shards[0].ceilings.model_copy(
        update={
            "gemm_flops_per_s": gemm,
            "triad_bytes_per_s": triad,
            "triad_array_bytes": sizes,
            "gemm_sweep": sweep,
        }
    )

"""One run, from what is asked for to the report: scout, plan, measure, train, record, fit, diff, report.

    start ─> (plan, said before anything runs) ─> measure ─> finish ─> conclude
                                                  journal    suite     reports

Joins the stages and holds what they share: the run's folder, its journal and its clock.
"""

import math
import shutil
import subprocess
import textwrap
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, TypeGuard, TypeVar

import scalemark
from scalemark.errors import BudgetError, InputError, ScalemarkError
from scalemark.measure.campaign import Campaign, Site, scout
from scalemark.measure.energy import faked_sources
from scalemark.measure.orders import Scouted
from scalemark.measure.ranks.campaign import GroupCampaign
from scalemark.measure.ranks.selection import LEAST_RUN_S, SHARE, GroupPlan, plan_groups
from scalemark.measure.selection import Plan, PlannedCell, plan_campaign
from scalemark.process import default_affinity, default_threads, worker_environment
from scalemark.record.assemble import assemble
from scalemark.record.baseline import find_baseline
from scalemark.record.machine import fingerprint
from scalemark.record.store import Journal, ResultsFolder, RunFolder, new_run_id, read_journal, save_suite
from scalemark.schema import (
    Accounting,
    Analysis,
    JournalEntry,
    Machine,
    RunFinished,
    RunResumed,
    RunStarted,
    RunTrained,
    Settings,
    Suite,
    TrainingConfig,
    Workload,
)
from scalemark.system import machine_state
from scalemark.train.conduct import Workshop, find_pace, train_within
from scalemark.train.corpus import Corpus, open_corpus
from scalemark.train.executors import slurm
from scalemark.train.grid import fits_text
from scalemark.train.jobs import TokenFiles
from scalemark.train.pace import Pace
from scalemark.train.placement import LOCAL, SLURM_FOLDER, Placement
from scalemark.train.plan import GridPlan, plan_grid
from scalemark.train.progress import GridProgress
from scalemark.units import format_count, format_seconds

Thing = TypeVar("Thing", Workload, TrainingConfig)

SMALLEST_BUDGET_S = 45.0
REPORT_S = 12.0
# What timing gets, at least, where there is training too.
TIMING_SHARE = 0.45
# … and of a short budget: with less, too few sizes are timed for a cost law.
TIMING_AT_LEAST_S = 60.0
PLAN_COLUMNS = 100


@dataclass(frozen=True)
class Request:
    """What is asked for. selection: how cells were narrowed down, for the record. stated_power_w: see `Settings`.

    corpus, tokenizer: what is trained on, as `open_corpus` takes it. out: the run's own folder, where an interrupted
    run goes on; None for a new one below `results_root`. jobs, threads_per_job: how many models are trained at a time;
    None for one on each core, or one on a GPU. placement: who trains them. against: what the run will be compared with,
    whose cells come first; auto is the newest baseline of this machine.
    """

    workloads: tuple[Workload, ...]
    trainings: tuple[TrainingConfig, ...]
    budget_s: float
    device: Literal["auto", "cpu", "cuda"]
    seed: int
    results_root: Path
    selection: str | None = None
    stated_power_w: float | None = None
    corpus: str = "kjv"
    tokenizer: str = "bytes"
    out: Path | None = None
    jobs: int | None = None
    threads_per_job: int | None = None
    placement: Placement = LOCAL
    against: Suite | Literal["auto", "none"] = "auto"


@dataclass(frozen=True)
class Session:
    """A run under way: planned, its folder made, its journal begun.

    trainings: all that could be trained; trained: keys of those that an earlier part of this run has trained; goes_on:
    whether a later run may go on in its folder. baseline: what the run will be compared with.
    """

    folder: RunFolder
    journal: Journal
    site: Site
    scouted: Scouted
    corpus: Corpus
    workshop: Workshop
    pace: Pace | None
    trainings: tuple[TrainingConfig, ...]
    trained: frozenset[str]
    plan: Plan
    groups: GroupPlan
    grid: GridPlan
    budget_s: float
    started_s: float
    goes_on: bool
    baseline: Suite | None = None

    @property
    def expected_s(self) -> float:
        """Seconds from now to the end of measuring and training."""
        timing_s = self.plan.expected_s if self.plan.cells else 0.0
        return timing_s + self.groups.expected_s + self.grid.expected_s


def check(request: Request) -> None:
    """Find what would fail later: raises InputError or StoreError before anything is measured."""
    if request.budget_s < SMALLEST_BUDGET_S:
        raise BudgetError(
            f"a budget of {format_seconds(request.budget_s)} is too short to measure anything: "
            f"give at least {SMALLEST_BUDGET_S:.0f}s"
        )
    if request.stated_power_w is not None and not 0 < request.stated_power_w < math.inf:
        raise InputError(f"no device draws {request.stated_power_w} W: give --scale-stated-power a positive number")
    request.placement.check()
    ResultsFolder(request.out or request.results_root).check_writable()


def start(request: Request) -> Session:
    """Look at the machine and plan the run; raises a ScalemarkError, and leaves no folder, where it cannot be done."""
    started_s = time.monotonic()
    check(request)
    if request.out:
        return _start(request, RunFolder(request.out), started_s)
    folder = ResultsFolder(request.results_root).start_run(new_run_id(datetime.now(UTC)))
    try:
        return _start(request, folder, started_s)
    except ScalemarkError:
        if not folder.log_path.exists() or folder.log_path.stat().st_size == 0:
            shutil.rmtree(folder.path)
        raise


def _start(request: Request, folder: RunFolder, started_s: float) -> Session:
    corpus = open_corpus(request.corpus, (request.out or request.results_root) / "corpora", request.tokenizer)
    site, scouted = _look_around(request, corpus, folder)
    machine = fingerprint(scouted.facts, site.threads, affinity=site.affinity)
    earlier = earlier_part(folder, machine, corpus)
    workshop = _workshop(request, folder, site, scouted, corpus)
    trainings = _trainable(request.trainings, workshop, corpus)
    trained, recovered = _trained_before(folder, earlier, trainings)
    baseline = _baseline(request, machine)
    pace, queued_s = _pace(request, trainings, workshop)
    started_s += queued_s
    left_s = request.budget_s - (time.monotonic() - started_s) - REPORT_S
    workloads = [placed(workload, scouted.device, corpus) for workload in request.workloads]
    groups = _plan_groups(workloads, trainings, scouted, site.threads, left_s)
    alone = [workload for workload in workloads if not workload.is_parallel]
    wanted = _measured_by(baseline, machine)
    plan, grid = _plan(alone, trainings, trained, scouted, pace, workshop.slots, left_s - groups.expected_s, wanted)
    if not plan.cells and not groups.cells and not grid.orders and not trained:
        raise BudgetError(f"nothing fits into {format_seconds(request.budget_s)}: raise the budget")
    started = run_started(request, folder, site, workshop.device, machine, corpus, plan.n_blocks)
    return Session(
        folder,
        begin_journal(started, folder, is_new=not earlier, more=recovered),
        site,
        scouted,
        corpus,
        workshop,
        pace,
        trainings,
        trained,
        plan,
        groups,
        grid,
        request.budget_s,
        started_s,
        goes_on=request.out is not None,
        baseline=baseline,
    )


def earlier_part(folder: RunFolder, machine: Machine, corpus: Corpus) -> Sequence[JournalEntry]:
    """What the folder's journal holds, if a run was begun there; raises InputError where it was another machine's."""
    entries = read_journal(folder.journal_path) if folder.journal_path.exists() else []
    begun = entries[0] if entries else None
    if not isinstance(begun, RunStarted):
        return []
    _check_same(begun, machine, corpus, folder)
    return entries


def _trainable(trainings: Iterable[TrainingConfig], workshop: Workshop, corpus: Corpus) -> tuple[TrainingConfig, ...]:
    """Those that the text is long enough for, on the device that trains them."""
    return tuple(
        placed(config, workshop.device, corpus)
        for config in trainings
        if config.model is None or fits_text(config, corpus.facts.train_tokens)
    )


def _baseline(request: Request, machine: Machine) -> Suite | None:
    """What the run will be compared with."""
    found = find_baseline(request.results_root, machine.id) if request.against == "auto" else request.against
    return found if isinstance(found, Suite) else None


def _pace(request: Request, trainings: Sequence[TrainingConfig], workshop: Workshop) -> tuple[Pace | None, float]:
    """How fast language models train, and seconds of finding it out that are no part of the budget.

    Where others train, most of it is a queue's time.
    """
    looked_s = time.monotonic()
    pace = find_pace(workshop) if any(config.model for config in trainings) else None
    return pace, 0.0 if request.placement.executor == "local" else time.monotonic() - looked_s


def _look_around(request: Request, corpus: Corpus, folder: RunFolder) -> tuple[Site, Scouted]:
    """What this machine is; for a grid that others train, the device that they train on need not be here."""
    here = request.device if request.placement.executor == "local" else "cpu"
    site = Site(corpus.train_path, folder.log_path, default_threads(), request.seed, here, default_affinity())
    scouted = scout(site)
    return replace(site, device=scouted.device), scouted


def _trained_before(
    folder: RunFolder, earlier: Sequence[JournalEntry], trainings: Sequence[TrainingConfig]
) -> tuple[frozenset[str], list[RunTrained]]:
    """Keys of what need not be trained again, and of these runs those that the journal does not have yet.

    They were trained by jobs of Slurm after their driver was killed.
    """
    known = {entry.run.config.key for entry in earlier if _is_trained(entry)}
    reported = slurm.harvest(folder.path / SLURM_FOLDER) if earlier else []
    runs = {entry.run.config.key: entry for entry in reported if _is_trained(entry)}
    recovered = [runs[config.key] for config in trainings if config.key in runs.keys() - known]
    return frozenset(known | {entry.run.config.key for entry in recovered}), recovered


def _measured_by(baseline: Suite | None, machine: Machine) -> frozenset[str]:
    """Keys of the cells and of the training runs that a baseline of this machine has."""
    if baseline is None or baseline.machine.id != machine.id:
        return frozenset()
    cells = (cell.workload.key for cell in baseline.cells if cell.status == "ok")
    return frozenset(cells) | {run.config.key for run in baseline.training_runs if run.status == "ok"}


def _is_trained(entry: JournalEntry) -> TypeGuard[RunTrained]:
    """Whether this is the record of a run that need not be trained again."""
    return isinstance(entry, RunTrained) and entry.run.status in ("ok", "diverged")


def _workshop(request: Request, folder: RunFolder, site: Site, scouted: Scouted, corpus: Corpus) -> Workshop:
    """One thread for each model and a model on each core: small ones gain little from a second thread."""
    is_local = request.placement.executor == "local"
    device = scouted.device if is_local else ("cuda" if request.device == "cuda" else "cpu")
    threads = request.threads_per_job or (1 if device == "cpu" or not is_local else site.threads)
    return Workshop(
        device=device,
        slots=request.jobs or request.placement.slots(threads, site.threads, device),
        threads=threads,
        affinity=site.affinity,
        files=TokenFiles.of(corpus),
        log_path=folder.log_path,
        checkpoints=folder.checkpoints_path,
        placement=request.placement,
    )


def _plan_groups(
    workloads: Sequence[Workload],
    trainings: Sequence[TrainingConfig],
    scouted: Scouted,
    threads: int,
    left_s: float,
) -> GroupPlan:
    """A small share of a long run for steps on several ranks; all of it where nothing else is asked for."""
    spread = [workload for workload in workloads if workload.is_parallel]
    nothing_else = len(spread) == len(workloads) and not trainings
    share = 1.0 if nothing_else else SHARE if left_s >= LEAST_RUN_S else 0.0
    return plan_groups(spread, scouted, threads, share * left_s)


def _plan(
    workloads: Sequence[Workload],
    trainings: Sequence[TrainingConfig],
    trained: frozenset[str],
    scouted: Scouted,
    pace: Pace | None,
    slots: int,
    left_s: float,
    wanted: frozenset[str] = frozenset(),
) -> tuple[Plan, GridPlan]:
    """Share the time between timing and training; what one does not need, the other gets."""
    step_s = pace.step_s if pace else _no_step
    wanted_s = plan_grid(trainings, step_s, math.inf, slots, trained).needed_s
    timing_s = max(left_s - min(wanted_s, (1 - TIMING_SHARE) * left_s), min(TIMING_AT_LEAST_S, left_s))
    plan = plan_campaign(workloads, scouted, timing_s, wanted)
    training_s = left_s - min(timing_s, plan.expected_s) if plan.cells else left_s
    return plan, plan_grid(trainings, step_s, training_s, slots, trained, wanted)


def _no_step(_: Accounting) -> float:
    raise AssertionError("only language models have a pace")


def placed(thing: Thing, device: Literal["cpu", "cuda"], corpus: Corpus) -> Thing:
    """What a benchmark declares, on this run's device and (for a language model that is trained) its text."""
    changes: dict[str, object] = {"device": device}
    if isinstance(thing, TrainingConfig) and thing.model is not None:
        changes["corpus"] = corpus.identity
        changes["model"] = thing.model.model_copy(update={"vocab_size": corpus.facts.vocab_size})
    return thing.model_copy(update=changes)


def begin_journal(started: RunStarted, folder: RunFolder, is_new: bool, more: Iterable[JournalEntry] = ()) -> Journal:
    """The journal, with what this run, or this part of it, starts with."""
    journal = Journal(folder.journal_path)
    resumed = RunResumed(created=started.created, commit=started.commit, budget_s=started.settings.budget_s)
    for entry in (started if is_new else resumed, *more):
        journal.append(entry)
    return journal


def _check_same(before: RunStarted, machine: Machine, corpus: Corpus, folder: RunFolder) -> None:
    """Raises InputError: losses of another machine, torch or text do not belong into one grid."""
    for name, one, other in (
        ("machine", before.machine.id, machine.id),
        ("text", before.corpus and before.corpus.identity, corpus.identity),
    ):
        if one != other:
            raise InputError(
                f"{folder.path} was begun with another {name} ({one}; now {other}): choose another folder with --out"
            )


def run_started(
    request: Request,
    folder: RunFolder,
    site: Site,
    device: Literal["cpu", "cuda"],
    machine: Machine,
    corpus: Corpus,
    n_blocks: int,
) -> RunStarted:
    """What a run in this folder starts with."""
    settings = Settings(
        budget_s=request.budget_s,
        device=device,
        seed=request.seed,
        n_blocks=n_blocks,
        threads=site.threads,
        affinity=site.affinity,
        environment=worker_environment(site.threads),
        stated_power_w=request.stated_power_w,
        selection=request.selection,
        executor=request.placement.executor,
        executor_options=request.placement.options,
    )
    return RunStarted(
        id=folder.id,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        scalemark_version=scalemark.__version__,
        commit=_commit(),
        machine=machine,
        settings=settings,
        corpus=corpus.facts,
        fake=bool(faked_sources()),
    )


def _commit() -> str | None:
    """The commit of the folder that the run was started in, with '+' where files differ from it."""
    command = ["git", "describe", "--always", "--dirty=+", "--abbrev=12", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip() or None
    except (OSError, subprocess.SubprocessError):
        return None


def describe(session: Session) -> list[str]:
    """The plan in words: what runs, what does not, and for how long."""
    plan, grid = session.plan, session.grid
    runs = [f"{order.config} ({format_seconds(order.expected_s, 2)})" for order in grid.orders]
    lines = [
        f"{len(plan.cells) + len(session.groups.cells)} cells and {len(runs)} training runs on"
        f" {session.workshop.device} ({_describe_workshop(session)}), about {format_seconds(session.expected_s, 2)}",
        *_describe_rungs(plan),
        *_wrapped("on ranks: ", [str(cell.workload) for cell in session.groups.cells]),
        *_wrapped("train: ", runs),
    ]
    if done := sum(config.key in session.trained for config in session.trainings):
        lines.append(f"  trained already: {done} of {len(session.trainings)}")
    ruled_out = (*plan.ruled_out, *session.groups.ruled_out)
    left_out = [f"{rung} ({count})" for rung, count in Counter(cell.workload.rung for cell in ruled_out).items()]
    left_out += [f"train {order.config}" for order in grid.left_out]
    return [*lines, *_wrapped("no time or memory for: ", left_out)]


def _describe_workshop(session: Session) -> str:
    """'2 threads'; or 'ray: 16 at a time, 1 thread each'."""
    shop = session.workshop
    if shop.placement.executor == "local":
        return f"{session.site.threads} threads"
    threads = f"{shop.threads} thread{'s' if shop.threads > 1 else ''}"
    return f"{shop.placement.executor}: {shop.slots} at a time, {threads} each"


def _describe_rungs(plan: Plan) -> list[str]:
    """A line per rung: its size, its cells, and their expected time."""
    by_rung: dict[str, list[PlannedCell]] = {}
    for cell in plan.cells:
        by_rung.setdefault(cell.workload.rung, []).append(cell)
    return [f"  {rung}: {_describe_cells(cells)}" for rung, cells in by_rung.items()]


def _describe_cells(cells: Sequence[PlannedCell]) -> str:
    accounting = cells[0].accounting
    size = f"{format_count(accounting.params_non_embedding)} parameters, " if accounting else ""
    count = "1 cell" if len(cells) == 1 else f"{len(cells)} cells"
    return f"{size}{count}, at least {format_seconds(sum(cell.least_s for cell in cells), 2)}"


def _wrapped(label: str, names: Sequence[str]) -> list[str]:
    """The names after their label, over as many lines as they need; nothing where there are none."""
    if not names:
        return []
    return textwrap.wrap(label + ", ".join(names), PLAN_COLUMNS, initial_indent="  ", subsequent_indent="    ")


def measure(
    session: Session, tell: Callable[[str], None], tell_training: Callable[[GridProgress], None] | None = None
) -> None:
    """Time, then train in what time is left. Everything is in the journal the moment it is there.

    tell: hears in words how far it is; tell_training: how far the grid is, in place of words.
    """
    if session.plan.cells:
        reason = session.scouted.energy_reason
        Campaign(session.plan, session.site, session.journal.append, tell, reason, machine_state).run()
    else:
        for planned in session.plan.ruled_out:
            session.journal.append(planned)
    GroupCampaign(session.groups, session.site, session.journal.append, tell, machine_state).run()
    left_s = _left_for_training_s(session)
    tell_training = tell_training or (lambda progress: tell(str(progress)))
    record = session.journal.append
    train_within(left_s, session.trainings, session.trained, session.pace, session.workshop, record, tell_training)


def _left_for_training_s(session: Session) -> float:
    """What timing has left of the budget; where that is nothing, still what a user's own tasks are taken to need."""
    own = [config for config in session.trainings if config.task and config.key not in session.trained]
    own_s = plan_grid(own, _no_step, math.inf, session.workshop.slots).needed_s
    return max(session.started_s + session.budget_s - REPORT_S - time.monotonic(), own_s)


def finish(session: Session, complete: bool) -> Suite:
    """Close the journal and write the suite that follows from it, whole or not.

    States of models in training are kept only where a later run may go on from them.
    """
    if not session.goes_on:
        shutil.rmtree(session.folder.checkpoints_path, ignore_errors=True)
    for partial in session.folder.checkpoints_path.glob("*.partial"):  # of workers that were killed as they wrote
        partial.unlink(missing_ok=True)
    session.journal.append(RunFinished(duration_s=time.monotonic() - session.started_s, complete=complete))
    suite = assemble(read_journal(session.folder.journal_path))
    save_suite(suite, session.folder.suite_path)
    return suite


def conclude(
    suite: Suite, folder: RunFolder, results_root: Path, against: Suite | Literal["auto", "none"] = "auto"
) -> tuple[Analysis, dict[str, Path], Sequence[str]]:
    """Fit, diff and report: the analysis, the files written, and what could not be written and why.

    against: what to compare with; auto takes the newest baseline of this machine. A grid alone is not compared: a
    baseline is a whole run, and all else in it would be missing.
    """
    from scalemark.analysis import analyse

    baseline, reason = _baseline_for(suite, results_root, against)
    analysis = analyse(suite, baseline, reason)
    paths = {"suite": folder.suite_path}
    try:
        from scalemark.report.html import write_html
        from scalemark.report.markdown import write_markdown

        paths["report"] = write_markdown(analysis, folder.path)
        paths["html"] = write_html(analysis, folder.html_path)
    except ScalemarkError as error:
        return analysis, paths, [f"no report: {error}"]
    return analysis, paths, []


def _baseline_for(
    suite: Suite, results_root: Path, against: Suite | Literal["auto", "none"]
) -> tuple[Suite | None, str]:
    """What the suite is compared with, and the reason where that is nothing."""
    if not suite.cells:
        return None, "a grid of training runs alone is not compared with a baseline"
    if against == "none":
        return None, "no comparison was asked for"
    baseline = find_baseline(results_root, suite.machine.id) if against == "auto" else against
    return baseline, f"no baseline of {suite.machine.id}: `scalemark baseline save` makes this run one"

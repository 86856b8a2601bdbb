"""The pytest plugin: measure everything that was collected in one campaign, then let each test replay its samples.

    collection ─> campaign (before the first test) ─> tests: `measured(workload)` ─> pytest-benchmark's table
                                                                                  └> laws, verdicts, reports

pytest runs tests one after another, so a noisy minute would fall on one rung and bend the law. Here all cells are
measured interleaved first. A test then hands its samples to pytest-benchmark through its public interface: a marker
whose `timer` reads them out, and `pedantic`. In a session without a `measured` test the plugin does nothing.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pytest

from scalemark.errors import ScalemarkError

if TYPE_CHECKING:
    from scalemark.schema import Analysis, Cell, Suite, TrainingConfig, TrainingRun, Workload
    from scalemark.session import Request, Session

BAD_INPUT_EXIT_CODE = 2
LINE_EVERY_S = 15.0
LOG_WIDTH = 110


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options of group scalemark in `pytest --help`."""
    group = parser.getgroup("scalemark", "what training costs as the model grows")
    group.addoption("--scale-budget", default="8m", metavar="TIME", help="time for the whole run: 2m, 8m (default), 1h")
    group.addoption(
        "--scale-device", default="auto", choices=("auto", "cpu", "cuda"), help="auto (default) takes cuda if present"
    )
    group.addoption("--scale-rungs", metavar="NAMES", help="only these rungs of the ladder, as in d4w256,d6w384")
    group.addoption("--scale-results", metavar="DIR", help="folder for runs and baselines (default: results)")
    group.addoption(
        "--scale-stated-power",
        type=float,
        metavar="WATTS",
        help="what the device draws under load, to estimate energy in a column of its own (default: no estimate)",
    )
    group.addoption(
        "--scale-baseline",
        default="auto",
        metavar="WHICH",
        help="auto (default): this machine's newest baseline; a suite.json or a run's folder; or none",
    )
    group.addoption(
        "--scale-fail-on",
        default="never",
        choices=("regressed", "inconclusive", "never"),
        help="fail where the run is worse than the baseline, or also where that cannot be told (default: never);"
        " cells that are inconclusive are timed once more, for up to half of the time again",
    )
    group.addoption(
        "--scale-seed", type=int, default=0, metavar="N", help="seed of data, models and orders (default 0)"
    )


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(ScalePlugin(config), "scalemark-session")


class Replay:
    """A timer that reads out recorded samples: pytest-benchmark calls it before and after each round."""

    __name__ = "replay"

    def __init__(self, samples_s: tuple[float, ...]) -> None:
        self._readings = iter([reading for sample_s in samples_s for reading in (0.0, sample_s)])

    def __call__(self) -> float:
        return next(self._readings)


class ScalePlugin:
    """What lasts for one pytest session."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.session: Session | None = None
        self.suite: Suite | None = None
        self.analysis: Analysis | None = None
        self.paths: dict[str, Path] = {}
        self.complaints: list[str] = []
        self.against: Suite | Literal["auto", "none"] = "auto"

    @property
    def results_root(self) -> Path:
        given = self.config.getoption("scale_results")
        return Path(given) if given else self.config.rootpath / "results"

    @property
    def disabled(self) -> bool:
        """--benchmark-disable (which parallel test runs imply): one round each, in this process, unmeasured."""
        option = self.config.getoption
        parallel = bool(option("numprocesses", None)) or hasattr(self.config, "workerinput")
        return parallel or (bool(option("benchmark_disable", False)) and not option("benchmark_enable", False))

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        """Keep what --scale-rungs names."""
        names = config.getoption("scale_rungs")
        if not names or not _measured_items(items):
            return
        with _bad_input_ends_the_run():
            from scalemark.model.ladder import find_rung

            rungs = {find_rung(name.strip()) for name in names.split(",")}
        kept = [item for item in items if (thing := _thing(item)) is None or thing.model in rungs]
        config.hook.pytest_deselected(items=[item for item in items if item not in kept])
        items[:] = kept

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> None:
        """Measure everything before the first test. Returns None, so that pytest goes on to its own loop."""
        items = _measured_items(session.items)
        collection_failed = session.testsfailed and not session.config.option.continue_on_collection_errors
        if not items or collection_failed or self.config.option.collectonly or self.config.getoption("benchmark_skip"):
            return
        with _bad_input_ends_the_run():
            request = self._request(items)
            if self.disabled:
                return
            request = replace(request, against=self._baseline())
            self.against = request.against
            self._measure(request)
        _mark(items, self)

    def _request(self, items: list[pytest.Item]) -> "Request":
        from scalemark.schema import Workload
        from scalemark.session import Request, check
        from scalemark.units import parse_duration_s

        things = {thing.key: thing for item in items if (thing := _thing(item)) is not None}.values()
        request = Request(
            workloads=tuple(thing for thing in things if isinstance(thing, Workload)),
            trainings=tuple(thing for thing in things if not isinstance(thing, Workload)),
            budget_s=parse_duration_s(self.config.getoption("scale_budget")),
            device=self.config.getoption("scale_device"),
            seed=self.config.getoption("scale_seed"),
            results_root=self.results_root,
            selection=self._selection(),
            stated_power_w=self.config.getoption("scale_stated_power"),
        )
        check(request)
        return request

    def _baseline(self) -> "Suite | Literal['auto', 'none']":
        """What --scale-baseline names; one that cannot be read is found before anything is measured."""
        from scalemark.record.store import load_suite

        which: str = self.config.getoption("scale_baseline")
        if which == "auto":
            return "auto"
        return "none" if which == "none" else load_suite(Path(which))

    def _selection(self) -> str | None:
        """How the cells were narrowed down: by keyword, marker, rung, file or test; None for a whole folder."""
        given = [self.config.getoption(name) for name in ("keyword", "markexpr", "scale_rungs")]
        files = [arg for arg in self.config.args if ".py" in arg]
        return " ".join([*filter(None, given), *files]) or None

    def _measure(self, request: "Request") -> None:
        from scalemark.rechecking import recheck
        from scalemark.session import describe, finish, measure, start

        terminal: Any = self.config.pluginmanager.get_plugin("terminalreporter")
        terminal.section("scalemark", sep="-")
        terminal.write_line("looking at the machine …")
        self.session = start(request)
        for line in describe(self.session):
            terminal.write_line(line)
        complete = False
        try:
            measure(self.session, ProgressLine(terminal, self.session.expected_s))
            if self.config.getoption("scale_fail_on") != "never":
                recheck(self.session, terminal.write_line)
            complete = True
        finally:  # whatever ends the run, Ctrl-C included, what was measured becomes a suite
            self.suite = finish(self.session, complete)
            self.paths = {"suite": self.session.folder.suite_path}
        terminal.write_line("")

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Fit, diff and report what was measured; the suite is on disk already. Then the gate."""
        if self.suite is None or self.session is None:
            return
        from scalemark.session import conclude

        run = self.session.folder
        self.analysis, self.paths, complaints = conclude(self.suite, run, self.results_root, self.against)
        self.complaints.extend(complaints)
        if (verdict := self._gate()) and session.exitstatus == pytest.ExitCode.OK:
            self.complaints.append(verdict)
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def _gate(self) -> str | None:
        """Why the run fails, or None where it does not."""
        from scalemark.diff.gate import fails, outcome

        assert self.analysis is not None
        fail_on = self.config.getoption("scale_fail_on")
        found = outcome(self.analysis.diff) if self.analysis.diff else "not_comparable"
        reason = self.analysis.no_diff_reason
        says = f"{found} ({reason})" if reason else found
        return f"failed by --scale-fail-on {fail_on}: {says}" if fails(found, fail_on) else None

    @pytest.hookimpl(trylast=True)
    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """End with the costs, the laws, the verdict and where everything is."""
        if self.analysis is None:
            if self.paths:
                terminalreporter.write_line(f"suite: {self.paths['suite'].resolve()}")
            return
        from scalemark.report.terminal import terminal_summary

        terminalreporter.section("scalemark", sep="=")
        width = min(terminalreporter._tw.fullwidth, 140) if terminalreporter.isatty else LOG_WIDTH
        paths = {name: path.resolve() for name, path in self.paths.items()}
        for line in [*self.complaints, *terminal_summary(self.analysis, paths, width)]:
            terminalreporter.write_line(line)

    def outcome(self, thing: "Workload | TrainingConfig") -> "Cell | TrainingRun | None":
        """What became of it in this run; None where the run ended before it."""
        from scalemark.schema import Workload
        from scalemark.session import placed

        assert self.suite is not None and self.session is not None
        device, corpus = self.suite.settings.device, self.session.corpus
        if isinstance(thing, Workload):
            key = placed(thing, device, corpus).key
            return next((cell for cell in self.suite.cells if cell.workload.key == key), None)
        key = placed(thing, device, corpus).key
        return next((run for run in self.suite.training_runs if run.config.key == key), None)


class ProgressLine:
    """How far the run is and how long it still takes: one line rewritten on a terminal, now and then one in a log."""

    def __init__(self, terminal: pytest.TerminalReporter, expected_s: float) -> None:
        self._terminal, self._expected_s = terminal, expected_s
        self._started_s = time.monotonic()
        self._said_s = self._started_s

    def __call__(self, text: str) -> None:
        from scalemark.units import format_seconds

        now_s = time.monotonic()
        left_s = self._started_s + self._expected_s - now_s
        left = f"about {format_seconds(left_s, 2)} left" if left_s > 1 else "almost done"
        if self._terminal.isatty:
            self._terminal.rewrite(f"  {text}; {left}", erase=True)
        elif now_s - self._said_s >= LINE_EVERY_S:
            self._said_s = now_s
            self._terminal.write_line(f"  {text}; {left}")


@contextmanager
def _bad_input_ends_the_run() -> Iterator[None]:
    """A user's mistake becomes one line and exit code 2, not a traceback."""
    try:
        yield
    except ScalemarkError as error:
        pytest.exit(f"scalemark: error: {error}", returncode=BAD_INPUT_EXIT_CODE)


def _measured_items(items: list[pytest.Item]) -> list[pytest.Item]:
    return [item for item in items if "measured" in getattr(item, "fixturenames", ())]


def _thing(item: pytest.Item) -> "Workload | TrainingConfig | None":
    """The workload or training configuration that a test is parametrised with."""
    from scalemark.schema import TrainingConfig, Workload

    values = item.callspec.params.values() if hasattr(item, "callspec") else ()
    return next((value for value in values if isinstance(value, Workload | TrainingConfig)), None)


def _mark(items: list[pytest.Item], plugin: ScalePlugin) -> None:
    """Give each test the timer that reads out its own samples; a group that the test names itself is kept."""
    for item in items:
        thing = _thing(item)
        if thing is None:
            continue
        samples_s, group = _samples(thing, plugin)
        own = item.get_closest_marker("benchmark")
        options: dict[str, Any] = {"group": group, **(own.kwargs if own else {}), "timer": Replay(samples_s)}
        item.add_marker(pytest.mark.benchmark(**options), append=False)


def _samples(thing: "Workload | TrainingConfig", plugin: ScalePlugin) -> tuple[tuple[float, ...], str]:
    """Recorded seconds, and the group of pytest-benchmark's table that they belong to."""
    from scalemark.schema import Cell, TrainingRun

    outcome = plugin.outcome(thing)
    if isinstance(outcome, Cell):
        where = ", slowest rank" if outcome.workload.is_parallel else ""
        return outcome.samples_s, f"{outcome.workload.phase} (one round{where})"
    seconds = outcome.seconds if isinstance(outcome, TrainingRun) else None
    return ((seconds,) if seconds else ()), "training (one whole run)"


@pytest.fixture
def measured(
    benchmark: Any, request: pytest.FixtureRequest
) -> Callable[["Workload | TrainingConfig"], "Cell | TrainingRun | None"]:
    """Replay what the campaign measured for a workload or training configuration, and return it.

    A cell that was left out skips its test, one that failed fails it. With --benchmark-disable the thing is run once,
    unmeasured, and None is returned.
    """
    plugin = request.config.pluginmanager.get_plugin("scalemark-session")
    assert isinstance(plugin, ScalePlugin)

    def replay(thing: "Workload | TrainingConfig") -> "Cell | TrainingRun | None":
        if not benchmark.enabled:
            benchmark.pedantic(_run_once, args=(thing, plugin))
            return None
        return _replay(thing, plugin, benchmark)

    return replay


def _replay(thing: "Workload | TrainingConfig", plugin: ScalePlugin, benchmark: Any) -> "Cell | TrainingRun":
    outcome = plugin.outcome(thing)
    if outcome is None or outcome.status in ("skipped", "predicted_oom", "oom"):
        pytest.skip(f"{outcome.status}: {outcome.reason}" if outcome else "the run ended before it")
    if outcome.status != "ok":
        pytest.fail(f"{outcome.status}: {outcome.reason}", pytrace=False)
    benchmark.extra_info["key"] = thing.key
    benchmark.pedantic(_nothing, rounds=len(_samples(thing, plugin)[0]))
    return outcome


def _nothing() -> None:
    """What is 'run' while recorded times are read out."""


def _run_once(thing: "Workload | TrainingConfig", plugin: ScalePlugin) -> None:
    from scalemark.smoke import run_once, why_not

    option = plugin.config.getoption
    if reason := why_not(thing, option("scale_device")):
        pytest.skip(reason)
    with _bad_input_ends_the_run():
        run_once(thing, option("scale_device"), plugin.results_root, option("scale_seed"))

"""The order of a report: which charts and tables stand under which heading, and why a chart is missing.

    first screen     headline, machine and ceilings, verdict, and the four charts of `FIRST_SCREEN`
    sections         each with its charts, its tables, and the reason for every chart that has nothing to show
    for reference    folded away

Charts are named here and drawn elsewhere, so that no chart library is needed to know what there is.
"""

from dataclasses import dataclass

from scalemark.report.series.isoloss import contour_rows, run_rows
from scalemark.report.series.laws import residual_rows
from scalemark.report.series.plans import front_rows
from scalemark.report.series.ranks import bandwidth_rows, efficiency_rows
from scalemark.report.series.roofline import roofline_rows
from scalemark.report.series.split import split_rows, term_rows
from scalemark.report.series.steps import energy_rows, memory_rows, mfu_rows, step_time_rows
from scalemark.report.series.training import loss_rows, training_curve_rows
from scalemark.report.tables import (
    LAW_TITLES,
    Table,
    cell_table,
    cost_table,
    diff_table,
    energy_table,
    law_tables,
    machine_table,
    noise_table,
    operator_table,
    plan_table,
    price_table,
    product_table,
    raw_table,
    repeated_table,
    residual_tables,
    scaling_tables,
    setting_table,
    split_table,
    training_table,
    warning_table,
    what_if_table,
)
from scalemark.report.tables.energy import why_no_energy
from scalemark.schema import Analysis, LawKind

FIRST_SCREEN = ("step-time", "where-time-goes", "memory", "loss")
RESIDUALS: dict[str, LawKind] = {
    "residuals-step-time": "step_time",
    "residuals-memory": "memory",
    "residuals-energy": "energy",
    "residuals-loss": "loss",
}
TITLES: dict[str, str] = {
    "step-time": "Step time",
    "where-time-goes": "Where the time of a step goes",
    "memory": "Memory",
    "loss": "Loss against compute",
    "plan": "What more time buys",
    "mfu": "Model FLOPs utilisation",
    "roofline": "Roofline",
    "time-terms": "What each part of a step takes",
    "energy": "Energy per token",
    "scaling": "Scaling efficiency",
    "bandwidth": "Bandwidth of collectives",
    "training-loss": "Training loss",
    "isoloss": "Loss over parameters and tokens",
    **{name: f"Residuals of the {LAW_TITLES[kind].lower()}" for name, kind in RESIDUALS.items()},
}
FIGURE_NAMES = tuple(TITLES)
NO_RANKS = "no step ran on several ranks, as `pytest bench/bench_distributed.py` has it."


@dataclass(frozen=True)
class Section:
    """A heading with its charts, by name, then its tables. missing: a sentence for each chart that is not drawn."""

    title: str
    figures: tuple[str, ...]
    tables: tuple[Table, ...]
    missing: tuple[str, ...] = ()


def report_sections(analysis: Analysis) -> tuple[Section, ...]:
    """All that have something to say, in reading order; the first has no heading and is the first screen."""
    suite = analysis.suite
    ranks = scaling_tables(analysis.scaling, suite)
    drafts = (
        ("", FIRST_SCREEN, ()),
        ("What larger models cost here", (), (price_table(analysis),)),
        ("What to train here", ("plan",), (plan_table(analysis),)),
        ("Against the baseline", (), (diff_table(analysis),)),
        ("Warnings and noise", (), (warning_table(suite), noise_table(analysis))),
        ("Cost of a training step", ("mfu", "roofline"), (cost_table(suite),)),
        ("Where the time of a step goes", ("time-terms",), (split_table(analysis),)),
        ("What if", (), (what_if_table(analysis),)),
        ("Energy per token", ("energy",), (energy_table(suite),)),
        ("Several ranks", ("scaling", "bandwidth"), tuple(table for table in ranks if not table.detail)),
        ("Training runs", ("training-loss", "isoloss"), (training_table(suite), repeated_table(analysis))),
        ("Laws", tuple(RESIDUALS), law_tables(analysis)),
        ("Machine", (), (machine_table(suite),)),
        ("For reference", (), _for_reference(analysis)),
    )
    why = missing_figures(analysis)
    sections = (_section(title, names, tables, why) for title, names, tables in drafts)
    return tuple(section for section in sections if section.figures or section.tables or section.missing)


def _for_reference(analysis: Analysis) -> tuple[Table, ...]:
    suite = analysis.suite
    tables = (product_table(suite), operator_table(suite), cell_table(suite), raw_table(suite), setting_table(suite))
    ranks = (table for table in scaling_tables(analysis.scaling, suite) if table.detail)
    return (*residual_tables(analysis), *ranks, *tables)


def _section(title: str, names: tuple[str, ...], tables: tuple[Table, ...], why: dict[str, str]) -> Section:
    """With the reasons that no table of the section gives already."""
    kept = tuple(table for table in tables if table.rows or table.note)
    said = " ".join(table.note for table in kept)
    missing = [f"No chart of {_plain(name)}: {why[name]}" for name in names if name in why and why[name] not in said]
    return Section(title, tuple(name for name in names if name not in why), kept, tuple(missing))


def _plain(name: str) -> str:
    title = TITLES[name]
    return title if title[:2].isupper() else title[:1].lower() + title[1:]


def missing_figures(analysis: Analysis) -> dict[str, str]:
    """Why each chart that is not drawn has nothing to show, by name, as a sentence."""
    suite = analysis.suite
    no_split = split_table(analysis).note or "there is no law of step time."
    reasons: dict[str, tuple[bool, str]] = {
        "step-time": (bool(step_time_rows(suite)), "no step of a model was timed."),
        "where-time-goes": (bool(split_rows(analysis)), no_split),
        "memory": (bool(memory_rows(suite)), "no step of a model had its memory observed."),
        "loss": (bool(loss_rows(suite)), "no model was trained to a validation loss."),
        "plan": (bool(front_rows(analysis)), plan_table(analysis).note or "nothing was planned."),
        "mfu": (bool(mfu_rows(suite)), "no step has a matrix product ceiling of its dtype to be held against."),
        "roofline": (bool(roofline_rows(suite)), "no step had its operators counted, or no ceiling was measured."),
        "time-terms": (bool(term_rows(analysis) and step_time_rows(suite)), no_split),
        "energy": (bool(energy_rows(suite)), why_no_energy(suite)),
        "training-loss": (bool(training_curve_rows(suite)), "no run kept how its loss fell."),
        "isoloss": (bool(contour_rows(analysis) and run_rows(analysis)), _no_map(analysis)),
        "scaling": (bool(efficiency_rows(analysis.scaling)), NO_RANKS),
        "bandwidth": (bool(bandwidth_rows(suite)), NO_RANKS),
        **{name: _residual_reason(analysis, kind) for name, kind in RESIDUALS.items()},
    }
    return {name: reason for name, (is_drawn, reason) in reasons.items() if not is_drawn}


def _no_map(analysis: Analysis) -> str:
    if reason := analysis.missing_laws.get("loss"):
        return _no_law(reason)
    return (
        "the runs leave parameters of the loss law open, and it did not foretell the runs that were hidden from it:"
        " give training a larger budget, for more sizes and tokens."
    )


def _residual_reason(analysis: Analysis, kind: LawKind) -> tuple[bool, str]:
    if analysis.law(kind) is None:
        return False, _no_law(analysis.missing_laws.get(kind, "none was fitted."))
    return bool(residual_rows(analysis, kind)), "the law meets every measurement to a thousandth."


def _no_law(reason: str) -> str:
    """As the law's own table says it."""
    return f"No law: {reason}"

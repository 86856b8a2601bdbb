"""Every chart of a report, defined once and drawn twice: as an SVG to commit, and as Vega-Lite for the HTML report.

    Analysis ─> figures ─> Figure ─┬─> to_svg          Markdown, README
                                   └─> to_vega_lite    HTML, interactive

What is measured is a point, what is fitted a line with its 90 % band, what lies beyond the fitted range is dashed.
A chart with nothing to draw is left out. Importing this package loads altair, so the writers import it late.
"""

from scalemark.report.charts.cost import memory_figure, step_time_figure
from scalemark.report.charts.energy import energy_figure
from scalemark.report.charts.figure import Figure
from scalemark.report.charts.isoloss import isoloss_figure
from scalemark.report.charts.outputs import VEGA_LITE, theme, to_png, to_svg, to_vega_lite
from scalemark.report.charts.plans import plan_figure
from scalemark.report.charts.ranks import bandwidth_figure, efficiency_figure
from scalemark.report.charts.residuals import residual_figure
from scalemark.report.charts.split import split_figure, term_figure
from scalemark.report.charts.training import loss_figure, training_curve_figure
from scalemark.report.charts.utilisation import mfu_figure, roofline_figure
from scalemark.report.sections import FIGURE_NAMES, RESIDUALS
from scalemark.schema import Analysis

__all__ = [
    "FIGURE_NAMES",
    "VEGA_LITE",
    "Figure",
    "bandwidth_figure",
    "efficiency_figure",
    "figures",
    "loss_figure",
    "memory_figure",
    "step_time_figure",
    "theme",
    "to_png",
    "to_svg",
    "to_vega_lite",
    "training_curve_figure",
]


def figures(analysis: Analysis) -> tuple[Figure, ...]:
    """The charts that have something to show, in reading order: the first four are for the first screen."""
    drawn = (
        step_time_figure(analysis),
        split_figure(analysis),
        memory_figure(analysis),
        loss_figure(analysis),
        plan_figure(analysis),
        mfu_figure(analysis),
        roofline_figure(analysis),
        term_figure(analysis),
        energy_figure(analysis),
        efficiency_figure(analysis),
        bandwidth_figure(analysis),
        training_curve_figure(analysis.suite),
        isoloss_figure(analysis),
        *(residual_figure(analysis, kind) for kind in RESIDUALS.values()),
    )
    return tuple(figure for figure in drawn if figure is not None)

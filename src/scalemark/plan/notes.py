"""What a plan takes for granted, in sentences: the recipe, the pace, the shape, the text, and how far it reaches."""

from scalemark.plan.grounds import Grounds
from scalemark.plan.shapes import MOST_WIDTH_PER_LAYER, Recipe
from scalemark.schema import Law, PlannedTraining
from scalemark.units import significant

MARKED_BEYOND = 10.0


def notes(grounds: Grounds, best: PlannedTraining) -> tuple[str, ...]:
    """Sentences; none for what does not matter to this plan."""
    found = (
        _recipe_note(grounds),
        _time_note(grounds),
        _identified_note(grounds.loss_law),
        _shape_note(grounds, best),
        _width_note(best),
        _epochs_note(grounds, best),
        _far_note(best),
    )
    return tuple(filter(None, found))


def _recipe_note(grounds: Grounds) -> str:
    recipe = grounds.recipe
    others = len({Recipe.of(run) for run in grounds.trained}) - 1
    mixed = f" ({others} other recipes among the runs are passed over)" if others else ""
    return (
        f"The loss law holds for the recipe that its {grounds.loss_law.n} runs were trained with: batches of "
        f"{recipe.batch} × {recipe.seq_len} tokens, {recipe.dtype}, {recipe.optimizer}, learning rate by width{mixed}. "
        "Steps are priced at that batch."
    )


def _time_note(grounds: Grounds) -> str:
    time = grounds.time
    beside = ", beside other models" if time.shared else ", alone"
    threads = f"{time.threads} thread{'s' if time.threads > 1 else ''}"
    where = f"on {threads}{beside}" if grounds.suite.settings.device == "cpu" else "alone on the GPU"
    advice = (
        "" if grounds.suite.cells else "; for training alone on all threads, run `pytest bench/`, which times steps"
    )
    return (
        f"Time is that of training {where}, set-up and validation (as {time.extra_steps:.0f} steps) among it, by "
        f"{time.source}{advice}."
    )


def _identified_note(law: Law) -> str:
    vague = [parameter.name for parameter in law.parameters if not parameter.identified]
    if not vague:
        return ""
    return (
        f"The runs do not tell {', '.join(vague)} of the loss law: its predictions near the runs hold, and how far off "
        "they may be elsewhere is in the intervals. More sizes and tokens would tell: give training a larger budget."
    )


def _shape_note(grounds: Grounds, best: PlannedTraining) -> str:
    shapes = grounds.shapes
    depths, heads = {shape.n_layer for shape in shapes}, {shape.d_head for shape in shapes}
    other = [
        f"{best.model.n_layer} layers" if best.model.n_layer not in depths else "",
        f"heads of {best.model.d_head}" if best.model.d_head not in heads else "",
    ]
    if not any(other):
        return ""
    trained = f"{_listed(depths)} layers and heads of {_listed(heads)}"
    return (
        f"The loss law knows a model by its size: that {' and '.join(filter(None, other))} do as well as the {trained} "
        "that were trained is taken for granted (Kaplan et al. 2020, figure 5)."
    )


def _width_note(best: PlannedTraining) -> str:
    if best.model.d_model < MOST_WIDTH_PER_LAYER * best.model.n_layer:
        return ""
    return (
        f"It is as wide for its depth as candidates may be ({MOST_WIDTH_PER_LAYER} per layer): layers are so dear here "
        "that the cost law would go on where the loss law knows nothing of shape."
    )


def _listed(numbers: set[int]) -> str:
    return ", ".join(str(number) for number in sorted(numbers))


def _epochs_note(grounds: Grounds, best: PlannedTraining) -> str:
    if best.epochs is None or best.epochs <= 1:
        return ""
    losses = grounds.losses
    source = "as this suite's runs tell" if grounds.repeats_are_told else "as Muennighoff et al. 2023 found elsewhere"
    return (
        f"The text is seen {best.epochs:.1f} times: what is seen again is discounted with R_D* = "
        f"{losses.repeats:.3g}, {source}. More text would be worth more."
    )


def _far_note(best: PlannedTraining) -> str:
    if best.extrapolation <= MARKED_BEYOND:
        return ""
    return (
        f"This lies {significant(best.extrapolation, 2)} times beyond what was measured: take it for a guess, whatever "
        "its interval says."
    )

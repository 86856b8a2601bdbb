"""The front of loss against budget: for each of many budgets, the model that makes most of it."""

from collections.abc import Iterable

from scalemark.plan.optimum import Field, best_index

# Of the plan's own budget.
FACTORS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)


def front(field: Field, budgets: Iterable[float]) -> list[tuple[float, int, int]]:
    """(budget, model, steps) for each budget that holds any training, smallest first. Losses never rise along it."""
    found = []
    for budget in sorted(budgets):
        index = best_index(field, budget)
        if index is not None:
            found.append((budget, index, int(field.steps(budget)[index])))
    return found

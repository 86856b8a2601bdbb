"""Contenders compared: everything that the report of several suites says."""

from collections.abc import Sequence

from scalemark.schema import Contender, SuiteComparison
from scalemark.versus.alike import compare_losses, only_comparable, unequal_terms
from scalemark.versus.causes import compare_coefficients
from scalemark.versus.fitted import with_laws
from scalemark.versus.shapes import compare_shapes, largest_common, usd_curves
from scalemark.versus.sizes import ask_laws, best_ranges, crossovers, priced, speedup_curves


def compare_contenders(contenders: Sequence[Contender]) -> SuiteComparison:
    """Times, speed-ups, prices, causes and losses. What cannot be compared is named with the fields that differ."""
    kept, set_aside = only_comparable(contenders)
    fitted = with_laws(kept)
    lines = ask_laws(fitted)
    costs = priced(lines, fitted)
    model = largest_common(fitted)
    form, coefficients = compare_coefficients(fitted, model)
    losses, why_no_losses = compare_losses(fitted)
    return SuiteComparison(
        contenders=fitted,
        shapes=compare_shapes(fitted),
        speedups=speedup_curves(lines) if lines else {},
        usd=usd_curves(fitted),
        fastest=best_ranges(lines) if lines else (),
        crossovers=crossovers(lines) if lines else (),
        cheapest=best_ranges(costs) if costs else (),
        price_crossovers=crossovers(costs) if costs else (),
        common_form=form,
        cause_shape=model.name if form else None,
        coefficients=coefficients,
        losses=losses,
        not_compared=(*set_aside, *unequal_terms(fitted), *why_no_losses),
    )

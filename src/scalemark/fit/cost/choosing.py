"""Which form a law has: told by AICc, which knows the rows fitted, and by what each misses of larger sizes.

Predicting larger sizes from smaller ones is what a law is for, so among forms that fit about equally well that decides.
"""

import numpy as np

from scalemark.fit.cost.problem import PERFECT, Problem, log_errors, mean_loss, n_free, solve_form
from scalemark.fit.cost.solver import Array
from scalemark.fit.cost.terms import Form

# With fewer sizes below a cut, what is predicted above it says more of the cut than of the form.
FEWEST_SIZES = 4
# Forms so far behind in AICc have little support (Burnham & Anderson 2002, section 2.6).
_UNSUPPORTED_AICC = 7.0
# A form is left for a more complicated one only if that misses larger sizes by a tenth less.
_CLEARLY_BETTER = 0.9
# Forms are tried on the sizes above these quantiles, fitted to those below.
_CUTS = (0.5, 0.65, 0.8)
_LARGEST_LOG_ERROR = 1.0


def choose_form(problem: Problem) -> Form:
    """The supported form that misses larger sizes least; the simplest, unless another does clearly better."""
    if len(problem.forms) == 1:
        return problem.forms[0]
    scores = [aicc(problem, form, solve_form(problem, form)) for form in problem.forms]
    supported = [
        form for form, score in zip(problem.forms, scores, strict=True) if score <= min(scores) + _UNSUPPORTED_AICC
    ]
    errors = [max(forward_error(problem, form), PERFECT) for form in supported]
    best = int(np.argmin(errors))
    return supported[best] if errors[best] < _CLEARLY_BETTER * errors[0] else supported[0]


def aicc(problem: Problem, form: Form, coefficients: Array) -> float:
    """n·log(mean Huber loss) + 2k, corrected for few rows (Hurvich & Tsai 1989); k counts the noise as well."""
    n, k = len(problem.values), n_free(problem, form, coefficients) + 1
    return n * float(np.log(mean_loss(problem, form, coefficients))) + 2 * k + 2 * k * (k + 1) / max(n - k - 1, 0.5)


def forward_error(problem: Problem, form: Form) -> float:
    """Root mean square of log(predicted/measured) where larger sizes are predicted from smaller ones.

    Over several cuts; 0 where there are too few sizes to cut.
    """
    sizes = np.unique(problem.sizes.params)
    cuts = sorted({int(len(sizes) * share) for share in _CUTS})
    errors = [_errors_above(problem, form, sizes[cut]) for cut in cuts if cut >= FEWEST_SIZES]
    return float(np.sqrt(np.mean(np.concatenate(errors) ** 2))) if errors else 0.0


def _errors_above(problem: Problem, form: Form, size: float) -> Array:
    kept = problem.sizes.params < size
    errors = log_errors(problem.only(~kept), form, solve_form(problem.only(kept), form))
    return np.clip(errors, -_LARGEST_LOG_ERROR, _LARGEST_LOG_ERROR)

"""What to train for a budget, and what a loss takes: the optimum under measured costs.

Called like a function, as in a notebook (`scalemark.plan(suite, hours=1)`), the package is `scalemark.planning.plan`,
the joint that brings suite and laws to what is here.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import Any


class _CallablePackage(ModuleType):
    """The package's name is that of the function too, and importing a module of it must not hide the function."""

    def __call__(self, *args: Any, **options: Any) -> Any:
        return import_module("scalemark.planning").plan(*args, **options)


sys.modules[__name__].__class__ = _CallablePackage

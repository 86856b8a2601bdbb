"""Packages that only some corpora and executors need; they are imported where they are used and not before."""

from importlib import import_module
from typing import Any

from scalemark.errors import InputError


def needed(module: str, extra: str) -> Any:
    """The module, which the extra installs; raises InputError with how to install it."""
    try:
        return import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise InputError(f'this needs {package}: run `pip install "scalemark[{extra}]"`') from error

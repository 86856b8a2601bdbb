"""The command line: one command per stage, each a thin joint between stages.

    run       doctor, train, measure              use the machine
    laws      fit, plan                           what follows from what was measured
    compare   diff, ab, history, baseline         one against another
    write     report, export, merge, schema       a suite in another form

Nothing but typer is imported until a command runs, so that `--help` is instant. The library raises; only this package
prints and exits.
"""

from scalemark.cli import run, laws, compare, write  # isort: skip  # in the order of --help
from scalemark.cli.app import app

__all__ = ["app", "compare", "laws", "run", "write"]

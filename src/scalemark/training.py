"""`scalemark train`: a grid of models within a budget, watched, and the law that it gives.

The same way as a benchmark run that has only training: start, measure, finish, conclude (`scalemark.session`).
"""

from scalemark.live import LiveGrid
from scalemark.report.terminal import terminal_summary
from scalemark.session import Request, conclude, describe, finish, measure, start


def run_training(request: Request, columns: int) -> list[str]:
    """Train, and say in lines what came of it. Whatever ends it, Ctrl-C included, what was trained becomes a suite."""
    with LiveGrid() as live:
        live.say("looking at the machine …")
        session = start(request)
        for line in describe(session):
            live.say(line)
        complete = False
        try:
            measure(session, live.say, live)
            complete = True
        finally:
            suite = finish(session, complete)
    analysis, paths, complaints = conclude(suite, session.folder, request.results_root)
    return [*complaints, *terminal_summary(analysis, paths, columns)]

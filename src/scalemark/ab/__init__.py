"""Two revisions of a repository, measured in turn on one machine: is training slower than before?"""

from scalemark.ab.asked import parse_request
from scalemark.ab.run import AbRequest, run_ab

__all__ = ["AbRequest", "parse_request", "run_ab"]

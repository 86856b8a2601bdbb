"""A suite against a baseline: what got better, what got worse, and what cannot be said."""

from scalemark.diff.compare import compare

__all__ = ["compare"]

"""The models that are measured and trained: shapes, modules, and what follows from a shape alone."""

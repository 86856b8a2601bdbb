"""A history of suites as text, charts and pages: what moved, where it changed, and what could not be read."""

"""Laws fitted to what was measured: what a step costs, what it holds in memory, and what loss a model reaches."""

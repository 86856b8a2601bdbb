"""Several suites side by side: machines, torch versions, dtypes, compiled or not, commits.

    NAME=PATH:bfloat16, …  ─ asked ─> Contender, …     names, which steps take part, what an hour costs
    suite                  ─ fitted ─> Contender        with its laws and curves
    Contender, …           ─ shapes, sizes, causes, alike ─> SuiteComparison

A joint, like `comparing`: it picks what is compared and knows all stages. No torch.
"""

from scalemark.versus.asked import contenders_asked
from scalemark.versus.compare import compare_contenders

__all__ = ["compare_contenders", "contenders_asked"]

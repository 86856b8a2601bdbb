"""The report of several suites side by side, drawn from `SuiteComparison` as the report of one is from `Analysis`.

SuiteComparison ─┬─> headline, tables ─> terminal | markdown | html
                 └─> charts
"""

"""Tables of what stands behind each name, and of what could not be compared."""

from scalemark.report.numbers import bytes_rate, flops_rate, with_interval
from scalemark.report.tables.table import Column, Table
from scalemark.report.versus.headline import how_it_runs
from scalemark.report.versus.words import usd
from scalemark.schema import Contender, SuiteComparison
from scalemark.units import format_percent

_COMMIT_LENGTH = 12


def contender_table(comparison: SuiteComparison) -> Table:
    """What stands behind each name, one column each; rows in which they differ are marked."""
    facts = [_facts(one) for one in comparison.contenders]
    rows = []
    for name in facts[0]:
        values = [each[name] for each in facts]
        rows.append((name, *values, "yes" if len(set(values)) > 1 else "no"))
    columns = (Column("fact"), *(Column(name, "prose") for name in comparison.names), Column("differs", "text", 1))
    return Table("What is compared", columns, tuple(rows))


def _facts(contender: Contender) -> dict[str, str]:
    suite, identity = contender.suite, contender.suite.machine.identity
    gemm = suite.ceilings.gemm_flops_per_s.get(f"{suite.settings.device}/{contender.dtype}")
    triad = suite.ceilings.triad_bytes_per_s.get(suite.settings.device)
    return {
        "machine": suite.machine.summary,
        "steps": how_it_runs(contender),
        "price": f"{usd(contender.usd_per_hour)} an hour" if contender.usd_per_hour else "not given",
        "matrix products in its dtype": with_interval(gemm, flops_rate),
        "memory triad": with_interval(triad, bytes_rate),
        "threads": str(suite.settings.threads),
        "python": str(identity.get("python") or "unknown"),
        "scalemark": f"{suite.scalemark_version}, commit {(suite.commit or 'unknown')[:_COMMIT_LENGTH]}",
        "suite": f"{suite.id}, {suite.created}",
        "machine id": suite.machine.id,
        "step time law": _law_fact(contender),
    }


def _law_fact(contender: Contender) -> str:
    law = contender.law("step_time")
    if law is None:
        return f"none: {contender.missing_laws.get('step_time', 'not compared')}"
    largest = max(map(abs, law.residuals), default=0.0)
    return f"{law.form}; {law.n} measurements, largest residual {format_percent(largest)}"


def not_compared_table(comparison: SuiteComparison) -> Table:
    """What is no comparison, or not one on equal terms, with the fields that differ."""
    columns = (Column("what"), Column("differs", "prose"), Column("what that means", "prose"))
    rows = tuple((one.what, "; ".join(one.fields), one.reason) for one in comparison.not_compared)
    return Table("Not compared, or not on equal terms", columns, rows)

"""The machine's fingerprint and what its kernels reached in this run."""

from scalemark.report.numbers import bytes_rate, flops_rate, with_interval
from scalemark.report.tables.table import Column, Table, fact, plain_name
from scalemark.schema import GemmRate, Suite
from scalemark.units import format_bytes, format_percent


def machine_table(suite: Suite) -> Table:
    """The fingerprint that decides what may be compared, then the measured ceilings."""
    identity = [(plain_name(name), fact(name, value)) for name, value in suite.machine.identity.items()]
    products = suite.ceilings.gemm_flops_per_s.items()
    triads = suite.ceilings.triad_bytes_per_s.items()
    ceilings = [
        (f"GEMM ceiling, {key}", with_interval(estimate, flops_rate) + _best_product(suite, key))
        for key, estimate in products
    ]
    ceilings += [
        (f"triad ceiling, {key}", with_interval(estimate, bytes_rate) + _triad_size(suite, key))
        for key, estimate in triads
    ]
    rows = (("machine id", suite.machine.id), *identity, *ceilings)
    note = "Ceilings were measured in this run: the best matrix product on random data, and the STREAM triad."
    return Table("Machine", (Column("fact"), Column("value", "prose")), rows, note if ceilings else "")


def _triad_size(suite: Suite, device: str) -> str:
    size_bytes = suite.ceilings.triad_array_bytes.get(device)
    return f" (arrays of {format_bytes(size_bytes)} together)" if size_bytes else ""


def _best_product(suite: Suite, key: str) -> str:
    """' (1,024 × 1,024 × 1,024, best of 14)': which product of the sweep the ceiling is."""
    sweep = [product for product in suite.ceilings.gemm_sweep if f"{product.device}/{product.dtype}" == key]
    if not sweep:
        return ""
    best = max(sweep, key=lambda product: product.flops_per_s.value)
    return f" ({_product_shape(best)}, best of {len(sweep)})"


def _product_shape(product: GemmRate) -> str:
    return f"{product.m:,} × {product.n:,} × {product.k:,}"


def product_table(suite: Suite) -> Table:
    """Every product of the sweep, fastest first: the squares, and the products of the campaign's largest models."""
    columns = (
        Column("device", "text", 2),
        Column("dtype"),
        Column("m × n × k", "number"),
        Column("FLOP/s", "number"),
        Column("of the ceiling", "number", 1),
    )
    sweep = suite.ceilings.gemm_sweep
    products = sorted(sweep, key=lambda product: (product.device, product.dtype, -product.flops_per_s.value))
    note = "Products (m, k) × (k, n) on random data, 2·m·n·k FLOPs each, the right-hand side stored as (n, k)."
    rows = tuple(_product_row(suite, product) for product in products)
    return Table("Matrix products", columns, rows, note * bool(rows), detail=True)


def _product_row(suite: Suite, product: GemmRate) -> tuple[str, ...]:
    ceiling = suite.ceilings.gemm_flops_per_s.get(f"{product.device}/{product.dtype}")
    share = product.flops_per_s.value / ceiling.value if ceiling else None
    rate_text = with_interval(product.flops_per_s, flops_rate)
    return (product.device, product.dtype, _product_shape(product), rate_text, format_percent(share))

import factories

from scalemark.report.tables.raw import MOST_RAW_ROWS, raw_table
from scalemark.schema import Block


def test_each_block_stands_with_its_rounds_and_its_median() -> None:
    blocks = tuple(
        Block(index=index, warmup_s=(), rounds_s=rounds_s, setup_s=0.1)
        for index, rounds_s in enumerate([(0.001, 0.002, 0.003), (0.004, 0.006)])
    )
    cell = factories.make_cell(factories.DIAGONAL[0]).model_copy(update={"blocks": blocks})
    suite = factories.make_suite().model_copy(update={"cells": (cell,)})
    assert raw_table(suite).rows == ((cell.workload.key, "3, 2", "2.00 ms, 5.00 ms", "1.00 ms", "6.00 ms"),)


def test_a_large_campaign_is_cut_and_says_so() -> None:
    cell = factories.make_cell(factories.DIAGONAL[0])
    suite = factories.make_suite().model_copy(update={"cells": (cell,) * (MOST_RAW_ROWS + 7)})
    table = raw_table(suite)
    assert len(table.rows) == MOST_RAW_ROWS
    assert "7 larger workloads are left out" in table.note


def test_without_rounds_there_is_nothing_to_show() -> None:
    bare = factories.make_suite().model_copy(update={"cells": ()})
    assert (raw_table(bare).rows, raw_table(bare).note) == ((), "")

"""Time once more, in new blocks, what a first comparison with the baseline left open.

    measure ─> compare ─> inconclusive? ─> more blocks of those cells ─> finish, which compares again

A gate that fails, or passes, on a noisy minute is worth little; one that measures until it likes the answer is worth
nothing. So it happens once, and the old blocks stay beside the new ones.
"""

from collections.abc import Callable
from dataclasses import replace

from scalemark.diff.compare import compare
from scalemark.diff.measured import ALL_CELLS, TIME
from scalemark.measure.campaign import Campaign
from scalemark.measure.selection import FEW_BLOCKS
from scalemark.record.assemble import assemble
from scalemark.record.store import read_journal
from scalemark.schema import Diff
from scalemark.session import Session
from scalemark.system import machine_state
from scalemark.units import format_seconds

# Of the time that was planned for timing, what a second look may take at most.
SECOND_LOOK_SHARE = 0.5


def recheck(session: Session, tell: Callable[[str], None]) -> tuple[str, ...]:
    """Time the cells that are inconclusive again; their keys. Nothing where there is no baseline or nothing is open."""
    if session.baseline is None:
        return ()
    so_far = assemble(read_journal(session.folder.journal_path))
    keys = open_keys(compare(session.baseline, so_far))
    cells = tuple(cell for cell in session.plan.cells if cell.workload.key in keys)
    if not cells:
        return ()
    budget_s = SECOND_LOOK_SHARE * session.plan.expected_s
    tell(f"inconclusive, timed again for at most {format_seconds(budget_s, 2)}: {', '.join(sorted(keys))}")
    plan = replace(session.plan, cells=cells, ruled_out=(), budget_s=budget_s, n_blocks=FEW_BLOCKS, energy=False)
    campaign = Campaign(plan, session.site, session.journal.append, tell, session.scouted.energy_reason, machine_state)
    campaign.time_again(first=session.plan.n_blocks)
    return tuple(cell.workload.key for cell in cells)


def open_keys(diff: Diff) -> frozenset[str]:
    """Cells whose time is inconclusive though it was measured; all that were, where only their mean is open."""
    times = [one for one in diff.comparisons if one.metric == TIME and one.ratio]
    undecided = {one.subject for one in times if one.verdict == "inconclusive"}
    every = {one.subject for one in times}
    return frozenset((every if undecided == {ALL_CELLS} else undecided) - {ALL_CELLS})

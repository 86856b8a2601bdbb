"""What a reader is told of an A/B run."""

from scalemark.ab.text import ab_lines, ab_markdown
from scalemark.schema import AbPair, AbResult, AbSettings, AbSide, Comparison, Diff, Estimate

SLOWER = Comparison(
    subject="d2w128/step",
    metric="time_s",
    base=0.018,
    new=0.0189,
    ratio=Estimate(value=1.05, low=1.041, high=1.06),
    verdict="regressed",
)
MEAN = Comparison(subject="all workloads", metric="time_s", ratio=SLOWER.ratio, verdict="regressed")
OPERATORS = Comparison(
    subject="d2w128/step", metric="operators_total", base=100, new=101, verdict="regressed", reason="aten.mm 12 -> 13"
)
SAME = Comparison(subject="d2w128/step", metric="params_total", base=1, new=1, verdict="same")


def result(*comparisons: Comparison, pairs: tuple[AbPair, ...] = (AbPair(index=0),)) -> AbResult:
    return AbResult(
        scalemark_version="0",
        created="2026-01-01T00:00:00Z",
        base=AbSide(name="base", revision="main", commit="a" * 40),
        head=AbSide(name="head", revision="WORKTREE", commit="b" * 40),
        workloads=(),
        settings=AbSettings(
            budget_s=180, margin=0.02, alpha=0.01, looks=(0.4, 0.7, 1.0), seed=0, device="cpu", threads=2
        ),
        pairs=pairs,
        diff=Diff(base_id="main", new_id="WORKTREE", verdict="regressed", comparisons=comparisons),
        looks_taken=2,
        duration_s=120,
    )


def test_every_time_is_shown_with_its_interval_and_only_counters_that_differ() -> None:
    lines = ab_lines(result(OPERATORS, SAME, SLOWER, MEAN))
    assert lines[0] == "regressed: WORKTREE against main"
    (time,) = [line for line in lines if "18.0 ms" in line]
    assert time.split() == [
        "d2w128/step",
        "18.0",
        "ms",
        "18.9",
        "ms",
        "+5.0",
        "%",
        "+4.1",
        "to",
        "+6.0",
        "%",
        "regressed",
    ]
    assert any("operators_total  100 → 101, aten.mm 12 -> 13" in line for line in lines)
    assert not any("params_total" in line for line in lines)
    assert "Exact counters: 1 regressed, 1 same." in lines


def test_what_may_hide_in_a_single_workload_stands_beside_the_verdict() -> None:
    wide = SLOWER.model_copy(
        update={"ratio": Estimate(value=1.0, low=0.98, high=1.02), "verdict": "inconclusive", "subject": "d6w384/step"}
    )
    same = result(wide, MEAN.model_copy(update={"verdict": "same"}))
    decided = same.model_copy(update={"diff": same.diff.model_copy(update={"verdict": "same"})})
    said = "Known alone: d6w384/step to ± 2.0%; a smaller change of one of them may hide."
    assert said in ab_lines(decided) and said in ab_markdown(decided)
    undecided = same.model_copy(update={"diff": same.diff.model_copy(update={"verdict": "inconclusive"})})
    assert not any("may hide" in line for line in ab_lines(undecided))


def test_a_mean_over_workloads_has_no_seconds() -> None:
    (line,) = [line for line in ab_lines(result(MEAN)) if "all workloads" in line]
    assert line.split()[2:4] == ["–", "–"]


def test_lost_pairs_are_counted_with_the_last_reason() -> None:
    pairs = (AbPair(index=0), AbPair(index=1, lost="head: no answer within 60 s"))
    text = "\n".join(ab_lines(result(SLOWER, pairs=pairs)))
    assert "1 pairs of fresh processes" in text
    assert "1 pairs were lost, the last because head: no answer within 60 s." in text


def test_markdown_holds_a_table_of_times_and_one_of_counters() -> None:
    text = ab_markdown(result(OPERATORS, SAME, SLOWER))
    assert "| d2w128/step | 18.0 ms | 18.9 ms | +5.0 % | +4.1 to +6.0 % | regressed |" in text
    assert "| regressed | `d2w128/step` | operators_total |" in text


def test_without_enough_pairs_the_reason_stands_where_the_interval_would() -> None:
    unknown = Comparison(subject="a", metric="time_s", verdict="inconclusive", reason="fewer than 4 pairs")
    assert any("fewer than 4 pairs" in line and "inconclusive" in line for line in ab_lines(result(unknown)))

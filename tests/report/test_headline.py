import factories

from scalemark.report.headline import headline, machine_line, verdict_line
from scalemark.schema import Analysis


def test_the_headline_is_the_largest_price_that_fits(analysis: Analysis) -> None:
    text = headline(analysis)
    assert text.startswith("Here a 85.0 M model trains at 185 ± 4.0 % tokens/s")
    assert text.endswith("(2.4× beyond the fitted range).")


def test_a_model_that_was_fitted_claims_no_distance(analysis: Analysis) -> None:
    assert "beyond" not in headline(analysis.model_copy(update={"prices": analysis.prices[:1]}))


def test_a_model_too_large_for_memory_says_so(analysis: Analysis) -> None:
    assert headline(analysis.model_copy(update={"prices": analysis.prices[2:]})).endswith("would not fit in memory.")


def test_a_price_far_beyond_what_was_measured_is_no_headline(analysis: Analysis) -> None:
    far = analysis.prices[2].model_copy(update={"extrapolation": 50.0, "fits_memory": True})
    assert "85.0 M" in headline(analysis.model_copy(update={"prices": (*analysis.prices[:2], far)}))


def test_without_a_law_the_headline_is_what_was_measured() -> None:
    reasons = {"step_time": "only 3 steps were measured"}
    text = headline(Analysis(suite=factories.make_suite(), missing_laws=reasons))
    assert text.startswith("The largest model measured here, d9w576")
    assert text.endswith("No step time law, so no prediction: only 3 steps were measured.")


def test_where_only_training_ran_the_headline_is_its_loss() -> None:
    suite = factories.make_suite().model_copy(update={"cells": ()})
    assert headline(Analysis(suite=suite)).startswith("The lowest validation loss is 2.020 nats per token (d2w96")


def test_where_nothing_was_measured_nothing_is_claimed(bare_analysis: Analysis) -> None:
    assert headline(bare_analysis).startswith("Nothing was measured")


def test_the_machine_stands_with_its_ceilings(analysis: Analysis) -> None:
    assert machine_line(analysis).endswith("(cpu/float32) 160 GFLOP/s ± 3.1 %; memory (cpu) 20.0 GB/s ± 5.0 %")


def test_the_verdict_counts_what_stands_behind_it(analysis: Analysis, bare_analysis: Analysis) -> None:
    expected = "Against baseline 20251231-base: regressed (1 regressed, 1 missing, 3 same)."
    assert verdict_line(analysis) == expected
    assert verdict_line(bare_analysis) == "No verdict: there is no baseline for this machine."

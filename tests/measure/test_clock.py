import time

from scalemark.measure.clock import Round, time_round, time_rounds_s


def test_what_is_prepared_is_not_timed():
    slow_preparation = Round(prepare=lambda: time.sleep(0.2), timed=lambda: None)
    assert time_round(slow_preparation, "cpu").seconds < 0.1


def test_what_is_timed_is_all_there():
    slow_round = Round(prepare=lambda: None, timed=lambda: time.sleep(0.05))
    assert time_round(slow_round, "cpu").seconds >= 0.05


def test_preparation_runs_before_each_round():
    calls: list[str] = []
    one = Round(prepare=lambda: calls.append("prepare"), timed=lambda: calls.append("timed"))
    time_rounds_s(one, "cpu", budget_s=0, at_least=2, at_most=5)
    assert calls == ["prepare", "timed"] * 2


def test_a_spent_budget_still_gives_the_fewest_rounds_and_a_large_one_no_more_than_the_most():
    one = Round(prepare=lambda: None, timed=lambda: None)
    assert len(time_rounds_s(one, "cpu", budget_s=0, at_least=3, at_most=9)) == 3
    assert len(time_rounds_s(one, "cpu", budget_s=60, at_least=3, at_most=9)) == 9

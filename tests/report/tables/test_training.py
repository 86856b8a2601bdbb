"""Where runs were trained is said beside them."""

import factories

from scalemark.report.tables import training_table
from scalemark.schema import RunPlace, Suite


def trained_at(*places: RunPlace | None, shared: bool = True) -> Suite:
    """A suite whose runs were trained at these places in turn."""
    suite = factories.make_suite()
    runs = [
        run.model_copy(update={"place": places[index % len(places)], "shared": shared})
        for index, run in enumerate(suite.training_runs)
    ]
    return suite.model_copy(update={"training_runs": tuple(runs)})


def test_runs_of_a_cluster_name_their_nodes_and_what_their_times_are_worth() -> None:
    own = RunPlace(executor="slurm", node="n1", exclusive=True)
    shared = RunPlace(executor="slurm", node="n2", exclusive=False)
    note = training_table(trained_at(own, shared)).note
    assert "Slurm had 16 of them trained on 2 nodes (n1, n2), 8 with a node of their own" in note
    assert "side by side" not in note, "that is said of this machine's own workers"


def test_runs_of_this_machine_say_nothing_of_nodes() -> None:
    note = training_table(trained_at(None)).note
    assert "side by side" in note and "node" not in note


def test_of_many_nodes_some_are_named() -> None:
    note = training_table(trained_at(*[RunPlace(executor="ray", node=f"n{index:02}") for index in range(9)])).note
    assert "on 9 nodes (n00, n01, n02, n03, …), 0 with a node of their own" in note

"""Lets tests run pytest within pytest, to see the plugin as its users do, and gives each one thread."""

import os

import pytest

# They compare numbers, not times, and several tests run at a time: threads that wait for work take cores from others.
os.environ.setdefault("OMP_NUM_THREADS", "1")

pytest_plugins = ["pytester"]

# Files that take half a minute and more. Several files run at a time, and one of these must not be left for last.
LONG = (
    "test_plugin.py",
    "test_launched.py",
    "test_slurm.py",
    "test_campaign.py",
    "test_browser.py",
    "test_cli.py",
    "test_decide.py",
    "test_run.py",
    "test_training.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files first, all else in its order."""
    items.sort(key=lambda item: LONG.index(item.path.name) if item.path.name in LONG else len(LONG))

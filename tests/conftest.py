"""Lets tests run pytest within pytest, to see the plugin as its users do, and gives each one thread."""

import os

# They compare numbers, not times, and several tests run at a time: threads that wait for work take cores from others.
os.environ.setdefault("OMP_NUM_THREADS", "1")

pytest_plugins = ["pytester"]

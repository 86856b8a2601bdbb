"""Nothing is set up here: the plugin that `pip install` registers does it all. See `pytest --help`, group scalemark."""

"""Lets tests run pytest within pytest, to see the plugin as its users do."""

pytest_plugins = ["pytester"]

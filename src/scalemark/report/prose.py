"""Sentences that name commands between backticks, as Markdown and HTML show them each in their way."""

import re

_COMMAND = re.compile(r"`([\w ./=%\[\]-]+)`")


def pieces(text: str) -> list[tuple[str, bool]]:
    """The text in parts, each with whether it is a command. A lone backtick, or two around markup, tell of none."""
    return [(part, index % 2 == 1) for index, part in enumerate(_COMMAND.split(text)) if part]

"""Say which packages to install where a report cannot be drawn without them."""

from collections.abc import Iterator
from contextlib import contextmanager

from scalemark.errors import ScalemarkError


@contextmanager
def chart_libraries() -> Iterator[None]:
    """Around late imports: a missing chart or template library becomes a ScalemarkError that names the command."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in {"altair", "vl_convert", "jinja2", "markupsafe"}:
            raise
        raise ScalemarkError(
            f"{error.name} is missing, which this report needs: pip install altair vl-convert-python jinja2"
        ) from error

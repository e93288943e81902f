"""The verdict as one HTML file that needs nothing else."""

from collections.abc import Sequence
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from auditor.report.words import NAMES, clean, place, said


def render_html(documents: Sequence[dict[str, Any]]) -> str:
    """One self-contained page, without scripts and without anything to load."""
    return _environment().get_template("report.html.j2").render(documents=documents, names=NAMES)


def _environment() -> Environment:
    """Templates of this package; every value is escaped unless it is made here."""
    environment = Environment(
        loader=PackageLoader("auditor.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(clean=clean, place=place, said=said)
    return environment

"""The verdict for a terminal or a pipe."""

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from auditor.report.words import NAMES, clean, place, said


def render_text(documents: Sequence[dict[str, Any]], console: Console) -> None:
    """Print one verdict, or several side by side."""
    for document in documents:
        console.print(
            Text(f"{clean(document['submission'].get('folder'))}: {NAMES[document['outcome']]}")
        )
        table = Table("rule", "outcome", "strength", "what was seen")
        for result in document["results"]:
            table.add_row(
                Text(clean(result["rule"])),
                NAMES[result["outcome"]],
                result["strength"] or "",
                Text(said(result)),
            )
        console.print(table)
        for result in document["results"]:
            for finding in result["findings"]:
                console.print(Text(f"{place(finding['location'])}: {clean(finding['message'])}"))

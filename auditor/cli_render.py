"""Every form of a verdict: `--format` of the commands that audit, and `auditor render`."""

import json
import sys
from collections.abc import Sequence
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from auditor.cli_common import OutputOption, complain, write
from auditor.errors import AuditorError, SubmissionError


class Format(Enum):
    """How a verdict is printed."""

    TEXT = "text"
    JSON = "json"
    SARIF = "sarif"
    JUNIT = "junit"
    MARKDOWN = "markdown"
    HTML = "html"


FormatOption = Annotated[Format, typer.Option("--format", help="How to print the verdict.")]


def render(
    verdicts: Annotated[list[Path], typer.Argument(help="Stored verdicts (JSON).")],
    output_format: FormatOption = Format.TEXT,
    output: OutputOption = None,
) -> None:
    """Show stored verdicts in another format; a changed verdict is refused.

    Examples:

        auditor audit my_record --format json --output verdict.json

        auditor render verdict.json --format sarif --output verdict.sarif
    """
    documents: list[dict[str, Any]] = []
    for path in verdicts:
        try:
            documents += read_verdicts(path)
        except AuditorError as error:
            complain(str(path), error)
            raise typer.Exit(2) from error
    show(documents, output_format, output, None)


def read_verdicts(path: Path) -> list[dict[str, Any]]:
    """The verdicts that a file holds; SubmissionError where it holds anything else."""
    from auditor.report.entries import is_verdict
    from auditor.report.json_v1 import SCHEMA

    try:
        found = json.loads(path.read_bytes())
        documents: list[dict[str, Any]] = found if isinstance(found, list) else [found]
        unchanged = all(map(is_verdict, documents))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise SubmissionError(f"{path}: expected a verdict, but {error}") from error
    if not unchanged:
        raise SubmissionError(f"{path}: expected an unchanged {SCHEMA} document whose digest fits")
    return documents


def show(
    documents: Sequence[dict[str, Any]],
    output_format: Format,
    output: Path | None,
    html: Path | None,
) -> None:
    """Print or write the documents; several JSON documents make an array."""
    if html is not None:
        write(html, _text(documents, Format.HTML))
    if not documents:
        return
    if output_format is Format.TEXT:
        from auditor.report.text import render_text

        if output is None:
            render_text(documents, Console())
            return
        with output.open("w", encoding="utf-8") as file:
            render_text(documents, Console(file=file, width=100))
        return
    text = _text(documents, output_format)
    if output is None:
        sys.stdout.write(text)
    else:
        write(output, text)


def _text(documents: Sequence[dict[str, Any]], output_format: Format) -> str:
    """The documents in a format that is one text."""
    from auditor.report.entries import Report

    match output_format:
        case Format.JSON:
            shown: Any = documents[0] if len(documents) == 1 else list(documents)
            return json.dumps(shown, indent=1, ensure_ascii=False) + "\n"
        case Format.SARIF:
            from auditor.report.sarif import render_sarif

            log = render_sarif(Report.of_verdicts(documents))
            return json.dumps(log, indent=1, ensure_ascii=False) + "\n"
        case Format.JUNIT:
            from auditor.report.junit import render_junit

            return render_junit(Report.of_verdicts(documents))
        case Format.MARKDOWN:
            from auditor.report.markdown import render_markdown

            return render_markdown(Report.of_verdicts(documents))
        case Format.HTML:
            from auditor.report.html import render_html

            return render_html(documents)
        case Format.TEXT:
            raise AssertionError("text is printed, not made")

"""Every form of a verdict: `--format` of the commands that audit, and `auditor render`."""

import io
import json
import sys
from collections.abc import Sequence
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from auditor.cli_common import OutputOption, complain, write
from auditor.errors import AuditorError, SubmissionError, ToolError

if TYPE_CHECKING:
    from auditor.report.entries import Report


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
    verdicts: Annotated[list[Path], typer.Argument(help="Stored verdicts, or one gate (JSON).")],
    output_format: FormatOption = Format.TEXT,
    output: OutputOption = None,
    pictures: Annotated[
        Path | None, typer.Option(help="Write the pictures there instead, as SVG and PNG.")
    ] = None,
) -> None:
    """Show stored verdicts, or what a gate found, in another format; a changed one is refused.

    Examples:

        auditor audit my_record --format json --output verdict.json

        auditor render verdict.json --format sarif --output verdict.sarif

        auditor render verdict.json --pictures folder
    """
    from auditor.report.entries import GATE_SCHEMA

    documents: list[dict[str, Any]] = []
    try:
        for path in verdicts:
            documents += read_documents(path)
        gates = [one for one in documents if one["schema"] == GATE_SCHEMA]
        if gates and len(documents) > 1:
            raise SubmissionError(
                f"expected verdicts or the document of one gate, got {len(documents)} documents"
            )
    except AuditorError as error:
        complain(str(path), error)
        raise typer.Exit(2) from error
    if pictures is not None:
        _draw([one for one in documents if one["schema"] != GATE_SCHEMA], pictures)
    elif gates:
        show_gate(gates[0], output_format, output, None)
    else:
        show(documents, output_format, output, None)


def _draw(documents: Sequence[dict[str, Any]], folder: Path) -> None:
    """Each picture as SVG, and as PNG where the library for that is there."""
    from auditor.report.pictures import png, svg_files

    drawn = {
        f"{number}-{name}" if len(documents) > 1 else name: svg
        for number, document in enumerate(documents, 1)
        for name, svg in svg_files(document).items()
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, svg in drawn.items():
            (folder / f"{name}.svg").write_text(svg, encoding="utf-8")
        for name, svg in drawn.items():
            (folder / f"{name}.png").write_bytes(png(svg))
    except OSError as error:
        complain(str(folder), SubmissionError(f"cannot be written: {error}"))
        raise typer.Exit(2) from error
    except ToolError as error:
        complain(str(folder), error)
    typer.echo(f"{folder}: {', '.join(drawn) or 'nothing to draw'}")


def read_documents(path: Path) -> list[dict[str, Any]]:
    """What a file holds; SubmissionError where it is no unchanged document of ours."""
    from auditor.report.entries import GATE_SCHEMA, is_gate, is_verdict
    from auditor.report.json_v1 import SCHEMA

    try:
        found = json.loads(path.read_bytes())
        documents: list[dict[str, Any]] = found if isinstance(found, list) else [found]
        unchanged = all(
            is_gate(one) if one["schema"] == GATE_SCHEMA else is_verdict(one) for one in documents
        )
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
    """Print or write verdicts; several JSON documents make an array."""
    from auditor.report.entries import Report

    report = Report.of_verdicts(documents)
    if html is not None:
        write(html, _text(report, Format.HTML))
    if documents:
        shown: Any = documents[0] if len(documents) == 1 else list(documents)
        _put(report, shown, output_format, output)


def show_gate(
    document: dict[str, Any], output_format: Format, output: Path | None, html: Path | None
) -> None:
    """Print or write what a gate found."""
    from auditor.report.entries import Report

    report = Report.of_gate(document)
    if html is not None:
        write(html, _text(report, Format.HTML))
    _put(report, document, output_format, output)


def _put(report: "Report", shown: Any, output_format: Format, output: Path | None) -> None:
    """One report to a file or to stdout; `shown` is its JSON."""
    if output_format is Format.TEXT:
        from rich.console import Console

        from auditor.report.text import render_report

        if output is None:
            render_report(report, Console())
            return
        page = io.StringIO()
        render_report(report, Console(file=page, width=100))
        text = page.getvalue()
    elif output_format is Format.JSON:
        text = json.dumps(shown, indent=1, ensure_ascii=False) + "\n"
    else:
        text = _text(report, output_format)
    if output is None:
        sys.stdout.write(text)
    else:
        write(output, text)


def _text(report: "Report", output_format: Format) -> str:
    """A report in a format that is one text."""
    match output_format:
        case Format.SARIF:
            from auditor.report.sarif import render_sarif

            return json.dumps(render_sarif(report), indent=1, ensure_ascii=False) + "\n"
        case Format.JUNIT:
            from auditor.report.junit import render_junit

            return render_junit(report)
        case Format.MARKDOWN:
            from auditor.report.markdown import render_markdown

            return render_markdown(report)
        case Format.HTML:
            from auditor.report.html import render_report_html

            return render_report_html(report)
        case Format.TEXT | Format.JSON:
            raise AssertionError(f"{output_format} is made elsewhere")

"""The verdict for a terminal or a pipe: same words with and without colour."""

from collections.abc import Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from auditor.report import figures, timeline
from auditor.report.entries import Entry, Report, Seen
from auditor.report.summary import advice, summary
from auditor.report.words import NAMES, clean, digest, figure, folder, number, place, seen

STYLES = {"pass": "green", "fail": "bold red", "inconclusive": "yellow", "not-applicable": "dim"}
MOST_FINDINGS = 20
"""Findings of one rule that are printed; the JSON has them all."""
LONGEST_RULE = 19
FIRST_COLUMN = 26
COLUMN = 18
"""Characters that the rule ids, the first column and a column with an outcome need."""


def render_text(documents: Sequence[dict[str, Any]], console: Console) -> None:
    """Print one verdict, or several side by side and what was found in each."""
    page = _Page(console)
    if len(documents) > 1:
        columns = max(1, (console.width - FIRST_COLUMN) // COLUMN)
        for at in range(0, len(documents), columns):
            page.comparison(documents[at : at + columns])
    for document in documents:
        page.headline(document)
        if len(documents) == 1:
            page.rules(document)
            page.figures(document)
        page.findings(document)
        page.lists(document)


def render_report(report: Report, console: Console) -> None:
    """Print what was found of a change, or verdicts alone: the verdicts, then what is beside them.

    Quiet where all is well: nothing is said of a change that passes every rule about changes.
    """
    render_text([dict(verdict) for verdict in report.verdicts], console)
    page = _Page(console)
    for entry in report.entries:
        page.record(entry)
    page.change(report)


class _Page:
    """Prints pieces of a report; knows whether the terminal can show more than ASCII."""

    def __init__(self, console: Console) -> None:
        """Look at the console once."""
        self._console = console
        self._ascii = console.options.ascii_only or console.is_dumb_terminal

    def headline(self, document: dict[str, Any]) -> None:
        """Which submission, the outcome, and why in a paragraph."""
        self._console.print()
        line = self._text(folder(document), "bold")
        line.append("  ")
        self._console.print(line.append_text(self._outcome(document["outcome"])))
        about = [
            f"verdict {digest(document)}",
            clean(document["ruleset"], 80),
            clean(document["engine"], 80),
            f"{number(document['seconds'])} s",
        ]
        self._print(", ".join(about), "dim")
        self._print(" ".join(summary(document)))

    def rules(self, document: dict[str, Any]) -> None:
        """A table with one line a rule."""
        table = self._table("rule", "outcome", "strength", "what was seen")
        for column in table.columns[:3]:
            column.no_wrap = True
        for result in document["results"]:
            table.add_row(
                self._text(clean(result["rule"], 40)),
                self._outcome(result["outcome"]),
                self._text(result["strength"] or ""),
                self._text(seen(result)),
            )
        self._console.print(table)

    def comparison(self, documents: Sequence[dict[str, Any]]) -> None:
        """A table with one column a submission: rules first, then figures."""
        table = self._table("", *(folder(document) for document in documents))
        table.add_row(
            self._text("verdict", "bold"), *(self._outcome(d["outcome"]) for d in documents)
        )
        by_rule = [{result["rule"]: result for result in d["results"]} for d in documents]
        for rule in dict.fromkeys(rule for results in by_rule for rule in results):
            cells = [self._cell(results.get(rule)) for results in by_rule]
            table.add_row(self._text(clean(rule, 40)), *cells)
        table.add_section()
        for same in zip(*(figures.rows(document) for document in documents), strict=True):
            name = f"{same[0].name}, {same[0].unit}"
            table.add_row(self._text(name), *(self._text(row.value or "not known") for row in same))
        self._console.print(table)

    def figures(self, document: dict[str, Any]) -> None:
        """The key figures that are known, and what the timeline showed."""
        known = [row for row in figures.rows(document) if row.value]
        if known:
            self._heading("Figures")
            table = Table(box=None, show_header=False, pad_edge=False)
            for justify in ("left", "right", "left"):
                table.add_column(overflow="fold", justify=justify)
            for row in known:
                table.add_row(
                    self._text(row.name), self._text(row.value), self._text(row.unit, "dim")
                )
            self._console.print(Padding(table, (0, 0, 0, 2), expand=False))
        recorded = figures.fact(document, "Timeline")
        if recorded is not None:
            self._heading("Order of events")
            for sentence in timeline.describe(recorded, timeline.marks(recorded)):
                self._print(sentence, indent=2)

    def findings(self, document: dict[str, Any]) -> None:
        """Every finding with its place, the line there, and its figures."""
        for result in document["results"]:
            found = result["findings"]
            if not found:
                continue
            self._heading(clean(result["rule"], 40), self._outcome(result["outcome"]))
            if result["reason"] is not None:
                self._print(clean(result["reason"]), indent=2)
            for item in found[:MOST_FINDINGS]:
                self._print(f"{place(item['location'])}: {clean(item['message'])}", indent=2)
                if item["location"]["text"] is not None:
                    self._print(f"| {clean(item['location']['text'], 400)}", "dim", indent=4)
                numbers = [f"{clean(k, 80)} {figure(k, v)}" for k, v in item["evidence"].items()]
                if numbers:
                    self._print(", ".join(numbers), "dim", indent=4)
            if len(found) > MOST_FINDINGS:
                self._print(f"{len(found) - MOST_FINDINGS:,} more, in the JSON", indent=2)
            for sentence in advice(result["rule"]):
                self._print(sentence, indent=2)

    def record(self, entry: Entry) -> None:
        """What became of a folder, where its verdict does not say it."""
        if entry.change in ("renamed", "copied", "deleted") or entry.error is not None:
            origin = f" from {clean(entry.origin)}" if entry.origin is not None else ""
            self._heading(f"{clean(entry.folder)}: {entry.change or 'not audited'}{origin}")
        if entry.error is not None:
            self._print(f"could not be audited: {clean(entry.error)}", indent=2)
        self._accepted(entry.findings)

    def change(self, report: Report) -> None:
        """The answers about the change itself, and the outcome of it all."""
        found = report.findings
        for result in report.results:
            if result["outcome"] in ("pass", "not-applicable"):
                continue
            self._heading(clean(result["rule"], 40), self._outcome(result["outcome"]))
            if result["reason"] is not None:
                self._print(clean(result["reason"]), indent=2)
            mine = [one for one in found if one.rule == result["rule"]]
            for one in mine[:MOST_FINDINGS]:
                self._print(f"{one.place}: {one.message}", indent=2)
            if len(mine) > MOST_FINDINGS:
                self._print(f"{len(mine) - MOST_FINDINGS:,} more, in the JSON", indent=2)
            for sentence in advice(result["rule"]):
                self._print(sentence, indent=2)
        self._accepted(found)
        if any(entry.change is not None for entry in report.entries):
            self._heading("The change", self._outcome(report.outcome))

    def _accepted(self, found: Sequence[Seen]) -> None:
        """Findings that somebody lives with, each with the reason."""
        kept = [one for one in found if one.accepted is not None]
        if kept:
            self._heading("Accepted")
        for one in kept:
            self._print(f"{one.place}: {clean(one.rule, 40)}, {one.fingerprint}", indent=2)
            self._print(one.acceptance, "dim", indent=4)

    def lists(self, document: dict[str, Any]) -> None:
        """What the run changed, and why it gave no evidence."""
        if document["overrides"]:
            self._heading("Settings that the run changed")
            for change in document["overrides"]:
                self._print(clean(change, 400), indent=2)
        if document["trouble"] is not None:
            self._heading("The run gave no evidence")
            self._print(clean(document["trouble"]), indent=2)

    def _table(self, *names: str) -> Table:
        """An empty table with a line under its head."""
        lines = box.ASCII2 if self._ascii else box.SIMPLE_HEAD
        table = Table(box=lines, pad_edge=False, header_style="bold")
        for at, name in enumerate(names):
            width = LONGEST_RULE if at == 0 and self._console.width >= 60 else 0
            table.add_column(self._text(name), overflow="fold", min_width=width)
        return table

    def _cell(self, result: dict[str, Any] | None) -> Text:
        """Outcome and strength of a rule in the comparison."""
        if result is None:
            return self._text("not judged", "dim")
        cell = self._outcome(result["outcome"])
        return cell.append(f" {result['strength']}", "dim") if result["strength"] else cell

    def _outcome(self, outcome: str) -> Text:
        """The outcome in words; the colour only repeats them."""
        return Text(NAMES[outcome], STYLES[outcome])

    def _heading(self, words: str, after: Text | None = None) -> None:
        """A line that names what follows."""
        self._console.print()
        line = self._text(words, "bold")
        if after is not None:
            line.append("  ").append_text(after)
        self._console.print(line)

    def _print(self, words: str, style: str = "", indent: int = 0) -> None:
        """Words that are never read as markup, wrapped under their own start."""
        room = max(self._console.width - indent, 20)
        for line in self._text(words, style).wrap(self._console, room):
            line.rstrip()
            self._console.print(Text(" " * indent) + line)

    def _text(self, words: str, style: str = "") -> Text:
        """Words as the console can show them."""
        if self._ascii:
            words = words.replace("…", "...").encode("ascii", "backslashreplace").decode()
        return Text(words, style, overflow="fold")

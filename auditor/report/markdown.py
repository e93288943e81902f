"""The verdict as Markdown for a comment under a pull request: short, and bounded in length.

Everything that a submission wrote is made inert: no link, no image, no HTML, no mention of anybody
and no reference to another issue comes out of it.
"""

import re
from collections.abc import Iterator

from auditor.report.entries import Entry, Report, Seen
from auditor.report.summary import advice, proof, summary
from auditor.report.words import NAMES, clean

MARKER = "<!-- strict-prefix -->"
"""First line of every comment, by which the old one is found again."""
LIMIT = 60_000
"""Characters; GitHub refuses a comment of more than 65,536."""
MOST_FINDINGS = 10
"""Of one rule."""
_SPECIAL = re.compile(r"[^\w\s,;]|_")
_MORE = "\n_The rest does not fit in a comment: {left} more parts, in the report._\n"


def render_markdown(report: Report, limit: int = LIMIT) -> str:
    """The comment: the outcome, a line a record, then what was found, worst first."""
    head = f"{MARKER}\n### Strict Prefix: {NAMES[report.outcome]}\n"
    parts = [*_overview(report), *_change(report)]
    for entry in sorted(report.entries, key=_rank):
        parts += _record(entry)
    text, room = head, limit - len(_MORE) - 20
    for at, part in enumerate(parts):
        if len(text) + len(part) > room:
            return text + _MORE.format(left=len(parts) - at)
        text += part
    return text


def inert(words: object, limit: int = 600) -> str:
    """Words of a stranger as Markdown that shows them and does nothing else."""
    text = clean(words, limit).strip()
    return _SPECIAL.sub(lambda found: _harmless(found[0]), text).replace("www", "ww&#119;")


def _harmless(mark: str) -> str:
    """A punctuation mark as an entity; an empty comment keeps those apart that make references."""
    if mark in "-'\"!?%=+" or ord(mark) > 127:
        return mark if mark not in "-+=!" else f"&#{ord(mark)};"
    return f"&#{ord(mark)};" + ("<!-- -->" if mark in "@#:./" else "")


def _rank(entry: Entry) -> int:
    outcome = "error" if entry.verdict is None else entry.verdict["outcome"]
    return ("fail", "error", "inconclusive", "pass").index(outcome)


def _overview(report: Report) -> Iterator[str]:
    if not report.entries:
        yield "\nNo record folder is added or edited.\n"
        return
    yield "\n| record | change | verdict | digest |\n|---|---|---|---|\n"
    for entry in report.entries:
        outcome, digest = "" if entry.error is None else "not audited", ""
        if entry.verdict is not None:
            outcome = NAMES[entry.verdict["outcome"]]
            digest = f"`{entry.verdict['digest'][:12]}`"
        change = entry.change or ""
        if entry.origin is not None:
            change += f" from {inert(entry.origin, 200)}"
        yield f"| {inert(entry.folder, 200)} | {change} | {outcome} | {digest} |\n"


def _change(report: Report) -> Iterator[str]:
    """What was found about the change itself."""
    found = report.findings
    for result in report.results:
        if result["outcome"] in ("fail", "inconclusive"):
            mine = [seen for seen in found if seen.rule == result["rule"]]
            yield _rule(result["rule"], result["outcome"], None, result["reason"], mine)


def _record(entry: Entry) -> Iterator[str]:
    """One record: of one that passed, what proves it and nothing else."""
    if entry.error is not None:
        yield f"\n#### {inert(entry.folder, 200)}\n\nCould not be audited: {inert(entry.error)}\n"
    if entry.verdict is None:
        return
    if entry.verdict["outcome"] == "pass":
        if said := proof(entry.verdict):
            yield f"\n#### {inert(entry.folder, 200)}\n\n{inert(' '.join(said), 2_000)}\n"
        return
    yield f"\n#### {inert(entry.folder, 200)}\n\n{inert(' '.join(summary(entry.verdict)), 2_000)}\n"
    found = entry.findings
    for result in entry.verdict["results"]:
        mine = [seen for seen in found if seen.rule == result["rule"]]
        if result["outcome"] == "fail" or mine:
            yield _rule(
                result["rule"], result["outcome"], result["strength"], result["reason"], mine
            )
    undecided = [
        result
        for result in entry.verdict["results"]
        if result["outcome"] == "inconclusive" and not result["findings"]
    ]
    if undecided:
        yield f"\n<details><summary>{len(undecided)} rules could not be decided</summary>\n\n" + (
            "".join(f"- **{inert(r['rule'])}** {inert(r['reason'])}\n" for r in undecided)
            + "\n</details>\n"
        )


def _rule(
    rule: str, outcome: str, strength: str | None, reason: str | None, found: list[Seen]
) -> str:
    """A rule with its findings."""
    evidence = f" ({strength})" if strength else ""
    said = f": {inert(reason)}" if reason is not None else ""
    lines = [f"\n**{inert(rule, 40)}** {NAMES[outcome]}{evidence}{said}\n\n"]
    lines += map(_finding, found[:MOST_FINDINGS])
    if len(found) > MOST_FINDINGS:
        lines.append(f"- and {len(found) - MOST_FINDINGS:,} more\n")
    if found:
        lines.append(f"\n{' '.join(map(inert, advice(rule)))}\n")
    return "".join(lines)


def _finding(seen: Seen) -> str:
    line = f"- {inert(seen.place, 300)}: {inert(seen.message)}"
    if seen.location["text"] is not None:
        line += f"<br><sub>{inert(seen.location['text'], 200)}</sub>"
    if seen.accepted is not None:
        line += f"<br>{inert(seen.acceptance)}"
    return line + "\n"

"""The verdict as one HTML file that needs nothing else: no script, no font, no image to load."""

import functools
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from auditor.report import pictures
from auditor.report.entries import Report
from auditor.report.figures import Noise, fact, noise, rows
from auditor.report.summary import STRENGTHS, advice, probability, summary
from auditor.report.words import NAMES, clean, digest, figure, folder, number, place
from auditor.rules import RULES

MOST_FINDINGS = 20
"""Findings of one rule that are shown; the JSON has them all."""
MOST_ROWS = 60
"""Entries of one list or table in the evidence that are shown."""
MOST_DEPTH = 6
NESTED = (Mapping, list, tuple)


def render_html(documents: Sequence[dict[str, Any]], report: Report | None = None) -> str:
    """One self-contained page: the verdicts side by side where there are several, then each."""
    views = [_view(document, f"s{at}") for at, document in enumerate(documents, start=1)]
    page = environment().get_template("report.html.j2")
    return page.render(
        views=views,
        change=_change(report) if report is not None else None,
        rules=_rule_names(documents),
        titles={rule.id: rule.title for rule in RULES},
        scale=_scale([view["noise"] for view in views]),
        names=NAMES,
        strengths=STRENGTHS,
    )


def render_report_html(report: Report) -> str:
    """The page of what a gate found; verdicts alone look as `render_html` shows them."""
    return render_html([dict(verdict) for verdict in report.verdicts], report)


@functools.cache
def environment() -> Environment:
    """Templates of this package; every value is escaped unless it is markup made here."""
    environment = Environment(
        loader=PackageLoader("auditor.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        advice=advice,
        clean=clean,
        figure=figure,
        number=number,
        place=place,
        breakable=_breakable,
        powers=_powers,
    )
    return environment


def _breakable(name: str) -> Markup:
    """A name that may break where its parts meet."""
    return Markup(re.sub(r"([_/.]|-(?=\D)|[a-z0-9](?=[A-Z]))", r"\1<wbr>", str(escape(name))))


def _powers(text: str) -> Markup:
    """The text with its powers of e raised."""
    return Markup(re.sub(r"e\^-([\d.,]*\d)", r"e<sup>&minus;\1</sup>", str(escape(text))))


def _view(document: dict[str, Any], ident: str) -> dict[str, Any]:
    """What the template shows of one verdict."""
    bound = noise(document)
    evidence = [
        (clean(kind, 80), fact(document, kind) is None, _tree(_without_events(kind, value)))
        for kind, value in document["evidence"].items()
    ]
    return {
        "id": ident,
        "document": document,
        "folder": folder(document),
        "digest": digest(document),
        "results": {result["rule"]: result for result in document["results"]},
        "summary": summary(document),
        "rows": rows(document),
        "noise": bound,
        "bars": _bars(bound),
        "bound": probability(bound.ln_e) if bound and bound.ln_e > 0 else None,
        "pictures": pictures.timelines(document, ident),
        "gains": pictures.gains(document, ident),
        "moves": pictures.moves(document, ident),
        "sums": pictures.sums(document, ident),
        "evidence": evidence,
        "digests": _tree(document["submission"]["digests"]),
        "most": MOST_FINDINGS,
    }


def _change(report: Report) -> dict[str, Any] | None:
    """What is beside the verdicts of a change; None where there is nothing."""
    results = [one for one in report.results if one["outcome"] in ("fail", "inconclusive")]
    folders = [e for e in report.entries if e.error is not None or e.change == "deleted"]
    found = [*report.findings, *(seen for entry in report.entries for seen in entry.findings)]
    accepted = [seen for seen in found if seen.accepted is not None]
    if not (results or folders or accepted):
        return None
    return {"results": results, "folders": folders, "accepted": accepted, "most": MOST_FINDINGS}


def _rule_names(documents: Sequence[Mapping[str, Any]]) -> list[str]:
    """Every rule that any of the verdicts judged, in the order of the first that names it."""
    names = [result["rule"] for document in documents for result in document["results"]]
    return list(dict.fromkeys(names))


def _bars(bound: Noise | None) -> list[tuple[str, float]]:
    """The bars of one submission: before adaptation where it is known, and what it reports."""
    if bound is None:
        return []
    bars = [("reported", bound.reported_bits)]
    if bound.before_bits is not None:
        bars.insert(0, ("before adaptation", bound.before_bits))
    return bars


def _scale(bounds: Sequence[Noise | None]) -> dict[str, Any]:
    """One scale for all bars, in bits per token, with round numbers to read it by."""
    values = [0.1]
    for bound in bounds:
        if bound is not None:
            values += [bound.uniform_bits, bound.source_bits, *(bits for _, bits in _bars(bound))]
    most = max(value for value in values if math.isfinite(value)) * 1.06
    power = 10 ** math.floor(math.log10(most / 5))
    step = next(power * m for m in (1, 2, 5, 10) if power * m >= most / 5)
    return {"most": most, "ticks": [step * at for at in range(int(most / step) + 1)]}


def _without_events(kind: str, value: Any) -> Any:
    """The evidence without the thousands of events that the picture shows."""
    if kind == "Timeline" and isinstance(value, Mapping) and "events" in value:
        return {**value, "events": f"{len(value['events']):,} events, drawn above"}
    return value


def _tree(value: Any, depth: int = 0, name: str = "") -> Any:
    """A value as nested rows of harmless text, bounded in width and depth."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, NESTED):
        if not value:
            return "none"
        if depth >= MOST_DEPTH:
            return clean(value)
        if not isinstance(value, Mapping) and not any(isinstance(v, NESTED) for v in value):
            shown = [figure(name, inner) for inner in value[:MOST_ROWS]]
            rest = len(value) - MOST_ROWS
            return ", ".join(shown) + (f" and {rest:,} more, in the JSON" if rest > 0 else "")
        pairs = value.items() if isinstance(value, Mapping) else enumerate(value, start=1)
        rest = len(value) - MOST_ROWS
        kept = [
            (clean(key, 200), _tree(inner, depth + 1, str(key)))
            for key, inner in list(pairs)[:MOST_ROWS]
        ]
        return [*kept, ("…", f"{rest:,} more, in the JSON")] if rest > 0 else kept
    return figure(name, value)

"""All verdicts of a sweep on one page that needs nothing else: counts, and each verdict."""

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from auditor.report.html import environment
from auditor.report.words import NAMES, clean
from auditor.rules import RULES

OUTCOMES = ("fail", "inconclusive", "pass")
_MONTH = re.compile(r"(20\d\d-[01]\d)-\d\d")
BINS_BPB = (0.1, 0.3, 0.5, 0.7, 0.9, 1.0, 1.05, 1.1, 1.15, 1.2, 1.3, 1.5)
"""Edges of the classes of claimed scores; most records lie between 1.05 and 1.2."""
Counts = dict[str, Counter[str]]


def render_overview(lines: Iterable[Mapping[str, Any]]) -> str:
    """The page of the lines of a sweep."""
    by_rule: Counts = {rule.id: Counter() for rule in RULES}
    by_month: Counts = {}
    by_score: Counts = {_class(None, at): Counter() for at in range(len(BINS_BPB) + 1)}
    folders: list[dict[str, Any]] = []
    errors: list[dict[str, Any]] = []
    for number, line in enumerate(lines, 1):
        about = {"id": f"f{number}", "pr": line["pr"], "folder": clean(line["folder"], 160)}
        about["sha"] = clean(line["sha"], 12)
        verdict = line["verdict"]
        if verdict is None:
            errors.append({**about, "error": clean(line["error"]["message"], 300)})
            continue
        results = {result["rule"]: result for result in verdict["results"]}
        for rule, result in results.items():
            by_rule.setdefault(clean(rule, 60), Counter())[result["outcome"]] += 1
        bpb = (verdict["submission"]["claims"] or {}).get("val_bpb")
        folders.append({**about, **_row(verdict, results, bpb)})
        month = _MONTH.search(line["folder"])
        by_month.setdefault(month[1] if month else "no date", Counter())[verdict["outcome"]] += 1
        by_score.setdefault(_class(bpb), Counter())[verdict["outcome"]] += 1
    return (
        environment()
        .get_template("overview.html.j2")
        .render(
            folders=folders,
            errors=errors,
            totals=Counter(folder["outcome"] for folder in folders),
            charts=[
                ("Rules", "what each rule says of the folders", _bars(by_rule)),
                (
                    "Months",
                    "outcome by the date in the folder's name",
                    _bars(dict(sorted(by_month.items()))),
                ),
                ("Claimed scores", "outcome by claimed bits per byte", _bars(by_score)),
            ],
            failing={rule.id: [f for f in folders if rule.id in f["failed"]] for rule in RULES},
            titles={rule.id: rule.title for rule in RULES},
            names=NAMES,
            outcomes=OUTCOMES,
        )
    )


def _row(
    verdict: Mapping[str, Any], results: Mapping[str, Any], bpb: float | None
) -> dict[str, Any]:
    """What the page shows of one verdict."""
    failed = {}
    for rule, result in results.items():
        if result["outcome"] == "fail":
            first = result["findings"][0]
            failed[rule] = (clean(result["strength"], 20), clean(first["message"], 300))
    said = {
        outcome: [rule for rule, result in results.items() if result["outcome"] == outcome]
        for outcome in ("inconclusive", "pass")
    }
    return {
        "outcome": verdict["outcome"],
        "bpb": f"{bpb:.4f}" if isinstance(bpb, int | float) and math.isfinite(bpb) else "",
        "failed": failed,
        "digest": clean(verdict["digest"], 64),
        **said,
    }


def _class(bpb: Any, at: int | None = None) -> str:
    """The class of a claimed score, by value or by number."""
    if at is None:
        if not isinstance(bpb, int | float) or not math.isfinite(bpb):
            return "no claim"
        at = sum(bpb >= edge for edge in BINS_BPB)
    if at == 0:
        return f"under {BINS_BPB[0]:g}"
    if at == len(BINS_BPB):
        return f"{BINS_BPB[-1]:g} and more"
    return f"{BINS_BPB[at - 1]:g} to {BINS_BPB[at]:g}"


def _bars(counts: Counts) -> list[dict[str, Any]]:
    """Rows of a bar chart, on one scale."""
    most = max((counter.total() for counter in counts.values()), default=0) or 1
    return [
        {
            "name": name,
            "parts": [(one, counter[one], 100 * counter[one] / most) for one in OUTCOMES],
        }
        for name, counter in counts.items()
        if counter.total()
    ]

"""How often verdicts agree with what people said: precision and recall against a labels file.

A label names kinds of fault; a rule can show some of them, and says nothing of the others. A kind
is found when a rule that can show it failed the folder. A failure of a folder that people called
clean, and of the kind that they judged, is a false alarm until somebody shows otherwise; a failure
for something that the label does not speak of is listed, and counts neither way.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from auditor.errors import SubmissionError

SHOWN_BY: Mapping[str, tuple[str, ...]] = {
    "target-in-key": ("context-only-keys",),
    "unnormalised": ("full-distribution", "context-only-keys"),
    "update-before-score": ("score-before-update", "single-pass", "validation-independence"),
    "slot": ("score-before-update",),
    "two-pass": ("single-pass", "causal-cache", "score-before-update"),
    "oracle-selection": ("single-pass", "full-distribution", "strict-prefix"),
    "future-leak": ("strict-prefix", "score-before-update", "causal-cache"),
    "val-in-training": (
        "validation-independence",
        "score-before-update",
        "train-val-overlap",
    ),
    "train-data-at-eval": ("time-budget", "artifact-only"),
    "unpaid-tables": ("artifact-only",),
    "over-cap": ("artifact-size",),
    "eval-time": ("time-budget",),
    "train-time": ("time-budget",),
    "byte-accounting": ("byte-denominator",),
    "missing-evidence": ("packaging", "seeds", "claims-match"),
    "stat-significance": ("significance", "seeds"),
    "val-split": ("full-coverage",),
    "doc-boundary": ("document-boundary",),
}
"""Kind of fault of a label -> rules that can show it."""
KINDS: Mapping[str, str] = {
    "artifact-size": "limits",
    "time-budget": "limits",
    "packaging": "format",
    "claims-match": "evidence",
    "seeds": "evidence",
    "significance": "record-bar",
}
"""What a rule judges; `validity`, the score itself, where it is not named."""


@dataclass(frozen=True, slots=True)
class Disagreement:
    """One folder where a rule and a label say different things."""

    pr: int | None
    folder: str
    what: str
    """`missed`, `false-alarm` or `not-labelled`."""
    kind: str
    """Kind of fault of the label, or the rule that failed."""
    said: str
    """What the rules that could have shown it say, or the first finding."""


@dataclass(slots=True)
class Tally:
    """Counts of one kind of fault, or of one rule."""

    labelled: int = 0
    found: int = 0
    open: int = 0
    """Labelled, and a rule says INCONCLUSIVE."""
    false_alarms: int = 0
    not_labelled: int = 0

    @property
    def recall(self) -> float | None:
        """Share of what was labelled that was found."""
        return self.found / self.labelled if self.labelled else None

    @property
    def precision(self) -> float | None:
        """Share of failures on labelled folders that a label speaks for."""
        judged = self.found + self.false_alarms
        return self.found / judged if judged else None


@dataclass(slots=True)
class Agreement:
    """Everything that was counted."""

    rows: int = 0
    without_verdict: int = 0
    violations: int = 0
    caught: int = 0
    """Violations of validity of which at least one labelled kind was found."""
    clean: int = 0
    clean_failed: int = 0
    kinds: dict[str, Tally] = field(default_factory=dict)
    rules: dict[str, Tally] = field(default_factory=dict)
    disagreements: list[Disagreement] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Plain values, with the shares."""
        plain = asdict(self)
        for name in ("kinds", "rules"):
            for key, tally in getattr(self, name).items():
                plain[name][key]["recall"] = tally.recall
                plain[name][key]["precision"] = tally.precision
        return plain


def agreement(labels: Path, results: Path) -> Agreement:
    """Compare the lines of a sweep with a labels file."""
    verdicts = {(line["sha"], line["folder"]): line["verdict"] for line in _lines(results)}
    total = Agreement()
    for row in _lines(labels):
        if not row.get("folder"):
            continue
        total.rows += 1
        verdict = verdicts.get((row.get("reviewed_sha") or row["head_sha"], row["folder"]))
        if verdict is None:
            total.without_verdict += 1
        else:
            _compare(total, row, {result["rule"]: result for result in verdict["results"]})
    total.kinds = dict(sorted(total.kinds.items()))
    total.rules = dict(sorted(total.rules.items()))
    return total


def _compare(total: Agreement, row: dict[str, Any], results: Mapping[str, Any]) -> None:
    """Count one labelled folder."""
    failed = [rule for rule, result in results.items() if result["outcome"] == "fail"]
    kinds = row["rules"] if row["label"] != "clean" else []
    found = []
    for kind in kinds if row["label"] == "violation" else []:
        shown_by = [rule for rule in SHOWN_BY.get(kind, ()) if rule in results]
        tally = total.kinds.setdefault(kind, Tally())
        tally.labelled += 1
        if set(shown_by) & set(failed):
            tally.found += 1
            found.append(kind)
            continue
        tally.open += any(results[rule]["outcome"] == "inconclusive" for rule in shown_by)
        said = "; ".join(f"{rule}: {results[rule]['reason']}" for rule in shown_by)
        total.disagreements.append(
            Disagreement(row.get("pr"), row["folder"], "missed", kind, said or "no rule shows it")
        )
    if row["label"] == "violation" and row["kind"] == "validity":
        total.violations += 1
        total.caught += bool(found)
    spoken_for = {rule for kind in kinds for rule in SHOWN_BY.get(kind, ())}
    alarms = [rule for rule in failed if _is_alarm(rule, row)]
    if row["label"] == "clean":
        total.clean += 1
        total.clean_failed += bool(alarms)
    for rule in failed:
        tally = total.rules.setdefault(rule, Tally())
        if rule in spoken_for:
            tally.labelled += 1
            tally.found += 1
            continue
        what = "false-alarm" if rule in alarms else "not-labelled"
        tally.false_alarms += what == "false-alarm"
        tally.not_labelled += what == "not-labelled"
        said = next((one["message"] for one in results[rule]["findings"]), "")
        total.disagreements.append(Disagreement(row.get("pr"), row["folder"], what, rule, said))


def _is_alarm(rule: str, row: Mapping[str, Any]) -> bool:
    """Whether a label calls clean what a rule failed.

    An accepted record was judged in every respect; of others the label speaks of one kind.
    """
    if row["label"] != "clean":
        return False
    return row.get("authority") == "merged" or KINDS.get(rule, "validity") == row.get("kind")


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    try:
        rows: Sequence[Any] = [json.loads(line) for line in path.read_text().splitlines()]
    except OSError as error:
        raise SubmissionError(f"{path}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise SubmissionError(f"{path}: expected a line of JSON each, but {error}") from error
    for row in rows:
        if not isinstance(row, dict) or not ({"head_sha", "sha"} & row.keys()):
            raise SubmissionError(f"{path}: expected labels or lines of a sweep, found {row!r:.80}")
        yield row

"""The verdict as SARIF 2.1.0, for viewers of code and for code scanning.

A violation is a result of kind `fail`; a finding that decides nothing is `open`, which no viewer
counts as an alarm. What could not be judged is a notification. A line in packed source is a line of
a nested artifact, whose parent is the shipped file.
"""

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

from auditor.change_rules import CHANGE_RULES, ChangeRule
from auditor.report.entries import Entry, Report, Seen, packed_in
from auditor.report.summary import advice
from auditor.report.words import clean
from auditor.rules import RULES
from auditor.verdict import Rule

SCHEMA = (
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
)
FINGERPRINT = "strictPrefixFinding/v1"
BASE = "%SRCROOT%"
"""What viewers of code take for the top of the repository."""


def render_sarif(report: Report) -> dict[str, Any]:
    """One log with one run for all records."""
    files = _Artifacts()
    described = [_rule(rule) for rule in RULES]
    ours = {rule.id for rule in RULES}
    described += [_rule(rule) for rule in CHANGE_RULES if rule.id not in ours]
    known = {rule["id"]: at for at, rule in enumerate(described)}
    results = []
    for entry in report.entries:
        results += [_result(seen, files.location(entry, seen), known) for seen in entry.findings]
    results += [_result(seen, files.of_change(seen), known) for seen in report.findings]
    engines = {e.verdict["engine"] for e in report.entries if e.verdict is not None}
    run = {
        "tool": {
            "driver": {
                "name": "Strict Prefix",
                "fullName": ", ".join(sorted(engines)) or "strict-prefix",
                "rules": described,
            }
        },
        "columnKind": "unicodeCodePoints",
        "invocations": [
            {
                "executionSuccessful": all(e.error is None for e in report.entries),
                "toolExecutionNotifications": list(_notifications(report)),
            }
        ],
        "artifacts": files.all,
        "results": results,
        "properties": {
            "outcome": report.outcome,
            "verdicts": [
                {
                    "folder": entry.folder,
                    "outcome": entry.verdict["outcome"],
                    "digest": entry.verdict["digest"],
                }
                for entry in report.entries
                if entry.verdict is not None
            ],
        },
    }
    return {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}


def _rule(rule: Rule | ChangeRule) -> dict[str, Any]:
    return {
        "id": rule.id,
        "shortDescription": {"text": rule.title},
        "fullDescription": {"text": rule.matters},
        "help": {"text": rule.documentation.strip(), "markdown": rule.documentation.strip()},
        "defaultConfiguration": {"level": "error"},
        "properties": {"tags": [rule.authority]},
    }


def _result(seen: Seen, location: dict[str, Any], known: Mapping[str, int]) -> dict[str, Any]:
    failed = seen.outcome == "fail"
    result: dict[str, Any] = {
        "ruleId": seen.rule,
        "kind": "fail" if failed else "open",
        "level": "error" if failed else "none",
        "message": {"text": f"{seen.place}: {seen.message}\n{chr(10).join(advice(seen.rule))}"},
        "locations": [location],
        "partialFingerprints": {FINGERPRINT: seen.fingerprint},
        "properties": {"strength": seen.strength},
    }
    if seen.rule in known:
        result["ruleIndex"] = known[seen.rule]
    if seen.accepted is not None:
        result["suppressions"] = [
            {
                "kind": "external" if seen.accepted.by == "baseline" else "inSource",
                "status": "accepted" if seen.accepted.counts else "underReview",
                "justification": clean(seen.accepted.reason),
            }
        ]
    return result


def _notifications(report: Report) -> Iterator[dict[str, Any]]:
    """What could not be judged, and why."""
    for entry in report.entries:
        if entry.error is not None:
            yield {"level": "error", "message": {"text": f"{entry.folder}: {clean(entry.error)}"}}
        if entry.verdict is None:
            continue
        if entry.verdict["trouble"] is not None:
            text = f"{entry.folder}: {clean(entry.verdict['trouble'])}"
            yield {"level": "error", "message": {"text": text}}
        for result in entry.verdict["results"]:
            if result["outcome"] == "inconclusive":
                text = f"{entry.folder}: {clean(result['rule'])}: {clean(result['reason'])}"
                yield {
                    "level": "note",
                    "message": {"text": text},
                    "associatedRule": {"id": result["rule"]},
                }


class _Artifacts:
    """The files that findings point into, each once."""

    def __init__(self) -> None:
        """Begin with none."""
        self.all: list[dict[str, Any]] = []
        self._index: dict[str, int] = {}

    def location(self, entry: Entry, seen: Seen) -> dict[str, Any]:
        """The place of a finding of a record."""
        assert entry.verdict is not None
        file = seen.location["file"]
        if file is None:
            # A position of the stream is in no file; the record's script is what was judged.
            names = entry.verdict["submission"]["digests"]["files"]
            file = "train_gpt.py" if "train_gpt.py" in names else next(iter(names))
            return _location(self._artifact(entry, file), seen)
        return _location(self._artifact(entry, file), seen)

    def of_change(self, seen: Seen) -> dict[str, Any]:
        """The place of a finding about the change itself: a path in the repository."""
        return _location(self._add(_uri(seen.location["file"] or "."), {}), seen)

    def _artifact(self, entry: Entry, file: str) -> dict[str, Any]:
        assert entry.verdict is not None
        digests = entry.verdict["submission"]["digests"]["files"]
        outer = packed_in(entry.verdict, file)
        about: dict[str, Any] = {}
        if outer is not None:
            about["parentIndex"] = self._artifact(entry, outer)["index"]
            about["description"] = {"text": "source that the parent unpacks"}
        elif file in digests:
            about["hashes"] = {"sha-256": digests[file]}
        return self._add(_uri(f"{entry.folder}/{file}"), about)

    def _add(self, uri: str, about: Mapping[str, Any]) -> dict[str, Any]:
        """An artifactLocation."""
        if uri not in self._index:
            self._index[uri] = len(self.all)
            self.all.append({"location": {"uri": uri, "uriBaseId": BASE}, **about})
        return {"uri": uri, "uriBaseId": BASE, "index": self._index[uri]}


def _location(artifact: dict[str, Any], seen: Seen) -> dict[str, Any]:
    physical: dict[str, Any] = {"artifactLocation": artifact}
    where = seen.location
    if where["line"] is not None:
        physical["region"] = {"startLine": where["line"]}
        if where["text"] is not None:
            physical["region"]["snippet"] = {"text": clean(where["text"], 400)}
    location: dict[str, Any] = {"physicalLocation": physical}
    if where["position"] is not None:
        location["message"] = {"text": f"position {where['position']:,} of the validation stream"}
    return location


def _uri(path: str) -> str:
    """A path as a relative reference."""
    return quote(path.lstrip("/").encode("utf-8", "backslashreplace"), safe="/")

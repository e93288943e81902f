"""The verdict as JSON, frozen as v1; a change to the shape is a new version beside this file."""

import hashlib
from collections.abc import Mapping
from typing import Any

import rfc8785

from auditor.verdict import Finding, Result, Verdict

SCHEMA = "strict-prefix/verdict/v1"


def verdict_to_json(verdict: Verdict) -> dict[str, Any]:
    """Plain values in the frozen order of keys; see verdict-v1.schema.json."""
    document: dict[str, Any] = {
        "schema": SCHEMA,
        "digest": "",
        "outcome": verdict.outcome.value,
        "ruleset": verdict.ruleset,
        "engine": verdict.engine,
        "submission": dict(verdict.submission),
        "results": [result_to_json(result) for result in verdict.results],
        "evidence": dict(verdict.evidence),
        "overrides": list(verdict.overrides),
        "trouble": verdict.trouble,
        "seconds": round(verdict.seconds, 3),
    }
    document = plain(document)
    document["digest"] = digest_of(document)
    return document


def digest_of(document: dict[str, Any]) -> str:
    """SHA-256 of what was judged and said: canonical JSON without clock, folder name and digest."""
    said = {key: value for key, value in document.items() if key not in ("seconds", "digest")}
    said["submission"] = {k: v for k, v in document["submission"].items() if k != "folder"}
    return hashlib.sha256(rfc8785.dumps(said)).hexdigest()


def plain(value: Any) -> Any:
    """The value as JSON gives it back: lists for tuples, text without halves of characters.

    Half a character (a lone surrogate) comes from file names that are not UTF-8 and from escapes in
    submission.json; canonical JSON has no form for it.
    """
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, Mapping):
        return {plain(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    return value


def result_to_json(result: Result) -> dict[str, Any]:
    """One rule's answer in the same form."""
    return {
        "rule": result.rule,
        "outcome": result.outcome.value,
        "strength": result.strength.value if result.strength else None,
        "reason": result.reason,
        "findings": [_finding(finding) for finding in result.findings],
    }


def _finding(finding: Finding) -> dict[str, Any]:
    place = finding.location
    return {
        "message": finding.message,
        "location": {
            "file": place.file,
            "line": place.line,
            "position": place.position,
            "text": place.text,
        },
        "evidence": dict(finding.numbers),
    }

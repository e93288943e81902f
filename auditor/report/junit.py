"""The verdict as JUnit XML: a suite a record, a case a rule.

A violation is a failure; what could not be decided and what does not apply is skipped, with the
reason; an unreadable record and a run without evidence are errors. The form is the narrow one that
Ant's schema and Jenkins's both allow.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from xml.etree import ElementTree as ET

from auditor.report.entries import Entry, Report, Seen
from auditor.report.summary import advice
from auditor.report.words import clean

XML_REFUSES = dict.fromkeys([*range(32), *range(0x7F, 0xA0), 0xFFFE, 0xFFFF], "?")
MOST_MESSAGE = 400


def render_junit(report: Report, now: datetime | None = None) -> str:
    """One document; `now` is the time that the format asks for, as a verdict keeps none."""
    stamp = (now or datetime.now(UTC)).strftime("%Y-%m-%dT%H:%M:%S")
    top = ET.Element("testsuites")
    for entry in report.entries:
        _suite(top, stamp, entry.folder, _cases_of(entry), _properties(entry), entry)
    if report.results:
        cases = _cases(report.results, report.findings)
        _suite(top, stamp, "the change itself", cases, {}, None)
    ET.indent(top)
    body = ET.tostring(top, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{body}\n'


Case = tuple[str, str | None, str, str]
"""Name, element (`failure`, `error`, `skipped` or None), message and text."""


def _cases_of(entry: Entry) -> list[Case]:
    cases: list[Case] = []
    if entry.error is not None:
        cases.append(("reading", "error", entry.error, entry.error))
    if entry.verdict is None:
        return cases
    if entry.verdict["trouble"] is not None:
        cases.append(("running", "error", entry.verdict["trouble"], entry.verdict["trouble"]))
    return cases + _cases(entry.verdict["results"], entry.findings)


def _cases(results: Sequence[Mapping[str, Any]], findings: Sequence[Seen]) -> list[Case]:
    cases: list[Case] = []
    for result in results:
        mine = [seen for seen in findings if seen.rule == result["rule"]]
        open_ = [seen for seen in mine if seen.accepted is None or not seen.accepted.counts]
        lines = [
            result["reason"] or "",
            *map(_line, mine),
            *(advice(result["rule"]) if mine else ()),
        ]
        text = "\n".join(lines).strip()
        match result["outcome"]:
            case "pass":
                cases.append((result["rule"], None, "", ""))
            case "fail" if open_:
                cases.append((result["rule"], "failure", open_[0].message, text))
            case "fail":
                cases.append((result["rule"], "skipped", "accepted", text))
            case _:
                cases.append((result["rule"], "skipped", result["reason"] or "", text))
    return cases


def _line(seen: Seen) -> str:
    """A finding in one line, with why it is accepted."""
    line = f"{seen.place}: {seen.message}"
    return line if seen.accepted is None else f"{line} [{seen.acceptance}]"


def _properties(entry: Entry) -> dict[str, str]:
    if entry.verdict is None:
        return {}
    names = ("outcome", "digest", "ruleset", "engine")
    return {name: entry.verdict[name] for name in names}


def _suite(
    top: ET.Element,
    stamp: str,
    name: str,
    cases: Sequence[Case],
    properties: Mapping[str, str],
    entry: Entry | None,
) -> None:
    kinds = [kind for _, kind, _, _ in cases]
    seconds = entry.verdict["seconds"] if entry is not None and entry.verdict is not None else 0
    suite = ET.SubElement(
        top,
        "testsuite",
        {
            "name": _text(name, 200) or "record",
            "package": "strict-prefix",
            "id": str(len(top)),
            "timestamp": stamp,
            "hostname": "localhost",
            "tests": str(len(cases)),
            "failures": str(kinds.count("failure")),
            "errors": str(kinds.count("error")),
            "skipped": str(kinds.count("skipped")),
            "time": f"{seconds:.3f}",
        },
    )
    about = ET.SubElement(suite, "properties")
    for key, value in properties.items():
        ET.SubElement(about, "property", {"name": key, "value": _text(value)})
    for rule, kind, message, text in cases:
        place = {"name": _text(rule, 200), "classname": _text(name, 200), "time": "0.000"}
        case = ET.SubElement(suite, "testcase", place)
        if kind is not None:
            attributes = {"message": _text(message, MOST_MESSAGE)}
            if kind != "skipped":
                attributes["type"] = "violation" if kind == "failure" else "trouble"
            ET.SubElement(case, kind, attributes).text = "\n".join(map(_text, text.splitlines()))
    ET.SubElement(suite, "system-out")
    ET.SubElement(suite, "system-err")


def _text(value: str, limit: int = 2_000) -> str:
    """Words that XML can hold."""
    return clean(value, limit).translate(XML_REFUSES).strip()

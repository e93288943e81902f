"""SARIF and JUnit against the schemas of their owners, and fingerprints that an edit leaves."""

import contextlib
import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import jsonschema
import pytest
import xmlschema
from hypothesis import given, settings
from hypothesis import strategies as st

from auditor.audit import audit
from auditor.report.entries import Acceptance, Entry, Report, findings
from auditor.report.json_v1 import verdict_to_json
from auditor.report.junit import render_junit
from auditor.report.sarif import FINGERPRINT, render_sarif
from auditor.submission import Submission
from auditor.verdict import Finding, Location, Outcome, Result, Strength
from tests.auditor.report.documents import FINDING, document, documents
from tests.systems import record

SCHEMAS = Path(__file__).parent / "schemas"
SARIF = jsonschema.Draft4Validator(json.loads((SCHEMAS / "sarif-schema-2.1.0.json").read_text()))
JUNIT = [xmlschema.XMLSchema(SCHEMAS / f"junit-{who}.xsd") for who in ("ant", "jenkins")]
NOON = datetime(2026, 5, 2, 12, tzinfo=UTC)
LAYER = Finding("packed", Location(file="train_gpt.py (layer 2)", line=34, text="t[y]"))


@st.composite
def reports(draw: st.DrawFn) -> Report:
    """A report of anything: verdicts, unreadable records, accepted findings, a change."""
    several = draw(st.lists(documents(), max_size=2))
    entries = []
    for one in several:
        folder = one["submission"]["folder"]
        accepted = {
            seen.fingerprint: Acceptance(
                reason=draw(st.text()), by=draw(st.sampled_from(["baseline", "comment"]))
            )
            for seen in findings(one["results"], folder, {})
            if draw(st.sampled_from([True, False]))
        }
        entries.append(
            Entry(
                folder=folder,
                verdict=one,
                change=draw(st.sampled_from(["added", None])),
                accepted=accepted,
            )
        )
    if draw(st.sampled_from([True, False])):
        entries.append(Entry(folder="x/y z", verdict=None, error=draw(st.text(min_size=1))))
    change = several[0]["results"] if several and draw(st.sampled_from([True, False])) else ()
    return Report(entries=tuple(entries), outcome="fail", results=change)


@settings(max_examples=40, deadline=None)
@given(reports())
def test_every_report_is_valid_sarif(report):
    SARIF.validate(json.loads(json.dumps(render_sarif(report))))


@settings(max_examples=40, deadline=None)
@given(reports())
def test_every_report_is_valid_junit(report):
    text = render_junit(report, NOON)
    for schema in JUNIT:
        schema.validate(ET.fromstring(text))


def test_what_is_not_sarif_or_junit_is_noticed():
    """The schemas do say no."""
    log = render_sarif(Report.of_verdicts([document()]))
    log["runs"][0]["results"][0]["kind"] = "wrong"
    assert not SARIF.is_valid(log)
    text = render_junit(Report.of_verdicts([document()]), NOON).replace("<failure", "<fault")
    for schema in JUNIT:
        assert not schema.is_valid(ET.fromstring(text.replace("</failure", "</fault")))


def test_a_finding_has_its_line_in_the_shipped_file_or_in_what_it_unpacks():
    results = (Result("causal-cache", Outcome.FAIL, Strength.SOURCE, None, (FINDING, LAYER)),)
    run = render_sarif(Report.of_verdicts([document(results=results)]))["runs"][0]
    plain, packed = (one["locations"][0]["physicalLocation"] for one in run["results"])
    assert plain["region"] == {"startLine": 7, "snippet": {"text": "t[y]"}}
    assert plain["artifactLocation"]["uri"] == "2026-03-25_Ngram/train_gpt.py"
    assert packed["region"]["startLine"] == 34
    inner = run["artifacts"][packed["artifactLocation"]["index"]]
    outer = run["artifacts"][inner["parentIndex"]]
    assert outer["hashes"] == {"sha-256": "1" * 64}
    assert outer["location"]["uri"] == plain["artifactLocation"]["uri"]


def test_hints_are_open_and_reasons_are_notifications():
    hint = Result("causal-cache", Outcome.INCONCLUSIVE, Strength.SOURCE, "unclear", (FINDING,))
    run = render_sarif(Report.of_verdicts([document(results=(hint,))]))["runs"][0]
    assert [(one["kind"], one["level"]) for one in run["results"]] == [("open", "none")]
    (said,) = run["invocations"][0]["toolExecutionNotifications"]
    assert said["associatedRule"] == {"id": "causal-cache"}
    assert "unclear" in said["message"]["text"]


def test_junit_counts_what_it_shows():
    suite = ET.fromstring(render_junit(Report.of_verdicts([document(trouble="died")]), NOON))[0]
    assert {name: suite.get(name) for name in ("tests", "failures", "errors", "skipped")} == {
        "tests": "5",
        "failures": "1",
        "errors": "1",
        "skipped": "2",
    }
    assert [case.get("name") for case in suite.iter("testcase") if len(case) == 0] == [
        "full-distribution"
    ]


def accepting(counts: bool) -> Report:
    whole = document()
    (seen,) = findings(whole["results"], whole["submission"]["folder"], {})
    acceptance = Acceptance(reason="known since #1", by="baseline", counts=counts)
    entry = Entry(
        folder=whole["submission"]["folder"],
        verdict=whole,
        accepted={seen.fingerprint: acceptance},
    )
    return Report(entries=(entry,), outcome="inconclusive")


@pytest.mark.parametrize("counts", [True, False])
def test_an_accepted_finding_is_shown_as_such_and_not_dropped(counts):
    (result,) = render_sarif(accepting(counts))["runs"][0]["results"]
    (said,) = result["suppressions"]
    assert said["justification"] == "known since #1"
    assert said["status"] == ("accepted" if counts else "underReview")
    junit = ET.fromstring(render_junit(accepting(counts), NOON))
    shown = junit.find(".//testcase[@name='context-only-keys']")
    assert shown is not None
    assert shown[0].tag == ("skipped" if counts else "failure")
    assert "known since #1" in (shown[0].text or "")


def fingerprints(submission: Submission) -> list[str]:
    whole = verdict_to_json(audit(submission))
    results = render_sarif(Report.of_verdicts([whole]))["runs"][0]["results"]
    return [one["partialFingerprints"][FINGERPRINT] for one in results]


def edited(script: str) -> Submission:
    files = {path: file.data for path, file in record("unnormalised").files.items()}
    return Submission._of("small", {**files, "train_gpt.py": script.encode()})


def test_fingerprints_survive_an_edit_above_and_change_with_the_line():
    script = record("unnormalised").files["train_gpt.py"].text
    before = fingerprints(edited(script))
    assert before
    assert len(set(before)) == len(before)
    moved = fingerprints(edited(f'"""A new docstring."""\n\nimport colorsys\n\n{script}'))
    assert moved == before
    whole = verdict_to_json(audit(edited(script)))
    line = next(
        item["location"]["text"]
        for result in whole["results"]
        for item in result["findings"]
        if item["location"]["text"] is not None
    )
    assert fingerprints(edited(script.replace(line, f"{line}  # changed"))) != before


def test_equal_lines_have_fingerprints_of_their_own():
    twice = (Result("causal-cache", Outcome.FAIL, Strength.SOURCE, None, (FINDING, FINDING)),)
    first, second = findings(document(results=twice)["results"], "a/b", {})
    assert first.fingerprint != second.fingerprint
    again, _ = findings(document(results=twice)["results"], "elsewhere/b", {})
    assert again.fingerprint == first.fingerprint
    other, _ = findings(document(results=twice)["results"], "a/c", {})
    assert other.fingerprint != first.fingerprint


@pytest.mark.parametrize("form", ["json", "sarif", "junit", "markdown", "html"])
def test_a_stored_verdict_is_shown_in_every_form(form, tmp_path):
    stored = tmp_path / "verdict.json"
    stored.write_text(json.dumps(document()))
    done = auditor("render", stored, "--format", form)
    assert done.returncode == 0, done.stderr
    assert "reads the answer" in done.stdout


def test_text_is_coloured_and_fitted_on_a_terminal_and_plain_in_a_pipe(tmp_path):
    stored = tmp_path / "verdict.json"
    stored.write_text(json.dumps(document()))
    assert "\x1b" not in auditor("render", stored).stdout
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", 40, 60, 0, 0))
    auditor("render", stored, stdout=theirs, TERM="xterm-256color")
    os.close(theirs)
    shown = b""
    with contextlib.suppress(OSError):  # the end of a terminal
        while part := os.read(ours, 65_536):
            shown += part
    os.close(ours)
    assert b"\x1b[1;31mFAIL" in shown
    plain = re.sub(rb"\x1b\[[\d;]*m", b"", shown).decode()
    assert max(map(len, plain.splitlines())) <= 60


def auditor(
    *words: object, stdout: int = subprocess.PIPE, **environment: str
) -> subprocess.CompletedProcess[Any]:
    return subprocess.run(
        [sys.executable, "-m", "auditor", *map(str, words)],
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        env={
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
            "PYTHONPATH": str(Path(__file__).parents[3]),
            **environment,
        },
        check=False,
    )

"""Precision and recall of a small sweep against labels."""

import json
from pathlib import Path

import pytest

from auditor.agreement import agreement
from auditor.errors import SubmissionError
from tests.auditor.test_cli import auditor


def verdict(**outcomes: str) -> dict[str, object]:
    findings = [{"message": "seen", "location": {}, "evidence": {}}]
    return {
        "results": [
            {
                "rule": rule.replace("_", "-"),
                "outcome": outcome,
                "reason": "because",
                "findings": findings if outcome == "fail" else [],
            }
            for rule, outcome in outcomes.items()
        ]
    }


ROWS = [
    # pr, label, kind, rules, authority, verdict
    (1, "violation", "validity", ["target-in-key"], "organiser", {"context_only_keys": "fail"}),
    (2, "violation", "validity", ["two-pass"], "organiser", {"single_pass": "inconclusive"}),
    (3, "clean", "validity", [], "merged", {"context_only_keys": "fail", "packaging": "fail"}),
    (4, "clean", "validity", [], "community", {"packaging": "fail"}),
    (5, "violation", "limits", ["over-cap"], "author", {"artifact_size": "pass", "seeds": "fail"}),
    (6, "disputed", "validity", ["slot"], "community", {"score_before_update": "fail"}),
]


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    labels, results = tmp_path / "labels.jsonl", tmp_path / "results.jsonl"
    with labels.open("w") as label_lines, results.open("w") as result_lines:
        for pr, label, kind, rules, authority, outcomes in ROWS:
            about = {"pr": pr, "head_sha": f"h{pr}", "folder": f"records/{pr}"}
            said = {"label": label, "kind": kind, "rules": rules, "authority": authority}
            label_lines.write(json.dumps(about | said) + "\n")
            line = {"sha": f"h{pr}", "folder": f"records/{pr}", "verdict": verdict(**outcomes)}
            result_lines.write(json.dumps(line) + "\n")
    return labels, results


def test_recall_is_of_labels_and_precision_of_failures(files):
    found = agreement(*files)
    assert (found.violations, found.caught, found.clean, found.clean_failed) == (2, 1, 2, 1)
    assert found.kinds["target-in-key"].recall == 1
    assert (found.kinds["two-pass"].recall, found.kinds["two-pass"].open) == (0, 1)
    assert found.kinds["over-cap"].recall == 0
    assert "slot" not in found.kinds  # a dispute has no right answer
    assert found.rules["context-only-keys"].precision == 0.5
    assert found.rules["score-before-update"].found == 1
    # An accepted record was judged in every respect, a folder that somebody looked at was not.
    packaging = found.rules["packaging"]
    assert (packaging.false_alarms, packaging.not_labelled) == (1, 1)
    assert {(one.pr, one.what, one.kind) for one in found.disagreements} == {
        (2, "missed", "two-pass"),
        (3, "false-alarm", "context-only-keys"),
        (3, "false-alarm", "packaging"),
        (4, "not-labelled", "packaging"),
        (5, "missed", "over-cap"),
        (5, "not-labelled", "seeds"),
    }


def test_the_command_prints_tables_or_json(files):
    labels, results = files
    done = auditor("score", results, "--labels", labels)
    assert done.returncode == 0
    assert "caught: 1 of 2; clean folders failed: 1 of 2" in done.stdout
    assert "false-alarm #3" in done.stdout
    plain = json.loads(auditor("score", results, "--labels", labels, "--format", "json").stdout)
    assert plain["kinds"]["target-in-key"]["recall"] == 1


def test_a_folder_without_a_verdict_is_counted_and_other_files_are_refused(files, tmp_path):
    labels, _ = files
    empty = tmp_path / "empty.jsonl"
    empty.write_text("")
    assert agreement(labels, empty).without_verdict == len(ROWS)
    empty.write_text("[1]\n")
    with pytest.raises(SubmissionError, match="expected labels or lines of a sweep"):
        agreement(labels, empty)
    with pytest.raises(SubmissionError, match="cannot be read"):
        agreement(labels, tmp_path / "absent")

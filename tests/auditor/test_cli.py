"""The command as people run it: exit codes, messages, formats."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from auditor.report.json_v1 import digest_of
from auditor.run.sandbox import missing
from tests.auditor.repositories import Repository
from tests.systems import record

ENVIRONMENT = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "COLUMNS": "120"}


def auditor(*words: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "auditor", *map(str, words)],
        capture_output=True,
        text=True,
        env={**ENVIRONMENT, "PYTHONPATH": str(Path(__file__).parents[2])},
        cwd=cwd,
        check=False,
    )


@pytest.fixture
def folder(tmp_path):
    """The small honest submission, as a folder."""
    made = tmp_path / "small"
    made.mkdir()
    record().write_to(made)
    return made


def test_an_audit_without_a_run_is_inconclusive_and_says_how_to_go_on(folder):
    done = auditor("audit", folder)
    assert done.returncode == 3
    assert "--run runs it on noise" in done.stdout
    assert done.stderr == ""


def test_fail_on_fail_lets_inconclusive_through(folder):
    assert auditor("audit", folder, "--fail-on", "fail").returncode == 0


def test_a_missing_file_is_a_fail(folder):
    (folder / "README.md").unlink()
    done = auditor("audit", folder)
    assert done.returncode == 1
    assert "README.md" in done.stdout


def test_json_is_one_document_whose_digest_fits_and_can_be_shown_again(folder, tmp_path):
    done = auditor("audit", folder, "--format", "json")
    document = json.loads(done.stdout)
    assert document["digest"] == digest_of(document)
    stored = tmp_path / "verdict.json"
    stored.write_text(done.stdout)
    shown = auditor("render", stored)
    assert shown.returncode == 0
    assert "packaging" in shown.stdout
    stored.write_text(done.stdout.replace('"inconclusive"', '"pass"'))
    changed = auditor("render", stored)
    assert changed.returncode == 2
    assert "whose digest fits" in changed.stderr


def test_the_report_is_one_html_file(folder, tmp_path):
    auditor("audit", folder, "--html", tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert page.startswith("<!doctype html>")
    assert "<script" not in page


def test_several_submissions_are_compared_and_the_worst_code_counts(folder, tmp_path):
    done = auditor("audit", folder, tmp_path / "absent")
    assert done.returncode == 2
    assert "absent: no such folder or archive" in done.stderr
    assert "INCONCLUSIVE" in done.stdout
    (tmp_path / "worse").mkdir()
    (tmp_path / "worse" / "train_gpt.py").write_text("")
    assert auditor("audit", folder, tmp_path / "absent", tmp_path / "worse").returncode == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("audit", "x", "--ruleset", "wishes"), "no ruleset 'wishes'"),
        (("audit", "x", "--sandbox", "wishes"), "no sandbox 'wishes'"),
        (("audit", "x", "--run-seconds", "0"), "run_seconds must be positive, got 0.0"),
        (("audit",), "Missing argument"),
        (("explain", "wishes"), "no rule 'wishes'"),
        (("render", "absent.json"), "expected a verdict"),
        (("gate", "--base", "a", "--head", "b", "--repo", "absent"), "expected a git repository"),
    ],
)
def test_bad_arguments_are_one_clear_sentence_and_exit_code_2(words, said, tmp_path):
    done = auditor(*words, cwd=tmp_path)
    assert done.returncode == 2
    assert said in " ".join(done.stderr.replace("│", " ").split())
    assert "Traceback" not in done.stderr


def test_a_report_that_cannot_be_written_is_said(folder, tmp_path):
    done = auditor("audit", folder, "--output", tmp_path / "no" / "x", "--format", "json")
    assert done.returncode == 2
    assert "cannot be written" in done.stderr


def test_a_run_that_does_not_end_in_a_score_is_exit_code_2(tmp_path):
    folder = tmp_path / "dies"
    folder.mkdir()
    record("dies").write_to(folder)
    done = auditor("audit", folder, "--run", "--sandbox", "none")
    assert done.returncode == 2
    assert "train_gpt.py: expected exit status 0, got 1: RuntimeError: no device" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.fixture
def change(tmp_path, folder):
    """A repository with a topic that adds the small submission."""
    made = Repository(tmp_path)
    made.git("commit", "-q", "--allow-empty", "-m", "x")
    made.branch()
    made.commit()
    return made


def test_the_gate_audits_what_a_change_adds(change, folder, tmp_path):
    words = ("gate", "--base", "main", "--head", "topic", "--repo", tmp_path)
    assert auditor(*words, "--fail-on", "fail").returncode == 0
    gated = auditor(*words, "--format", "json")
    assert gated.returncode == 3
    audited = json.loads(auditor("audit", folder, "--format", "json").stdout)
    (one,) = json.loads(gated.stdout)["records"]
    assert one["verdict"]["digest"] == audited["digest"]
    change.git("rm", "-q", "small/README.md")
    change.commit()
    assert auditor(*words).returncode == 1
    nothing = auditor("gate", "--base", "main", "--head", "main", "--repo", tmp_path)
    assert nothing.returncode == 0
    assert "no record folder differs" in nothing.stderr


def test_an_earlier_gate_is_shown_again_and_held_against_a_new_one(
    change, tmp_path, tmp_path_factory
):
    words = ("gate", "--base", "main", "--head", "topic", "--repo", tmp_path)
    stored = tmp_path_factory.mktemp("stored") / "gate.json"
    assert auditor(*words, "--format", "json", "--output", stored).returncode == 3
    assert auditor(*words, "--expect", stored).returncode == 3
    for form in ("text", "sarif", "junit", "markdown", "html", "json"):
        shown = auditor("render", stored, "--format", form)
        assert shown.returncode == 0, shown.stderr
        assert "small" in shown.stdout
    forged = stored.read_text().replace('"outcome": "inconclusive"', '"outcome": "pass"')
    stored.write_text(forged)
    done = auditor(*words, "--expect", stored)
    assert done.returncode == 2
    assert "expected an unchanged document" in done.stderr
    change.commit({"small/more.txt": "pushed meanwhile"})
    auditor(*words, "--format", "json", "--output", stored)
    change.commit({"small/more.txt": "and again"})
    done = auditor(*words, "--expect", stored)
    assert done.returncode == 2
    assert "head is " in done.stderr


def test_a_gate_that_cannot_look_says_so_and_is_exit_code_2(change, tmp_path):
    words = ("gate", "--base", "main", "--head", "topic", "--repo", tmp_path, "--fail-on", "fail")
    change.git("checkout", "-qB", "topic", "main")
    (tmp_path / "records").mkdir()
    (tmp_path / "records" / "linked").symlink_to("../small")
    change.commit()
    done = auditor(*words)
    assert done.returncode == 2
    assert "records/linked: expected a record folder, found a symbolic link" in done.stderr
    done = auditor("gate", "--base", "absent", "--head", "topic", "--repo", tmp_path)
    assert done.returncode == 2
    assert "expected 'absent' to name a commit" in done.stderr
    settings = tmp_path / "settings.toml"
    settings.write_text("wishes = 1")
    done = auditor(*words, "--config", settings)
    assert done.returncode == 2
    assert "no setting 'wishes'" in done.stderr


def test_every_rule_is_listed_and_explained():
    from auditor.change_rules import CHANGE_RULES
    from auditor.rules import RULES

    listed = auditor("rules").stdout
    for rule in (*RULES, *CHANGE_RULES):
        assert rule.id in listed
    about = auditor("explain", "nothing-else").stdout
    assert "can be wrong" in about
    assert "To mend it: Leave every file outside" in about
    explained = auditor("explain", "full-distribution")
    assert explained.returncode == 0
    assert "How it can be wrong" in explained.stdout


def test_help_names_the_exit_codes():
    shown = " ".join(auditor("--help").stdout.split())
    assert "0 pass, 1 fail, 2 could not audit" in shown
    assert auditor("--version").stdout.startswith("strict-prefix ")


def test_doctor_says_what_works():
    done = auditor("doctor")
    assert "sandbox" in done.stdout
    assert done.returncode in (0, 2)


def test_help_loads_nothing_that_draws_or_computes():
    code = "import sys, auditor.cli; print(*sorted({name.split('.')[0] for name in sys.modules}))"
    root = Path(__file__).parents[2]
    child = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root
    )
    heavy = {"rich", "numpy", "torch", "jinja2", "httpx2", "cryptography", "zstandard", "rfc8785"}
    assert heavy.isdisjoint(child.stdout.split())


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.skipif(
    missing("bubblewrap") is not None, reason=f"no sandbox here: {missing('bubblewrap')}"
)
def test_a_gate_runs_what_a_change_adds(tmp_path):
    repository = Repository(tmp_path)
    repository.commit({"README.md": "x"})
    repository.branch()
    for name, twin in (("honest", None), ("unnormalised", "unnormalised")):
        files = record(twin).files.items()
        repository.write({f"records/track/{name}/{path}": file.data for path, file in files})
    repository.commit()
    words = ("gate", "--base", "main", "--head", "topic", "--repo", tmp_path)
    run = ("--run", "--budget", "0", "--run-seconds", "200", "--seconds", "500")
    done = auditor(*words, *run, "--format", "json", "--fail-on", "fail")
    assert done.returncode == 1, done.stderr
    entries = {one["folder"]: one for one in json.loads(done.stdout)["records"]}
    rules = {
        name: {
            r["rule"]: (r["outcome"], r["strength"]) for r in entries[name]["verdict"]["results"]
        }
        for name in entries
    }
    failed, passed = ("fail", "proved"), ("pass", "ran")
    assert rules["records/track/unnormalised"]["full-distribution"] == failed
    assert rules["records/track/honest"]["full-distribution"] == passed
    # Nothing was checked out, and nothing of the run is left beside the repository.
    assert repository.git("status", "--porcelain") == ""

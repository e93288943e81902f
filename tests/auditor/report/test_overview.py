"""The page that sums a sweep up."""

import json
import re
from pathlib import Path

from auditor.audit import audit
from auditor.report.json_v1 import verdict_to_json
from auditor.report.overview import render_overview
from tests.auditor.inspect.records import claims, honest, submission
from tests.auditor.test_cli import auditor


def line(number: int, folder: str, **changes: str | None) -> dict[str, object]:
    document = verdict_to_json(audit(submission(honest(**changes))))
    about = {"ref": f"refs/pull/{number}/head", "pr": number, "sha": f"{number:040x}"}
    return {**about, "folder": folder, "verdict": document, "error": None}


LINES = [
    line(7, "records/2026-03-20_Good"),
    line(8, "records/2026-04-01_<b>Bad</b>", README_md=None),
    line(9, "records/undated", submission_json=claims({1337: 1.12034567}, 0.93)),
    {
        **line(10, "records/broken"),
        "verdict": None,
        "error": {"kind": "too-long", "message": "not read within 60 s"},
    },
]


def test_every_verdict_is_there_once_with_its_failures_linked():
    page = render_overview(LINES)
    assert "3 record folders: 2 fail, 1 inconclusive, 0 pass" in page
    assert "README.md is missing" in page
    (target,) = set(re.findall(r'<li><a href="#(f\d+)">#8 ', page))
    assert f'<tr id="{target}">' in page
    assert "not read within 60 s" in page
    assert "<b>Bad</b>" not in page
    assert "http" not in re.sub(r"http-equiv", "", page)


def test_months_and_scores_are_counted():
    page = render_overview(LINES)
    for name, count in (("2026-03", 1), ("no date", 1), ("0.9 to 1", 1), ("1.1 to 1.15", 2)):
        bars = page.split(f"<div>{name}</div>")[1].split("</div>")[0]
        assert sum(map(int, re.findall(r">(\d+)<", bars))) == count


def test_the_command_writes_the_page_and_says_what_is_wrong(tmp_path: Path):
    results = tmp_path / "out.jsonl"
    results.write_text("".join(json.dumps(one) + "\n" for one in LINES))
    page = tmp_path / "out.html"
    assert auditor("summarise", results, "-o", page).returncode == 0
    assert page.read_text() == render_overview(LINES)
    results.write_text("{}\n")
    done = auditor("summarise", results, "-o", page)
    assert done.returncode == 2
    assert "auditor: " in done.stderr

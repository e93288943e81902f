"""Which scripts of a labels file run to their final score, and why the others do not.

    python benchmarks/coverage.py REPO.git LABELS.jsonl OUTPUT.jsonl --seconds 150 --minutes 8

One run on noise for each script, one at a time. Each gives a line of JSON; a script that has a line
is not run again. Stops to begin new ones after `--minutes`.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

from auditor.audit import Plan, audit
from auditor.errors import AuditorError
from auditor.submission import Submission
from auditor.verdict import Outcome


def main() -> None:
    """Run what is not in the output yet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("repository")
    parser.add_argument("labels", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--seconds", type=float, default=150)
    parser.add_argument("--minutes", type=float, default=8)
    parser.add_argument("--only", type=lambda text: set(map(int, text.split(","))))
    parser.add_argument("--part", default="0/1", help="i/n: every n-th row, from the i-th")
    options = parser.parse_args()
    started = time.monotonic()
    rows = [json.loads(line) for line in options.labels.read_text().splitlines()]
    first, step = map(int, options.part.split("/"))
    rows = [row for row in rows if row["script"]][first::step]
    done = set()
    if options.output.exists():
        done = {json.loads(line)["pr"] for line in options.output.read_text().splitlines()}
    for row in rows:
        if row["pr"] in done or (options.only and row["pr"] not in options.only):
            continue
        if time.monotonic() - started > options.minutes * 60:
            break
        before = time.monotonic()
        facts = one(row, options)
        facts = {
            **{name: row[name] for name in ("pr", "label", "kind", "rules")},
            **facts,
            "seconds": round(time.monotonic() - before, 1),
        }
        with options.output.open("a") as file:
            file.write(json.dumps(facts) + "\n")
        shown = {name: facts.get(name) for name in ("pr", "label", "stage", "ln_e", "why")}
        sys.stdout.write(f"{shown}\n")
        sys.stdout.flush()


def one(row: dict[str, Any], options: argparse.Namespace) -> dict[str, Any]:
    """What one run on noise showed, or why there was none."""
    folder, _, script = row["script"].rpartition("/")
    if not folder:
        return {"why": f"{script} lies in no folder of records"}
    sha = row.get("reviewed_sha") or row["head_sha"]
    plan = Plan(run=True, run_seconds=options.seconds, experiments=frozenset())
    try:
        submission = Submission.load(f"{options.repository}@{sha}:{folder}")
        if submission.entry != script:
            return {"why": f"the entry is {submission.entry}, the label speaks of {script}"}
        verdict = audit(submission, plan)
    except AuditorError as error:
        return {"why": str(error)}
    noise = verdict.evidence["NoiseBound"]
    return {
        "why": verdict.trouble,
        "stage": verdict.evidence["Timeline"].get("stage"),
        "ln_e": noise.get("ln_e"),
        "slack": noise.get("slack_nats_per_token"),
        "missing": verdict.evidence["Exercised"].get("missing"),
        "failed": [one.rule for one in verdict.results if one.outcome is Outcome.FAIL],
        "overrides": verdict.overrides,
    }


if __name__ == "__main__":
    main()

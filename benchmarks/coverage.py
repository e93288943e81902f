"""Which scripts of a labels file run to their final score, and why the others do not.

    python benchmarks/coverage.py REPO.git LABELS.jsonl OUTPUT.jsonl --seconds 150 --minutes 8

One run on noise for each script, one at a time. Each gives a line of JSON and the end of what it
printed (OUTPUT.jsonl.d/PR.txt); a script that has a line is not run again. Stops to begin new ones
after `--minutes`.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from auditor.audit import Plan
from auditor.errors import AuditorError, CannotMeasure
from auditor.inspect import inspect
from auditor.inspect.environment import scored_environment
from auditor.run.interventions import _claimed_stages
from auditor.run.record import read_record
from auditor.run.sandbox import Limits, execute
from auditor.run.streams import uniform
from auditor.run.timeline import plain_label, stages
from auditor.run.workspace import STREAM_TOKENS, TRAIN_TOKENS, VOCAB_SIZE, lay_out
from auditor.submission import Submission


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
        facts, printed = one(row, options)
        facts = {
            **{name: row[name] for name in ("pr", "label", "kind", "rules")},
            **facts,
            "seconds": round(time.monotonic() - before, 1),
        }
        folder = options.output.with_suffix(".d")
        folder.mkdir(exist_ok=True)
        (folder / f"{row['pr']}.txt").write_text(printed)
        with options.output.open("a") as file:
            file.write(json.dumps(facts) + "\n")
        shown = {name: facts.get(name) for name in ("pr", "label", "score", "gain", "why")}
        sys.stdout.write(f"{shown}\n")
        sys.stdout.flush()


def one(row: dict[str, Any], options: argparse.Namespace) -> tuple[dict[str, Any], str]:
    """What one run showed, and the end of what it printed."""
    folder, _, script = row["script"].rpartition("/")
    sha = row.get("reviewed_sha") or row["head_sha"]
    plan = Plan(run=True, run_seconds=options.seconds)
    try:
        submission = Submission.load(f"{options.repository}@{sha}:{folder}")
    except AuditorError as error:
        return {"why": f"unreadable: {error}"}, ""
    if submission.entry != script:
        return {"why": f"entry: {submission.entry} is not {script}"}, ""
    evidence = inspect(submission)
    claimed = _claimed_stages(evidence)
    stream = uniform(VOCAB_SIZE, STREAM_TOKENS, "validation")
    train = uniform(VOCAB_SIZE, TRAIN_TOKENS, "training")
    with tempfile.TemporaryDirectory(prefix="strict-prefix-") as root:
        workspace = lay_out(Path(root), submission, stream, train, scored_environment(submission))
        finished = execute(
            [sys.executable, "-m", "recorder", script],
            workspace=workspace.root,
            folder=workspace.folder,
            environment=workspace.environment,
            limits=Limits(seconds=plan.run_seconds, bytes=plan.run_bytes),
            backend=plan.sandbox,
            on_event=lambda line: None,
        )
    printed = finished.output[-200_000:]
    facts: dict[str, Any] = {"claimed": sorted(claimed), "ran": round(finished.seconds, 1)}
    try:
        record = read_record(finished.events)
    except CannotMeasure as error:
        return {**facts, "why": str(error)}, printed
    found = stages(record)
    facts["overrides"] = len(record.asked), record.scaled, record.stand_ins
    facts["stages"] = [
        [stage.score.label, stage.score.val_loss, stage.score.val_bpb] for stage in found
    ]
    if found:
        score = found[-1].score
        facts["score"] = score.label, score.val_loss, score.val_bpb
        facts["gain"] = round((stream.nats_per_token - score.val_loss) * (STREAM_TOKENS - 1), 1)
        if claimed and plain_label(score.label) not in claimed:
            facts["other"] = True
    last = [line for line in finished.output.splitlines() if line.strip()][-1:]
    if finished.timed_out:
        facts["why"] = "time"
    elif finished.returncode:
        facts["why"] = f"exit {finished.returncode}: {last[0][:300] if last else ''}"
    elif not found:
        facts["why"] = "no score line"
    return facts, printed


if __name__ == "__main__":
    main()

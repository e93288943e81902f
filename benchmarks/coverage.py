"""Which scripts of a labels file run to their final score, and why the others do not.

    python benchmarks/coverage.py REPO.git LABELS.jsonl OUTPUT.jsonl --seconds 150 --minutes 8

One run on noise for each script, one at a time. Each gives a line of JSON; a script that has a line
is not run again. Stops to begin new ones after `--minutes`. With `--summary` nothing is run: prints
how many got to their score, why the others did not, and where verdicts and labels differ.
"""

import argparse
import collections
import json
import random
import re
import sys
import time
from pathlib import Path
from typing import Any

from auditor.audit import Plan, audit
from auditor.errors import AuditorError
from auditor.submission import Submission
from auditor.verdict import Outcome

PROOF_NATS = 20.723
"""Nats won against noise that are proof."""


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
    parser.add_argument("--summary", action="store_true")
    options = parser.parse_args()
    if options.summary:
        sys.stdout.write(summary(options.output))
        return
    started = time.monotonic()
    rows = [json.loads(line) for line in options.labels.read_text().splitlines()]
    first, step = map(int, options.part.split("/"))
    rows = [row for row in rows if row["script"]]
    # In an order that has nothing to do with time or size: what is done so far is a fair sample.
    random.Random(0).shuffle(rows)
    rows = rows[first::step]
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


REASONS = {
    r"No module named '(?P<what>[^'.]+)": "a package that is not installed: {what}",
    r"expected an end within": "did not end in time",
    r"the scored stage did not run": "the scored stage did not run",
    r"expected a folder": "its folder is not in the commit",
    r"FileNotFoundError": "a file that the folder does not hold",
    r"the label speaks of": "the label speaks of another script than the folder's own",
    r"expected exit status 0, got \d+: (?P<what>\w+)": "ended with {what}",
    r"byte table|found none": "what was charged is not known",
}
"""Why a script gave no score, by what is said of it; the first that fits."""
VALIDITY = "validity"
SHOWN_BY_RULES = {"unnormalised", "target-in-key", "two-pass", "slot", "update-before-score"}
"""Labels of violations that a run can show on noise."""


def reason(said: str) -> str:
    """One of a few words for why a script gave no score."""
    for pattern, words in REASONS.items():
        if found := re.search(pattern, said):
            return words.format(**found.groupdict())
    return said[:100]


def summary(output: Path) -> str:
    """Return the page of what an output holds, as Markdown."""
    # Of a script that was run again the last line counts.
    newest = {row["pr"]: row for row in map(json.loads, output.read_text().splitlines())}
    rows = list(newest.values())
    ran = [row for row in rows if row["why"] is None]
    reasons: dict[str, list[int]] = collections.defaultdict(list)
    for row in rows:
        if row["why"] is not None:
            reasons[reason(row["why"])].append(row["pr"])
    lines = [f"{len(ran)} of {len(rows)} scripts ran to their score.", "", "| why not | scripts |"]
    lines.append("|---|---|")
    for words, prs in sorted(reasons.items(), key=lambda item: -len(item[1])):
        lines.append(f"| {words} | {_numbers(prs)} |")
    beaten = {row["pr"] for row in ran if (row["ln_e"] or 0) > PROOF_NATS}
    labelled = [
        row
        for row in ran
        if row["label"] == "violation"
        and row["kind"] == VALIDITY
        and SHOWN_BY_RULES & set(row["rules"])
    ]
    missed = [row["pr"] for row in labelled if not row["failed"]]
    clean = [row for row in ran if row["label"] == "clean"]
    wrong = [row["pr"] for row in clean if row["pr"] in beaten]
    lines += [
        "",
        f"Noise is beaten by {len(beaten)}: {_numbers(sorted(beaten))}. Of {len(clean)} clean rows "
        f"that ran, {len(wrong)} beat it ({_numbers(wrong)}). Of {len(labelled)} labelled "
        f"violations that noise could show and that ran, {len(missed)} fail no rule "
        f"({_numbers(missed)}).",
    ]
    return "\n".join(lines) + "\n"


def _numbers(prs: list[int]) -> str:
    return ", ".join(f"#{pr}" for pr in prs) or "none"


if __name__ == "__main__":
    main()

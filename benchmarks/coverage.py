"""Which scripts of a labels file run to their final score, and why the others do not.

    python benchmarks/coverage.py REPO.git LABELS.jsonl OUTPUT.jsonl --seconds 150 --minutes 8

One run on noise for each script, one at a time, and the experiments that are asked for. Each gives
a line of JSON; a script that has a line is not run again, but with `--again` where it gave no
score. Stops to begin new ones after `--minutes`. With `--summary` nothing is run: prints how many
got to their score, why the others did not, and where verdicts and labels differ.
"""

import argparse
import collections
import json
import random
import re
import sys
import time
from collections.abc import Iterable
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
    parser.add_argument("--again", action="store_true", help="also those without a score so far")
    parser.add_argument("--experiment", action="append", default=[], help="beside the noise")
    parser.add_argument("--part", default="0/1", help="i/n: every n-th row, from the i-th")
    parser.add_argument("--summary", action="store_true")
    options = parser.parse_args()
    if options.summary:
        sys.stdout.write(summary(options.output, len(_labelled(options.labels))))
        return
    started = time.monotonic()
    first, step = map(int, options.part.split("/"))
    rows = _labelled(options.labels)
    # In an order that has nothing to do with time or size: what is done so far is a fair sample.
    random.Random(0).shuffle(rows)
    rows = rows[first::step]
    done = {row["pr"] for row in _newest(options.output) if not (options.again and row["why"])}
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
    plan = Plan(
        run=True,
        run_seconds=options.seconds,
        budget_seconds=2 * options.seconds,
        experiments=frozenset(options.experiment),
    )
    try:
        submission = Submission.load(f"{options.repository}@{sha}:{folder}")
        if submission.entry != script:
            return {"why": f"the entry is {submission.entry}, the label speaks of {script}"}
        verdict = audit(submission, plan)
    except AuditorError as error:
        return {"why": str(error)}
    noise = verdict.evidence["NoiseBound"]
    failures = [one for one in verdict.results if one.outcome is Outcome.FAIL]
    return {
        "why": verdict.trouble,
        "stage": verdict.evidence["Timeline"].get("stage"),
        "ln_e": noise.get("ln_e"),
        "slack": noise.get("slack_nats_per_token"),
        "missing": verdict.evidence["Exercised"].get("missing"),
        "failed": [one.rule for one in failures],
        "strengths": [one.strength.name.lower() if one.strength else None for one in failures],
        "overrides": verdict.overrides,
    }


REASONS = {
    r"No module named '(?P<what>[^'.]+)": "a package that is not installed: {what}",
    r"expected an end within": "did not end in time",
    r"required FLA deps|requires the `fla` package": "a package that is not installed: fla",
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
RULES = {
    *("strict-prefix", "full-distribution", "score-before-update", "single-pass"),
    *("context-only-keys", "causal-cache"),
}
"""What such a violation fails; to be incomplete or too large is another matter."""


def reason(said: str) -> str:
    """One of a few words for why a script gave no score."""
    for pattern, words in REASONS.items():
        if found := re.search(pattern, said):
            return words.format(**found.groupdict())
    return said[:100]


def summary(output: Path, labelled: int) -> str:
    """Return the page of what an output holds of so many labelled scripts, as Markdown."""
    rows = _newest(output)
    ran = [row for row in rows if row["why"] is None]
    reasons: dict[str, list[int]] = collections.defaultdict(list)
    for row in rows:
        if row["why"] is not None:
            reasons[reason(row["why"])].append(row["pr"])
    lines = [
        f"{len(rows)} of {labelled} scripts were run, and {len(ran)} of them "
        f"({len(ran) / max(len(rows), 1):.0%}) to their score.",
        "",
        "| why not | scripts |",
        "|---|---|",
    ]
    for words, prs in sorted(reasons.items(), key=lambda item: -len(item[1])):
        lines.append(f"| {words} | {_numbers(prs)} |")
    clean = [row for row in ran if row["label"] == "clean"]
    lines += ["", f"Of {len(clean)} clean scripts that ran:", ""]
    lines.append(f"- beat the noise: {_numbers(row['pr'] for row in clean if _beats(row))}")
    failed = [f"#{row['pr']} ({', '.join(row['failed'])})" for row in clean if row["failed"]]
    lines.append(f"- fail a rule: {', '.join(failed) or 'none'}")
    wrong = [row for row in ran if row["label"] == "violation" and row["kind"] == VALIDITY]
    wrong = [row for row in wrong if SHOWN_BY_RULES & set(row["rules"])]
    seen = [row for row in wrong if _seen_running(row)]
    read = [row for row in wrong if row not in seen and RULES & set(row["failed"])]
    lines += ["", f"Of {len(wrong)} labelled {', '.join(sorted(SHOWN_BY_RULES))} that ran:", ""]
    lines.append(f"- FAIL by what ran: {_numbers(row['pr'] for row in seen)}")
    lines.append(f"- FAIL by reading alone: {_numbers(row['pr'] for row in read)}")
    rest = [row["pr"] for row in wrong if row not in seen and row not in read]
    lines.append(f"- no rule fails: {_numbers(rest)}")
    return "\n".join(lines) + "\n"


def _beats(row: dict[str, Any]) -> bool:
    return (row["ln_e"] or 0) > PROOF_NATS


def _seen_running(row: dict[str, Any]) -> bool:
    """Whether one of the rules fails by what ran."""
    failed = dict(zip(row["failed"], row.get("strengths", ()), strict=False))
    return any(failed.get(rule) in ("ran", "proved") for rule in RULES)


def _newest(output: Path) -> list[dict[str, Any]]:
    """Lines of the output, the last one of each script."""
    lines = output.read_text().splitlines() if output.exists() else []
    return list({row["pr"]: row for row in map(json.loads, lines)}.values())


def _labelled(labels: Path) -> list[dict[str, Any]]:
    """Rows of the labels file that name a script."""
    rows = [json.loads(line) for line in labels.read_text().splitlines()]
    return [row for row in rows if row["script"]]


def _numbers(prs: Iterable[int]) -> str:
    return ", ".join(f"#{pr}" for pr in prs) or "none"


if __name__ == "__main__":
    main()

"""The gate on real pull requests, held against a plain listing of git and against the sweep.

    python benchmarks/gate_replay.py REPO.git OUTPUT.jsonl --count 100

Takes pull requests evenly from all that add a file below `records`, each against the commit where
it left the base. For each: the folders that the gate chose beside those that a plain `git diff`
names at the depth of the layout, the digests of its verdicts beside those that the sweep's own
function gives for the same commit and folder, and the seconds of the gate in this process. A pull
request that has a line is not read again.
"""

import argparse
import datetime
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from auditor.audit import Plan
from auditor.corpus import Bounds, Task, audit_task
from auditor.errors import AuditorError
from auditor.gate import change_set
from auditor.gate_audit import Asked, audit_change
from auditor.gate_config import GateConfig


def main() -> None:
    """Replay what is not in the output yet, then sum up."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("repository", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--base", default="HEAD")
    parser.add_argument("--minutes", type=float, default=8)
    options = parser.parse_args()
    started = time.monotonic()
    rows: list[dict[str, Any]] = []
    if options.output.exists():
        rows = [json.loads(line) for line in options.output.read_text().splitlines()]
    done = {row["ref"] for row in rows}
    with options.output.open("a") as output:
        for ref in _chosen(options.repository, options.base, options.count, done):
            rows.append(_replayed(options.repository, options.base, ref))
            output.write(json.dumps(rows[-1]) + "\n")
            output.flush()
            if time.monotonic() - started > options.minutes * 60:
                break
    _sum_up(rows)


def _chosen(repository: Path, base: str, count: int, done: set[str]) -> Iterator[str]:
    """The first that adds a record, of so many equal parts of all, unless that part is done."""
    listing = _git(repository, "for-each-ref", "--format=%(refname)", "refs/pull/*/head")
    refs = sorted(listing.split(), key=lambda ref: int(ref.split("/")[2]))
    for at in range(count):
        part = refs[at * len(refs) // count : (at + 1) * len(refs) // count]
        if not done.intersection(part):
            yield from islice((ref for ref in part if _listed(repository, base, ref)), 1)


def _listed(repository: Path, base: str, ref: str) -> set[str]:
    """Folders of the layout with an added, edited or moved file, as git lists them."""
    try:
        start = _git(repository, "merge-base", base, ref).strip()
        words = ("diff", "--no-renames", "--diff-filter=d", "--name-only", "-z", start, ref)
        listing = _git(repository, *words, "--", "records/")
    except subprocess.CalledProcessError:
        return set()
    parts = [name.split("/") for name in listing.split("\0") if name]
    return {"/".join(part[:3]) for part in parts if len(part) > 3}


def _replayed(repository: Path, base: str, ref: str) -> dict[str, Any]:
    sha = _git(repository, "rev-parse", ref).strip()
    bounds = Bounds(jobs=os.cpu_count() or 1, plan=Plan())
    asked = Asked(bounds=bounds, config=GateConfig(), today=datetime.date(2026, 5, 2))
    before, cpu = time.monotonic(), _cpu_seconds()
    try:
        change = change_set(repository, base, sha)
        document = audit_change(repository, base, change, asked)
    except AuditorError as error:
        return {"ref": ref, "error": str(error)}
    seconds, cpu = time.monotonic() - before, _cpu_seconds() - cpu
    same = {}
    for record in document["records"]:
        if record["change"] != "deleted":
            line = audit_task(str(repository), Task(ref, None, sha, record["folder"]), bounds)
            digests = [one and one["digest"] for one in (record["verdict"], line["verdict"])]
            same[record["folder"]] = digests[0] == digests[1]
    return {
        "ref": ref,
        "folders": sorted(same),
        "listed": sorted(_listed(repository, base, ref)),
        "same": same,
        "changes": [record["change"] for record in document["records"]],
        "outcomes": [record["outcome"] for record in document["records"]],
        "rules": {result["rule"]: result["outcome"] for result in document["results"]},
        "errors": [record["error"] for record in document["records"] if record["error"]],
        "seconds": round(seconds, 3),
        "cpu_seconds": round(cpu, 3),
    }


def _sum_up(rows: list[dict[str, Any]]) -> None:
    read = [row for row in rows if "error" not in row]
    other = [row["ref"] for row in read if row["folders"] != row["listed"]]
    unlike = [row["ref"] for row in read if not all(row["same"].values())]
    folders = sum(len(row["folders"]) for row in read)
    sys.stdout.write(
        f"{len(rows)} pull requests, {len(rows) - len(read)} with an error; {folders} folders; "
        f"other folders than listed: {other}; other verdicts than the sweep's: {unlike}\n"
    )
    for name in ("seconds", "cpu_seconds"):
        ordered = sorted(row[name] for row in read if name in row)
        if ordered:
            sys.stdout.write(
                f"{name} of {len(ordered)}: median {statistics.median(ordered):.2f}, "
                f"90th of 100 {ordered[int(len(ordered) * 0.9)]:.2f}, most {ordered[-1]:.2f}\n"
            )


def _cpu_seconds() -> float:
    """Of this process and of the git processes that it has waited for."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def _git(repository: Path, *words: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(repository), *words], capture_output=True, check=True, text=True
    )
    return done.stdout


if __name__ == "__main__":
    main()

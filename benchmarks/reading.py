"""Audits by reading of labelled pull requests, each in this process, one after the other."""

import json
import random
import time
from pathlib import Path
from statistics import quantiles

from auditor.audit import Plan, audit
from auditor.errors import AuditorError
from auditor.submission import Submission


def section(repository: str, labels: Path, folders: int) -> str:
    """Return the part of the page."""
    rows = [json.loads(line) for line in labels.read_text().splitlines()]
    rows = [row for row in rows if row["script"]]
    random.Random(0).shuffle(rows)
    seconds, unread = [], 0
    for row in rows[:folders]:
        sha, folder = row.get("reviewed_sha") or row["head_sha"], row["script"].rpartition("/")[0]
        started = time.process_time()
        try:
            audit(Submission.load(f"{repository}@{sha}:{folder}"), Plan())
        except AuditorError:
            unread += 1
        seconds.append(time.process_time() - started)
    cuts = quantiles(seconds, n=100, method="inclusive")
    return f"""## Audits by reading

{len(seconds)} folders drawn from a labels file, straight from git; {unread} could not be read.
Processor seconds a folder: median {cuts[49]:.2f}, 90 of 100 within {cuts[89]:.2f}, 99 within
{cuts[98]:.2f}, longest {max(seconds):.2f}.
"""

"""What watching costs a run, and that it changes nothing.

    python benchmarks/recorder_cost.py RECORD...

The script runs in the sandbox as an audit runs it, by turns with the recorder watching and with one
that only passes on what is printed. Prints the wall time of each turn, the ratio of
the shortest ones, and whether all of them printed the same scores.
"""

import argparse
import re
import sys

from rich.console import Console
from rich.table import Table

from auditor.audit import Plan
from auditor.inspect.environment import scored_environment
from auditor.run.execution import Bench
from auditor.run.experiments.noise import noise_inputs
from auditor.submission import Submission

SCORE = re.compile(r"^.*val_(?:loss|bpb).*$", re.MULTILINE)
TIME = re.compile(r"\d+(?:\.\d+)?\s?m?s\b|time:\S+|\w*time\S*")


def main() -> None:
    """One table; exit 1 when watching changed a score."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("record", nargs="+", help="folder, archive, or GITDIR@REF:FOLDER")
    parser.add_argument("--turns", type=int, default=3)
    asked = parser.parse_args()
    table = Table("record", "bare, s", "watched, s", "ratio", "same scores")
    same = True
    for name in asked.record:
        submission = Submission.load(name)
        bench = Bench(submission, Plan(run=True), scored_environment(submission))
        seconds: dict[bool, list[float]] = {False: [], True: []}
        printed = set()
        for turn in range(2 * asked.turns):
            watched = bool(turn % 2)
            ended = bench.execute(noise_inputs(ask={"watch": watched}), lambda done: None)
            seconds[watched].append(ended.seconds)
            printed.add(tuple(TIME.sub("", line) for line in SCORE.findall(ended.output)))
        bare, watched_seconds = min(seconds[False]), min(seconds[True])
        ratio = f"{watched_seconds / bare:.2f}"
        equal = len(printed) == 1
        same = same and equal
        row = (submission.name, f"{bare:.1f}", f"{watched_seconds:.1f}", ratio)
        table.add_row(*row, "yes" if equal else "no")
    Console().print(table)
    sys.exit(not same)


if __name__ == "__main__":
    main()

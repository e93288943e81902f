"""What watching costs a run, and that it changes nothing.

    python benchmarks/recorder_cost.py RECORD...

The script runs in the sandbox as an audit runs it, by turns with the recorder watching and with one
that only passes on what is printed. Prints the processor and wall seconds of the shortest turns,
the ratio of the processor's, and whether all of them printed the same scores.
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
    columns = ("bare, processor s", "watched, processor s", "ratio", "bare, wall s")
    table = Table("record", *columns, "watched, wall s", "same scores")
    same = True
    for name in asked.record:
        submission = Submission.load(name)
        bench = Bench(submission, Plan(run=True), scored_environment(submission))
        seconds: dict[bool, list[tuple[float, float]]] = {False: [], True: []}
        printed = set()
        for turn in range(2 * asked.turns):
            watched = bool(turn % 2)
            ended = bench.execute(noise_inputs(ask={"watch": watched}), lambda done: None)
            seconds[watched].append((ended.record.processor_seconds, ended.seconds))
            printed.add(tuple(TIME.sub("", line) for line in SCORE.findall(ended.output)))
        bare, watching = min(seconds[False]), min(seconds[True])
        equal = len(printed) == 1
        same = same and equal
        figures = (bare[0], watching[0], watching[0] / bare[0], bare[1], watching[1])
        table.add_row(submission.name, *map("{:.2f}".format, figures), "yes" if equal else "no")
    Console().print(table)
    sys.exit(not same)


if __name__ == "__main__":
    main()

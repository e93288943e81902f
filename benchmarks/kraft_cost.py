"""Sums over the vocabulary at positions of real text, and what they cost.

    python benchmarks/kraft_cost.py RECORD... [--set TTT_ENABLED=0]

Three runs on text for each record. Prints each position's sum, over how many tokens, how many
events before the charge the copies began, and what all copies there took.
"""

import argparse
import time

from rich.console import Console
from rich.table import Table

from auditor.audit import Plan
from auditor.errors import AuditorError
from auditor.inspect.environment import scored_environment
from auditor.run.execution import Bench
from auditor.run.experiments import artifact, kraft
from auditor.submission import Submission

COLUMNS = ("position", "sum", "tokens", "events before", "processor s", "wall s", "doubt")


def main() -> None:
    """Print a table for each record, as soon as it is known."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("record", nargs="+", help="folder, archive, or GITDIR@REF:FOLDER")
    parser.add_argument(
        "--set", nargs="+", default=[], metavar="NAME=VALUE", help="over the scored run's settings"
    )
    parser.add_argument("--seconds", type=float, default=600, help="that one run may take")
    asked = parser.parse_args()
    plan = Plan(run=True, run_seconds=asked.seconds, budget_seconds=asked.seconds)
    for name in asked.record:
        submission = Submission.load(name)
        launch = {**scored_environment(submission), **dict(one.split("=", 1) for one in asked.set)}
        bench = Bench(submission, plan, launch)
        began = time.monotonic()
        try:
            base = artifact.on_text(bench, lambda done: None)
            sums, served = kraft.measured(bench, base, lambda doing: lambda done: None)
        except AuditorError as why:
            Console().print(f"{submission.name}: {why}", markup=False)
            continue
        table = Table(*COLUMNS, title=f"{submission.name}, {time.monotonic() - began:.0f} s in all")
        took = {one.number: one for one in served}
        for number, one in enumerate(sums.sums):
            copies = took.get(number)
            cost = ["-", "-", "-"]
            if copies is not None:
                spent = (copies.processor_seconds, copies.seconds)
                cost = [f"{copies.distance}", *(f"{seconds:.1f}" for seconds in spent)]
            row = (f"{one.position}", f"{one.total:.7f}", f"{one.answered} of {one.vocab_size}")
            table.add_row(*row, *cost, one.doubt or "")
        Console().print(table)


if __name__ == "__main__":
    main()

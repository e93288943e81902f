"""The command's own time: how long `auditor --help` takes beside Python's bare start."""

import sys

from benchmarks.timing import commands_in_turns

COMMANDS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "import typer": [sys.executable, "-c", "import typer"],
    "import auditor.cli": [sys.executable, "-c", "import auditor.cli"],
    "auditor --help": [sys.executable, "-m", "auditor", "--help"],
}


def section(rounds: int) -> str:
    """Return the part of the page."""
    took = commands_in_turns(COMMANDS, rounds)
    base = took["python -c pass"]
    rows = [
        f"| `{name}` | {1e3 * each.processor:.0f} | {1e3 * each.wall:.0f} "
        f"| {each.processor / base.processor:.1f} |"
        for name, each in took.items()
    ]
    return f"""## The command's start

Whole processes in turns, the quickest of {rounds}.

| | processor ms | wall ms | times `python -c pass`, processor |
|---|---:|---:|---:|
{chr(10).join(rows)}
"""

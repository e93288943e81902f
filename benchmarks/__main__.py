"""Run the benchmarks and write docs/benchmarks.md.

    python -m benchmarks [--tokens 10000000] [--repository REPO.git --labels LABELS.jsonl]

Parts that are not asked for keep what the page already says of them.
"""

import argparse
import datetime
import os
import platform
import re
import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks import command, curves, ngram, reading
from benchmarks.timing import load

PAGE = Path(__file__).parent.parent / "docs" / "benchmarks.md"
PART = re.compile(r"<!-- (\w+) -->\n(.*?)<!-- end -->\n", re.DOTALL)


def main() -> None:
    """Measure, and write what was measured into its place on the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--only", choices=["ngram", "curves", "command", "reading"], action="append"
    )
    parser.add_argument("--tokens", type=int, default=10_000_000, help="of the n-gram comparison")
    parser.add_argument("--rounds", type=int, default=3, help="of which the quickest counts")
    parser.add_argument("--repository", help="a clone with the pull requests' heads")
    parser.add_argument("--labels", type=Path, help="a labels file of these")
    parser.add_argument("--folders", type=int, default=50, help="that are read")
    parser.add_argument("--page", type=Path, default=PAGE)
    options = parser.parse_args()
    if not options.page.is_file():
        parser.error(f"--page: {options.page} is no file; begin with a copy of {PAGE.name}")
    parts: dict[str, Callable[[], str]] = {
        "ngram": lambda: ngram.section(options.tokens),
        "curves": lambda: curves.section(options.rounds, options.page.parent),
        "command": lambda: command.section(3 * options.rounds),
    }
    if options.repository and options.labels:
        parts["reading"] = lambda: reading.section(
            options.repository, options.labels, options.folders
        )
    for name in options.only or parts:
        if name not in parts:
            parser.error(f"{name} needs --repository and --labels")
        before = load()
        text = parts[name]()
        put(options.page, name, f"{text}\n{conditions(before)}\n")
        sys.stdout.write(text)


def put(page: Path, name: str, text: str) -> None:
    """Replace one part of the page."""
    old = page.read_text(encoding="utf-8")
    if not any(found[1] == name for found in PART.finditer(old)):
        raise SystemExit(f"{page} has no place for {name}")

    def new(found: re.Match[str]) -> str:
        return f"<!-- {name} -->\n{text}<!-- end -->\n" if found[1] == name else found[0]

    page.write_text(PART.sub(new, old), encoding="utf-8")


def conditions(load_before: str) -> str:
    """Say where and when this was measured."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists() and (found := re.search(r"model name\s*: (.*)", cpuinfo.read_text())):
        model = found[1]
    today = datetime.datetime.now(tz=datetime.UTC).date()
    words = " ".join(word for word in sys.argv[1:] if "/" not in word)
    return (
        f"*{today}, `python -m benchmarks {words}`: {os.cpu_count()} cores of {model}, "
        f"Python {platform.python_version()}; load {load_before} before, {load()} after.*"
    )


if __name__ == "__main__":
    main()

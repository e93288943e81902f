"""Whether a run got to the mechanisms that the submission's own logs speak of.

A run that leaves out the very stage that was scored says nothing in its favour: scripts have
switches that a README's run line does not name. Compared are the kinds of line that logs and run
print about mechanisms of evaluation.

How it can be wrong: a line that the committed script no longer prints counts as a mechanism that
was left out; then a PASS becomes INCONCLUSIVE, never a FAIL.
"""

import re
from collections.abc import Iterable, Mapping

from auditor.evidence import Exercised
from auditor.run.claimed import Claimed

MECHANISM = re.compile(
    r"(?<![a-z])(?:ttt|n-?gram|mixer|cache|ppm|slot|hedge|oracle|prefill\w*|phrase|knn|lora|tilt"
    r"|rescor\w*|two_?pass|adapt\w*|sliding)(?![a-z])"
)
"""Words of the field for what changes a score during evaluation."""
RUN_BEGINS = re.compile(r"^(?:val_loader|train_loader|model_params|warmup_step|step)\b.{0,300}\d")
"""Some logs echo their source first; a run begins with one of these lines."""
NUMBER = re.compile(r"\d+(?:\.\d+)?(?:e[+-]?\d+)?")
VALUE = re.compile(r"=|[\s:\[(]#")
MAX_LINE = 300
MAX_KIND = 60


def compare(logs: Mapping[str, str], output: str, claimed: Claimed) -> Exercised:
    """Logs by name, what the run printed, and the line that is claimed."""
    ran = {kind for _, kind in _kinds(output.splitlines())}
    logged: dict[str, str] = {}
    for name, text in logs.items():
        lines = text.splitlines()
        start = next((i for i, line in enumerate(lines) if RUN_BEGINS.match(line)), len(lines))
        for number, kind in _kinds(lines[start:]):
            logged.setdefault(kind, f"`{kind}` ({name}:{start + number})")
    missing = [place for kind, place in logged.items() if kind not in ran]
    return Exercised(
        mechanisms=tuple(sorted(logged)),
        missing=tuple(missing),
        by_bytes=claimed.place,
        stages=tuple(sorted(claimed.stages)),
    )


def _kinds(lines: Iterable[str]) -> Iterable[tuple[int, str]]:
    """Number and kind of each line that speaks of a mechanism: its words up to the first value."""
    for number, line in enumerate(lines, 1):
        plain = NUMBER.sub("#", line[:MAX_LINE].strip().lower())
        kind = VALUE.split(plain, maxsplit=1)[0].strip(" :[(")[:MAX_KIND]
        if MECHANISM.search(kind):
            yield number, kind

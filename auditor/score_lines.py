"""A line that states a score, as scripts print it: for logs that were shipped and for our own runs.

Only complete numbers are taken, so a source dump (`val_bpb:{val_bpb:.4f}`) gives none. A line that
reports progress (a share of windows, a running mean) is not a score.
"""

import re

from auditor.evidence import ScoreLine

_NUMBER = r"(\d{1,4}\.\d{3,17})(?![\d.eE])"
_LOSS = re.compile(r"\bval_loss[:=]\s?" + _NUMBER)
_BPB = re.compile(
    r"\b((?:val|final|total|(?:\w{1,20}_)?mix(?:ed|er|ture)?|ppm|ngram|ttt|slot)_bpb|BPB)"
    r"(?:\s{1,3}\([^()]{1,20}\))?\s{0,3}[:= ]\s{0,12}" + _NUMBER
)
_TOTAL_BPB = re.compile(r"\b(\w{1,60}_total)\s{1,3}bpb[:=]\s?" + _NUMBER)
_PROGRESS = re.compile(
    r"\[\s*\d+(?:\.\d+)?\s*[%/]|progress|running_|_chunk\b|\bbatch\b|improvement"
)
_STEP = re.compile(r"^(?:[\d.]+ )?(?:step[: ]\s?)?\d+/\d+\b")
_EVAL_TIME = re.compile(r"\b(?:eval_time|elapsed)[:=] ?(\d{1,9}(?:\.\d{1,3})?)(ms|s)\b")
_BYTES = re.compile(r"\bbytes[=:]\s?(\d{6,12})\b")


def read_score(line_number: int, line: str) -> ScoreLine | None:
    """The score that a line states, or None."""
    bpb = _BPB.search(line) or _TOTAL_BPB.search(line)
    if bpb is None or _PROGRESS.search(line):
        return None
    loss = _LOSS.search(line)
    printed = [bpb[2]] + ([loss[1]] if loss else [])
    if float(printed[0]) <= 0:
        return None
    label = line[: min(match.start() for match in (bpb, loss) if match)].strip(" \t:=|-") or bpb[1]
    step = _STEP.match(label)
    return ScoreLine(
        line=line_number,
        label=f"step:{label.removeprefix('step:')}" if step else label[:80],
        val_loss=float(loss[1]) if loss else None,
        val_bpb=float(printed[0]),
        exact=len(printed[0].partition(".")[2]) >= 7,
        decimals=min(len(digits.partition(".")[2]) for digits in printed),
        eval_seconds=_seconds(line),
        stated_bytes=int(said[1]) if (said := _BYTES.search(line)) else None,
    )


def _seconds(line: str) -> float | None:
    """How long a stage took, as its score line says."""
    found = _EVAL_TIME.search(line)
    if found is None:
        return None
    return float(found[1]) / (1000 if found[2] == "ms" else 1)

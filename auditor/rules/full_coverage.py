"""The whole validation split is scored.

**Motive.** The score of the challenge is that of the first 50,000 documents of FineWeb. A score
over a part of them is another number: some parts are easier, and one can look for them.

**How it is judged.** By the logs of the claimed runs (strength `logged`). The number of validation
tokens that a log says it loaded must be that of the split under a tokenizer that is known. Another
number fails a record when the bytes that the scores were divided by show that text is missing: two
lines with different scores that imply the same bytes, less than 95% of those of the split.
Everything else about an unknown number is INCONCLUSIVE, unless a run on our own stream charged all
of it; so is a part of the split in the track without records, where proxies are welcome.

**Violates:** #2039, 9,662,464 tokens of 10,000 documents. **Innocent:** #1493, which drops less
than a window at the end.

**How it can be wrong.** A script that loads everything and scores a part prints the full number;
its denominator then gives it away only when it counts the bytes of that part alone. Up to one
window at the end of the stream is dropped by most scripts, and is not missed here.
"""

import math
from itertools import pairwise

from auditor.evidence import Evidence, LoggedNumbers, PackageFiles, RunLog, Timeline
from auditor.rules.claimed import claimed_logs
from auditor.rulesets import Ruleset
from auditor.verdict import (
    Finding,
    Judgement,
    Location,
    Rule,
    Strength,
    failed,
    inconclusive,
    passed,
)

MISSING = 0.95
"""Share of the bytes of the split below which text is missing, whatever the documents."""
CHARGED = 0.98
"""Share of a short stream that is charged when no more than a window at its end is dropped."""
SAME_BYTES = 2e-3
"""Lines of one denominator agree this well when they are printed with four decimals."""
DIFFERENT_BPB = 1e-3


def check(evidence: Evidence, ruleset: Ruleset) -> Judgement:
    """FAIL when the denominators show that text is missing."""
    if evidence.get(LoggedNumbers) is None:
        return inconclusive(evidence.why_not(LoggedNumbers))
    logs = [log for log in claimed_logs(evidence) if log.tokens is not None]
    if not logs:
        return inconclusive("no log of a claimed run says how many validation tokens it loaded")
    unknown = [log for log in logs if log.tokens not in ruleset.validation_bytes]
    if not unknown:
        counts = sorted({log.tokens or 0 for log in logs})
        said = " and ".join(f"{count:,}" for count in counts)
        return passed(Strength.LOGGED, f"{said} validation tokens loaded, a whole split")
    findings = [finding for log in unknown if (finding := _missing(log, ruleset)) is not None]
    package = evidence.get(PackageFiles)
    if findings and (package is None or package.track == "record"):
        return failed(Strength.LOGGED, findings)
    said = ", ".join(sorted({f"{log.tokens:,}" for log in unknown}))
    return _ran(evidence) or inconclusive(
        f"{said} validation tokens are those of no tokenizer that is known"
    )


def _ran(evidence: Evidence) -> Judgement | None:
    """PASS where a run charged all of our stream, up to a window at its end."""
    timeline = evidence.get(Timeline)
    if timeline is None or not timeline.reconciled:
        return None
    share = timeline.charged_positions / max(timeline.tokens - 1, 1)
    if share < CHARGED:
        return None
    return passed(
        Strength.RAN,
        f"{timeline.charged_positions:,} of {timeline.tokens - 1:,} positions of our stream were "
        "charged; the split of the logs is none of the challenge",
    )


def _missing(log: RunLog, ruleset: Ruleset) -> Finding | None:
    """A finding where two lines with different scores imply the same, too few bytes."""
    full = min(most for _, most in ruleset.validation_bytes.values())
    implied = sorted(
        (
            (log.tokens or 0) * score.val_loss / (math.log(2) * score.val_bpb),
            score.val_bpb,
            score.line,
        )
        for score in log.scores
        if score.val_loss is not None
    )
    for (one, bpb, line), (other, other_bpb, _) in pairwise(implied):
        same = other - one < SAME_BYTES * one and abs(bpb - other_bpb) > DIFFERENT_BPB
        if same and other < MISSING * full:
            return Finding(
                f"{log.tokens:,} validation tokens, and scores divided by {one / 1e6:,.2f} M "
                f"bytes; the split has {full / 1e6:,.2f} M",
                Location(file=log.file, line=line),
                {"tokens": log.tokens, "bytes": round(one), "split_bytes": full},
            )
    return None


RULE = Rule(
    id="full-coverage",
    title="The whole validation split is scored",
    authority="official",
    needs=(LoggedNumbers, Timeline),
    check=check,
    matters="A score over a part of the split is another number than that of the challenge.",
    mend="Evaluate on all validation shards, and log the number of tokens.",
    documentation=__doc__ or "",
)

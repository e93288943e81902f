"""Which of the lines that a script prints is the claimed one.

Mostly the last of its logs; where another line shows the claim and the last one does not, that.
Mixers on bytes print bits per byte alone, or beside the loss of the network: what is claimed then
is no mean of charges of tokens.
"""

import statistics
from dataclasses import dataclass

from auditor.evidence import ClaimedNumbers, Evidence, LoggedNumbers, RunLog, ScoreLine
from auditor.run.timeline import plain_label

NEAR_BPB = 0.05
"""Seeds of one claim lie closer together; an ablation of such a mechanism does not."""
CLOSE_BPB = 0.003
"""A line shows a claimed mean when it is as close as seeds are."""
SAME_BPB = 5e-5
"""Lines of one log that show the claim to its last digit, such as another stride's."""
SAME_BYTES = 0.015
"""Lines that divide by the same bytes agree this well; a mixture does not."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """The claimed runs, and what their claimed line is called."""

    logs: tuple[RunLog, ...] = ()
    stages: frozenset[str] = frozenset()
    """Plain labels of the lines with both losses; where bytes are charged, of the network's."""
    by_bytes: frozenset[str] = frozenset()
    """Plain labels of claimed lines that are no mean over tokens."""
    place: str | None = None
    """One of these in a log."""


def claimed(evidence: Evidence) -> Claimed:
    """By the logs and submission.json; nothing where no log states a score."""
    logged, claims = evidence.get(LoggedNumbers), evidence.get(ClaimedNumbers)
    logs = _logs(logged.logs if logged else (), claims)
    stages: set[str] = set()
    by_bytes: set[str] = set()
    place = None
    for log in logs:
        line = _line(log, claims)
        if line is None or line.during_training:
            continue
        paired = [s for s in log.scores if s.val_loss is not None and not s.during_training]
        if not _by_bytes(line, paired):
            same = [s for s in paired if abs(s.val_bpb - line.val_bpb) < SAME_BPB]
            stages.update(plain_label(s.label) for s in (line, *same))
            continue
        by_bytes.add(plain_label(line.label))
        place = place or f"`{plain_label(line.label)}` ({log.file}:{line.line})"
        after = [s for s in paired if s.line >= line.line] or paired[-1:]
        stages.update(plain_label(s.label) for s in after[:1])
    return Claimed(logs, frozenset(stages), frozenset(by_bytes), place)


def _logs(logs: tuple[RunLog, ...], claims: ClaimedNumbers | None) -> tuple[RunLog, ...]:
    """Logs that end near the claim, else that show it anywhere, else all."""
    score = claims.val_bpb if claims else None
    if score is None:
        return logs
    near = [log for log in logs if log.final and abs(log.final.val_bpb - score) < NEAR_BPB]
    shown = [log for log in logs if any(abs(s.val_bpb - score) < CLOSE_BPB for s in log.scores)]
    return tuple(near or shown) or logs


def _line(log: RunLog, claims: ClaimedNumbers | None) -> ScoreLine | None:
    """The last line, unless it does not show the claim and another does."""
    claim = claims and (claims.seed_val_bpb.get(str(log.seed)) or claims.val_bpb)
    if log.final is None or not claim or abs(log.final.val_bpb - claim) < CLOSE_BPB:
        return log.final
    stages = [score for score in log.scores if not score.during_training]
    nearest = min(stages, key=lambda score: abs(score.val_bpb - claim), default=log.final)
    return nearest if abs(nearest.val_bpb - claim) < CLOSE_BPB else log.final


def _by_bytes(line: ScoreLine, paired: list[ScoreLine]) -> bool:
    """Whether a line has bits per byte alone, or others than its loss per token gives."""
    if line.val_loss is None:
        return True
    others = [s.val_loss / s.val_bpb for s in paired if s.val_loss and s.label != line.label]
    if len(others) < 2 or not line.val_loss:
        return False
    usual = statistics.median(others)
    return abs(line.val_loss / line.val_bpb / usual - 1) > SAME_BYTES

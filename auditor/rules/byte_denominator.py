"""The bytes that the score is divided by are the bytes of the text.

**Motive.** Bits per byte divides the code length by the bytes of the original text. A script that
counts more bytes than there are (a space counted twice, a byte token counted as three) gets a
better score for the same predictions.

**How it is judged.** Every score line gives its own denominator away: tokens * val_loss / (ln 2 *
val_bpb). Where the log's token count is that of a known split, the implied bytes must be those of
the 50,000 documents, whatever the tokenizer. Strength `logged`. Where the submission was run on our
own stream, the implied bytes are compared with those of the text that we wrote: strength `ran`.
Either can fail the rule, and both are named where both exist.

Not every line that holds both numbers is a quotient: some scripts print a mixed val_bpb beside the
val_loss of the model alone, which looks like a denominator too large. So all lines of a log must
agree; where some fit the text and others do not, the answer is INCONCLUSIVE and names both. And a
FAIL needs two lines with different scores that imply the same bytes: a denominator is a constant,
what a mixture leaves is not. A line that states its bytes (`bytes=164594398`) needs no second one:
it fails when it is the claimed one and its bytes are more than the text has. A
denominator within 2% of the text is INCONCLUSIVE as well: documents differ in bytes per token, so a
score over a part of the split looks like that; on an earlier line than the final one it does not
matter.

The tokens of an unknown tokenizer spell the same documents. Their bytes are not known exactly, but
a record whose every line divides by more bytes than the whole split has in any known export, fails.

Where no log gives a denominator away, the table of bytes a token is followed for three sample
tokens (strength `source`). When every table that could be followed counts more bytes for one of
them than it stands for, the rule fails; a table that counts right passes nothing, because it may
not be the one that is used. A script that counts no bytes and divides by a constant number of them
a token is INCONCLUSIVE: the constant may be the mean of its own tokenizer over the whole split.

**Violates:** #1545, whose table holds the leading space that scoring adds again. **Innocent:**
#1736, which counts the bytes of the original text beside changed tokens.

**How it can be wrong.** A script that prints only mixed lines, or one that rewrites the text and
counts the bytes of the original honestly, is judged by numbers that mean something else. A text
that was made easier (lower case) has the right denominator and passes.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from auditor.evidence import (
    ByteTables,
    ClaimedNumbers,
    Evidence,
    Exercised,
    LoggedNumbers,
    PackageFiles,
    RunLog,
    ScoreLine,
    StreamBytes,
)
from auditor.rulesets import Ruleset
from auditor.verdict import (
    Finding,
    Judgement,
    Location,
    Outcome,
    Rule,
    Strength,
    failed,
    inconclusive,
    passed,
)

PART_OF_SPLIT = 0.02
"""Mean bytes per token of a part of the documents stay this close to those of the whole."""
MORE_THAN_ALL = 0.005
"""Over the largest known text of the split, which needs no more than rounding."""
DIFFERENT_BPB = 1e-3
"""Stages that differ by more are not one result printed twice."""
STREAM_TOLERANCE = 1e-6
"""What is left when the decimals of val_loss and val_bpb are allowed for: sums in float32."""


@dataclass(frozen=True, slots=True)
class _Implied:
    """The denominator of one line, as an interval, because the line is rounded."""

    log: RunLog
    score: ScoreLine
    least: float
    most: float

    @property
    def middle(self) -> float:
        """The best single value."""
        return (self.least + self.most) / 2

    def within(self, bounds: tuple[int, int], slack: float = 0.0) -> bool:
        """Whether some value of the interval lies within the bounds."""
        return self.most >= bounds[0] * (1 - slack) and self.least <= bounds[1] * (1 + slack)

    def __str__(self) -> str:
        """Million bytes, and the place."""
        return f"{self.middle / 1e6:.2f} M bytes ({self.log.file}:{self.score.line})"


def check(evidence: Evidence, ruleset: Ruleset) -> Judgement:
    """Judge by the run, and by the logs."""
    exercised = evidence.get(Exercised)
    mixed = exercised is not None and exercised.by_bytes is not None
    # Bits per byte of a mixture beside the loss of the network are no quotient of one another.
    stream = None if mixed else _by_stream(evidence.get(StreamBytes))
    logs = _by_logs(evidence, ruleset)
    if stream is None:
        # A denominator that is printed says more than the table that it may come from.
        tables = evidence.get(ByteTables)
        table = _by_table(tables) or _by_constant(tables)
        return table if table and logs.strength is None else logs
    failures = [
        answer for answer in (stream, logs) if answer.findings and answer.outcome is Outcome.FAIL
    ]
    if failures:
        findings = [finding for answer in failures for finding in answer.findings]
        return failed(max(a.strength for a in failures if a.strength), findings)
    return passed(Strength.RAN, f"{stream.reason}; logs: {logs.reason}")


def _by_table(found: ByteTables | None) -> Judgement | None:
    """A failure where every table that was understood counts a sample token wrongly."""
    if found is None or not found.tables:
        return None
    findings = []
    for table in found.tables:
        wrong = [piece for piece, count in table.counted.items() if count > table.expected[piece]]
        if not wrong:
            return None
        said = ", ".join(
            f"{table.counted[piece]} bytes for the piece {piece!r}, which stands for "
            f"{table.expected[piece]}"
            for piece in wrong
        )
        findings.append(
            Finding(
                f"the table of bytes a token counts {said}",
                Location(file=table.file, line=table.line, text=table.text),
                {"counted": dict(table.counted), "expected": dict(table.expected)},
            )
        )
    return failed(Strength.SOURCE, findings)


def _by_constant(found: ByteTables | None) -> Judgement | None:
    """What can be said of a script that divides by a constant."""
    if found is None or not found.fixed:
        return None
    findings = [
        Finding(
            f"the score divides by {one.bytes_per_token:g} bytes for every token, whatever it is",
            Location(file=one.file, line=one.line, text=one.text),
            {"bytes_per_token": one.bytes_per_token},
        )
        for one in found.fixed
    ]
    why = "nothing counts bytes; the constant may be the mean of this tokenizer over the split"
    return inconclusive(why, findings, Strength.SOURCE)


def _by_stream(stream: StreamBytes | None) -> Judgement | None:
    """Compare with the text of our own stream, where the submission was run on one."""
    if stream is None:
        return None
    numbers = {"implied_bytes": stream.implied, "expected_bytes": stream.expected}
    off = abs(stream.implied - stream.expected)
    if off <= STREAM_TOLERANCE * stream.expected + stream.rounding:
        return passed(
            Strength.RAN,
            f"on our stream the score divides by {stream.implied:,.1f} bytes, and its text has "
            f"{stream.expected:,}",
        )
    message = (
        f"on our stream the score divides by {stream.implied:,.1f} bytes; its text has "
        f"{stream.expected:,} ({stream.implied / stream.expected - 1:+.4%})"
    )
    return failed(Strength.RAN, [Finding(message, Location(position=0), numbers)])


def _by_logs(evidence: Evidence, ruleset: Ruleset) -> Judgement:
    """Compare the lines of each log with the known split of its tokens."""
    logged = evidence.get(LoggedNumbers)
    if logged is None or not logged.logs:
        return inconclusive("no log states a score that implies a byte count")
    answers = []
    unknown = set()
    for log in logged.logs:
        bounds = ruleset.bytes_of(log.tokens)
        lines = list(_implied(log))
        said = _stated(log, bounds, evidence.get(ClaimedNumbers))
        more = _more_than_all(lines, evidence, ruleset) if bounds is None else None
        if said or more:
            answers.append(failed(Strength.LOGGED, [one for one in (said, more) if one]))
        elif log.tokens not in ruleset.validation_bytes:
            unknown.add(log.tokens)
        elif bounds and lines:
            answers.append(_one_log(lines, bounds))
    if not answers:
        seen = ", ".join(
            "none" if count is None else f"{count:,}" for count in sorted(unknown, key=str)
        )
        return inconclusive(
            "no log states val_loss, val_bpb and the tokens of a known validation split "
            f"(token counts: {seen or 'known'})"
        )
    findings = [found for answer in answers for found in answer.findings]
    if findings:
        return failed(Strength.LOGGED, findings)
    unsure = [answer for answer in answers if answer.outcome is Outcome.INCONCLUSIVE]
    return (unsure or answers)[-1]


def _stated(
    log: RunLog, bounds: tuple[int, int] | None, claims: ClaimedNumbers | None
) -> Finding | None:
    """A finding where the line of the claimed score states more bytes than its tokens spell."""
    claimed = claims.seed_val_bpb.get(str(log.seed), claims.val_bpb) if claims else None
    if bounds is None or claimed is None:
        return None
    for score in log.scores:
        said = score.stated_bytes or 0
        if abs(score.val_bpb - claimed) < DIFFERENT_BPB and said > bounds[1] * (1 + PART_OF_SPLIT):
            return Finding(
                f"the score of the line states {said / 1e6:.2f} M bytes; the {log.tokens or 0:,} "
                f"tokens that were loaded spell {bounds[0] / 1e6:.2f} to {bounds[1] / 1e6:.2f} M "
                f"({said / bounds[1] - 1:+.1%})",
                Location(file=log.file, line=score.line, text=score.label),
                {"stated_bytes": said, "expected_bytes": list(bounds)},
            )
    return None


def _more_than_all(lines: list[_Implied], evidence: Evidence, ruleset: Ruleset) -> Finding | None:
    """A finding where every line of a record divides by more bytes than the whole split has."""
    most = max(most for _, most in ruleset.validation_bytes.values())
    package = evidence.get(PackageFiles)
    if not lines or (package is not None and package.track != "record"):
        return None
    if any(line.least <= most * (1 + MORE_THAN_ALL) for line in lines) or not _constant(lines):
        return None
    last = lines[-1]
    return Finding(
        f"the score divides by {last}; the whole validation split has at most {most / 1e6:.2f} M, "
        f"whatever the tokenizer ({last.middle / most - 1:+.1%}): bytes are counted twice, "
        "or it is not that split that is scored",
        Location(file=last.log.file, line=last.score.line, text=last.score.label),
        {"implied_bytes": round(last.middle), "most_bytes": most},
    )


def _one_log(lines: list[_Implied], bounds: tuple[int, int]) -> Judgement:
    """What the lines of one log say together."""
    good = [line for line in lines if line.within(bounds)]
    bad = [line for line in lines if not line.within(bounds)]
    text = f"{bounds[0] / 1e6:.2f} to {bounds[1] / 1e6:.2f} M bytes"
    if not bad:
        return passed(
            Strength.LOGGED, f"the score divides by {good[-1]}; the validation text has {text}"
        )
    far = [line for line in bad if not line.within(bounds, PART_OF_SPLIT)]
    if good and lines[-1] in good and not far:
        return passed(
            Strength.LOGGED,
            f"the score divides by {good[-1]}, an earlier stage by {bad[-1]}; the validation text "
            f"has {text}",
        )
    if good:
        bad = far or bad
        return inconclusive(
            f"lines of one log imply different denominators: {good[-1]} and {bad[-1]}; the "
            f"validation text has {text}",
            strength=Strength.LOGGED,
        )
    worst = bad[-1]
    if any(line.within(bounds, PART_OF_SPLIT) for line in bad):
        return inconclusive(
            f"the score divides by {worst}, and the validation text has {text}: near enough to be "
            "a part of the split",
            strength=Strength.LOGGED,
        )
    if not _constant(bad):
        return inconclusive(
            f"the score seems to divide by {worst}, and the validation text has {text}; but no "
            "second line with another score implies the same bytes, so val_bpb may be of a "
            "mixture and val_loss of the model alone",
            strength=Strength.LOGGED,
        )
    return failed(
        Strength.LOGGED,
        [
            Finding(
                f"the score divides by {worst.middle / 1e6:.2f} M bytes; the validation text of "
                f"{worst.log.tokens:,} tokens has {text} ({worst.middle / bounds[1] - 1:+.1%})",
                Location(file=worst.log.file, line=worst.score.line, text=worst.score.label),
                {"implied_bytes": round(worst.middle), "expected_bytes": list(bounds)},
            )
        ],
    )


def _constant(lines: list[_Implied]) -> bool:
    """Whether two lines with different scores imply the same bytes as the last one."""
    last = lines[-1]
    return any(
        abs(line.score.val_bpb - last.score.val_bpb) > DIFFERENT_BPB
        and line.least <= last.most
        and last.least <= line.most
        for line in lines
    )


def _implied(log: RunLog) -> Iterator[_Implied]:
    """The denominator that each line of a log implies."""
    for score in log.scores:
        if score.val_loss is None or not log.tokens or score.val_loss <= 0:
            continue
        half = 0.5 * 10.0**-score.decimals
        scale = log.tokens / math.log(2)
        yield _Implied(
            log,
            score,
            scale * (score.val_loss - half) / (score.val_bpb + half),
            scale * (score.val_loss + half) / max(score.val_bpb - half, half),
        )


RULE = Rule(
    id="byte-denominator",
    title="Bits are divided by the bytes of the text",
    authority="official",
    needs=(StreamBytes, LoggedNumbers, ByteTables),
    check=check,
    matters=(
        "Dividing by more bytes than the text has makes the score better without a better "
        "prediction."
    ),
    mend=(
        "Count the bytes of the original text: each piece's own bytes, a leading space once, and "
        "a byte token as one."
    ),
    documentation=__doc__ or "",
)

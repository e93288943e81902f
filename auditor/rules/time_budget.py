"""Training and evaluation take at most 600 seconds each, and training data is untouched after.

**Motive.** Ten minutes of training and ten of evaluation are what makes records comparable. What is
done between them is done in one of them: organisers do not regard the making of the artifact as
untimed, and closed records that had trained for the whole budget and then looked at training data
once more to calibrate the quantisation.

**How it is judged.** By the logs of the record track (strength `logged`):

- training stopped by the clock at more than 601 s fails; loops check the clock after a step, so a
  second is rounding.
- a calibration on training data after the stop is added to it; that it was on training data, the
  log says, or the source, where all its calibrations are given such data. When training had used
  the whole 600 s, or the sum is over 607 s, the rule fails. A sum of 601 to 607 s is INCONCLUSIVE:
  organisers closed such records in March and accepted them from 2026-04-29 on.
- an evaluation of the claimed stage, or a `total_eval_time`, of more than 600 s fails.

The other track has no such limit: NOT APPLICABLE.

**Violates:** #606, 600.0 s and then 3.6 s of calibration on training data. **Innocent:** #1394,
which stops at 588.1 s and calibrates for 11.3 s.

**How it can be wrong.** Only what the logs print is added up; a calibration without a time counts
where nothing was left of the 600 s, and not otherwise. Seconds of hardware other than eight H100
mean something else, and a log that lists another accelerator decides nothing.
"""

from collections.abc import Iterator, Sequence

from auditor.evidence import (
    CalibrationData,
    Evidence,
    LoggedNumbers,
    PackageFiles,
    RunLog,
    ScoreLine,
)
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
    not_applicable,
    passed,
)

BY_SOURCE = "(as the source has it) "
ROUNDED_BPB = 1e-4
"""A score printed with four decimals lies this close to the exact one."""


def check(evidence: Evidence, ruleset: Ruleset) -> Judgement:
    """FAIL when a clock of a claimed run is over its limit."""
    package = evidence.get(PackageFiles)
    if package is not None and package.track != "record":
        return not_applicable("the limits of time are those of the record track")
    logs = claimed_logs(evidence)
    timed = [log for log in logs if log.facts.stop_ms is not None]
    if evidence.get(LoggedNumbers) is None or not logs:
        return inconclusive("no log of a claimed run was found")
    other = sorted({gpu for log in logs for gpu in log.facts.gpus if "H100" not in gpu})
    if other:
        return inconclusive(f"a log lists {', '.join(other)}; the limits are those of eight H100")
    source = evidence.get(CalibrationData)
    trains = bool(source and source.training and not source.other)
    over = [finding for runs in _by_seed(logs) for finding in _least(runs, ruleset, trains)]
    over += [
        Finding(
            f"the calibration is given training data ({line.text})",
            Location(file=line.file, line=line.line, text=line.text),
        )
        for line in (source.training if source and trains and _by_source(over) else ())
    ]
    if over:
        return failed(Strength.LOGGED, over)
    unsettled = [finding for log in logs for finding in _unsettled(log, ruleset)]
    if unsettled:
        return inconclusive(
            "organisers closed such records in March and accepted them from 2026-04-29 on",
            unsettled,
            Strength.LOGGED,
        )
    if not timed:
        return inconclusive("no log of a claimed run says when its training stopped")
    stops = ", ".join(f"{(log.facts.stop_ms or 0) / 1000:,.1f} s" for log in timed)
    return passed(Strength.LOGGED, f"training stopped at {stops}; nothing printed is over 600 s")


def _by_seed(logs: Sequence[RunLog]) -> Iterator[list[RunLog]]:
    """Logs of one seed together: it may have been run, or evaluated, again."""
    for seed in dict.fromkeys(log.seed for log in logs):
        yield [log for log in logs if log.seed == seed]


def _by_source(findings: list[Finding]) -> bool:
    """Whether a finding hangs on what the source says of a calibration."""
    return any(BY_SOURCE in finding.message for finding in findings)


def _least(runs: list[RunLog], ruleset: Ruleset, trains: bool) -> list[Finding]:
    """Findings of the first of the runs that has any; none where one of them has none."""
    findings = [list(_over(log, ruleset, trains)) for log in runs]
    return findings[0] if all(findings) else []


def _over(log: RunLog, ruleset: Ruleset, trains: bool) -> Iterator[Finding]:
    """What is over a limit beyond dispute; `trains` says that calibrations read training data."""
    limit, slack = ruleset.seconds, ruleset.rounding_seconds
    facts = log.facts
    stop = (facts.stop_ms or 0) / 1000
    if stop > limit + slack:
        yield _finding(log, facts.stop_line, f"training stopped at {stop:,.3f} s", limit, stop)
    for one in facts.calibrations:
        total = stop + (one.seconds or 0)
        if (one.training or trains) and (stop >= limit or total > ruleset.accepted_seconds):
            took = "a" if one.seconds is None else f"{one.seconds:g} s of"
            said = (
                f"training stopped at {stop:,.3f} s, and {took} calibration on training data "
                f"{'' if one.training else BY_SOURCE}followed"
                + ("" if one.seconds is None else f": {total:,.1f} s")
            )
            yield _finding(log, one.line, said, limit, total)
    stage = _timed_stage(log)
    if stage is not None and (stage.eval_seconds or 0) > limit:
        said = f"the evaluation of {stage.label} took {stage.eval_seconds:,.1f} s"
        yield _finding(log, stage.line, said, limit, stage.eval_seconds or 0)
    total_eval = facts.total_eval_seconds
    if total_eval is not None and total_eval > limit:
        said = f"total_eval_time is {total_eval:,.1f} s"
        yield _finding(log, facts.total_eval_line, said, limit, total_eval)


def _timed_stage(log: RunLog) -> ScoreLine | None:
    """The final score with its time; the exact form of it is a line of its own, without one."""
    final = log.final
    if final is None:
        return None
    for score in log.scores:
        near = (
            abs(score.line - final.line) <= 2 and abs(score.val_bpb - final.val_bpb) < ROUNDED_BPB
        )
        if near and score.eval_seconds is not None:
            return score
    return None


def _unsettled(log: RunLog, ruleset: Ruleset) -> Iterator[Finding]:
    """What organisers closed in March and accepted later."""
    stop = (log.facts.stop_ms or 0) / 1000
    for one in log.facts.calibrations:
        total = stop + (one.seconds or 0)
        if one.seconds is not None and total > ruleset.seconds + ruleset.rounding_seconds:
            said = f"training and calibration took {stop:,.1f} s and {one.seconds:g} s"
            yield _finding(log, one.line, said, ruleset.seconds, total)


def _finding(log: RunLog, line: int | None, said: str, limit: float, found: float) -> Finding:
    return Finding(
        f"{said}; the limit is {limit:g} s",
        Location(file=log.file, line=line),
        {"seconds": found, "limit": limit},
    )


RULE = Rule(
    id="time-budget",
    title="Training and evaluation within 600 seconds each",
    authority="official",
    needs=(LoggedNumbers, CalibrationData),
    check=check,
    matters="Ten minutes each of training and evaluation are what makes records comparable.",
    mend=(
        "Stop earlier, and keep calibration and everything else that reads training data within "
        "the 600 seconds."
    ),
    documentation=__doc__ or "",
)

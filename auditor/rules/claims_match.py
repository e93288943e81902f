"""What submission.json claims is what the logs and the shipped files say.

**Motive.** A reader takes the headline for the result. It has to be the result of the runs whose
logs stand beside it, of the script that is shipped.

**How it is judged.** A claimed score of a seed must be one that a log of that seed prints; the
headline must be the mean of the claimed seeds in one stage of their logs, or the score itself where
there is one run. A headline over seeds that are not named, or whose logs are missing, cannot be
recomputed, and fails nobody. Equal means within one unit of the last decimal of the claim (zeros at
its end do not count, and three decimals are the least). FAIL, of strength
`logged`, needs a claim that no stage of any log explains, not even a mean over some of them, and
logs that reach a final score. A headline that is explained only in another way (the best seed, a
mean over some logs) is INCONCLUSIVE, with the mean beside it. Claimed bytes are compared with the
totals of the logs and with the recount; they and a log that was printed by a script of another size
than the shipped one are INCONCLUSIVE: packing a script afterwards is legal, and changes both.

Where the script was run, its claimed line is held against the charges that were seen in the run. A
line that prints one number for texts that share nothing, or the same share of its charges on each
of them, or the same distance below them, and less than noise costs, is no sum of charges: FAIL, of
strength `ran`. One run decides nothing here, because a mixture may be computed out of sight.

**Violates:** #2118, 1.04295 claimed and 1.05741 in the log of that seed. **Innocent:** a mean
that is rounded; logs of an unpacked copy of the shipped script.

**How it can be wrong.** Logs can be edited, or come from another configuration than the claim;
then a FAIL says truly that they do not belong together, not which of the two is wrong. A score that
a log prints in words that are not read here is not found. `submission.json` has no fixed shape: a
claim in a shape that is not known is not compared.
"""

import itertools
import math
import statistics
from collections.abc import Sequence

from auditor.evidence import (
    ClaimedNumbers,
    Evidence,
    LoggedNumbers,
    PrintedScores,
    RunLog,
    ScoreLine,
    ShippedBytes,
)
from auditor.rules.printed import not_what_was_charged
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

MAX_LOGS_IN_SUBSETS = 8
"""Means over some of the logs are tried up to so many logs (255 subsets)."""
COARSEST_BPB = 1e-3
"""A claim with fewer decimals matches no better than one with three."""
MATERIAL_BPB = 5e-4
"""A smaller difference is a slip of the pen, not another result: seeds differ by as much."""


def check(evidence: Evidence, ruleset: Ruleset) -> Judgement:
    """Compare what a run prints with its charges, then the claimed scores, then the sizes."""
    forged = not_what_was_charged(evidence)
    if forged is not None:
        return failed(Strength.RAN, [forged])
    claims = evidence.get(ClaimedNumbers)
    logged = evidence.get(LoggedNumbers)
    if claims is None:
        return inconclusive(evidence.why_not(ClaimedNumbers))
    if logged is None or not any(log.final for log in logged.logs):
        return inconclusive("no run log states a score that the claims could be compared with")
    if claims.val_bpb is None and not claims.seed_val_bpb:
        return inconclusive(f"{claims.file} states no score in a place where one is expected")
    wrong: list[Finding] = []
    doubts: list[Finding] = []
    _seeds(claims, logged, wrong, doubts)
    _headline(claims, logged, wrong, doubts)
    if wrong:
        return failed(Strength.LOGGED, wrong + doubts)
    _sizes(claims, logged, evidence.get(ShippedBytes), doubts)
    if doubts:
        return inconclusive("; ".join(doubt.message for doubt in doubts), doubts, Strength.LOGGED)
    return passed(Strength.LOGGED, _agreement(claims, logged))


def claimed_logs(logged: LoggedNumbers, claims: ClaimedNumbers | None) -> tuple[RunLog, ...]:
    """The logs that belong to the claim: of a claimed seed, and with its score where one is given.

    A folder may hold other runs of the same seed, such as ablations; what tells them apart is the
    score. Where the claim names no seed, or none of its seeds has a log, every log belongs to it.
    """
    if claims is None:
        return logged.logs
    ours: list[RunLog] = []
    for seed in claims.seeds:
        same = [log for log in logged.logs if log.seed is not None and str(log.seed) == seed]
        score = claims.seed_val_bpb.get(seed)
        told = [log for log in same if score is not None and _stage_with(score, log)]
        ours += told or same
    if not ours and claims.val_bpb is not None:
        ours = [log for log in logged.logs if _stage_with(claims.val_bpb, log)]
    return tuple(ours) or logged.logs


def shows_claim(log: RunLog, claims: ClaimedNumbers | None) -> bool:
    """Whether a log may stand for its claim: it shows the claimed score, or no score of it is."""
    if claims is None:
        return True
    score = claims.seed_val_bpb.get(str(log.seed))
    if score is None and len(claims.seeds) <= 1 and not claims.seed_val_bpb:
        score = claims.val_bpb
    return score is None or _stage_with(score, log) is not None


def _unit(claimed: float) -> float:
    """One unit of the last decimal that a claim states."""
    digits = repr(claimed).partition(".")[2]
    return 1e-8 if "e" in digits else 10.0 ** -min(len(digits), 8)


def _equal(claimed: float, seen: float) -> bool:
    """Whether a claim is what was seen, rounded or cut off at the decimals of the claim."""
    return abs(claimed - seen) <= min(_unit(claimed), COARSEST_BPB) * (1 + 1e-6)


def _differs(claimed: float, seen: float) -> bool:
    """Whether a claim cannot be meant to be what was seen."""
    return abs(claimed - seen) > max(_unit(claimed), MATERIAL_BPB)


def _stages(log: RunLog) -> list[ScoreLine]:
    """Scores of finished stages; those between training steps only where there is nothing else."""
    return [score for score in log.scores if not score.during_training] or list(log.scores[-1:])


def _stage_with(claimed: float, log: RunLog) -> ScoreLine | None:
    """The last stage of a log whose score is the claimed one."""
    for score in reversed(_stages(log)):
        if _equal(claimed, score.val_bpb):
            return score
    return None


def _finished(log: RunLog) -> bool:
    """Whether the log reaches a score after training."""
    return log.final is not None and not log.final.during_training


def _seeds(
    claims: ClaimedNumbers, logged: LoggedNumbers, wrong: list[Finding], doubts: list[Finding]
) -> None:
    """Compare each claimed seed with the logs of that seed."""
    for seed, claimed in claims.seed_val_bpb.items():
        logs = [log for log in logged.logs if str(log.seed) == seed and log.final]
        if not logs:
            doubts.append(
                Finding(
                    f"{claims.file} claims {claimed} bpb for seed {seed}; no log is of that seed",
                    Location(file=claims.file),
                    {"seed": seed, "claimed_bpb": claimed},
                )
            )
        elif not any(_stage_with(claimed, log) for log in logs):
            final = min(
                (log.final for log in logs if log.final), key=lambda s: abs(s.val_bpb - claimed)
            )
            log = next(log for log in logs if log.final is final)
            finding = Finding(
                f"{claims.file} claims {claimed} bpb for seed {seed}; the log says {final.val_bpb} "
                f"({final.label})",
                Location(file=log.file, line=final.line, text=final.label),
                {"seed": seed, "claimed_bpb": claimed, "logged_bpb": final.val_bpb},
            )
            certain = _finished(log) and _differs(claimed, final.val_bpb)
            anywhere = any(
                _equal(claimed, score.val_bpb) for other in logged.logs for score in other.scores
            )
            (wrong if certain and not anywhere else doubts).append(finding)


def _headline(
    claims: ClaimedNumbers, logged: LoggedNumbers, wrong: list[Finding], doubts: list[Finding]
) -> None:
    """Compare the headline with the runs that it stands for."""
    claimed = claims.val_bpb
    ours = [log for log in claimed_logs(logged, claims) if log.final]
    if claimed is None or not ours:
        return
    if len(ours) == 1 and _stage_with(claimed, ours[0]):
        return
    if any(_equal(claimed, mean) for mean in _means(ours)):
        return
    finals = [log.final.val_bpb for log in ours if log.final]
    mean = statistics.fmean(finals)
    message = f"{claims.file} claims {claimed} bpb; the mean of {len(ours)} log(s) is {mean:.8f}"
    numbers = {"claimed_bpb": claimed, "logged_bpb": mean, "logs": [log.file for log in ours]}
    place = Location(file=ours[0].file, line=ours[0].final.line if ours[0].final else None)
    readings = _other_readings(claims, logged)
    same = next((words for value, words in readings if _equal(claimed, value)), None)
    if same:
        doubts.append(Finding(f"{message}, and {claimed} is {same}", place, numbers))
    elif _complete(claims, ours) and all(_differs(claimed, value) for value, _ in readings):
        wrong.append(Finding(f"{message}, and no stage of any log gives {claimed}", place, numbers))
    else:
        doubts.append(Finding(message, place, numbers))


def _complete(claims: ClaimedNumbers, logs: Sequence[RunLog]) -> bool:
    """Whether the logs are of all claimed seeds, and each reaches a score after training."""
    seeds = {str(log.seed) for log in logs}
    return (
        bool(claims.seeds)
        and seeds.issuperset(claims.seeds)
        and all(_finished(log) for log in logs)
    )


def _means(logs: Sequence[RunLog]) -> list[float]:
    """The mean of the final scores, and of every stage that all logs have."""
    finals = [log.final.val_bpb for log in logs if log.final]
    by_label = [{score.label: score.val_bpb for score in _stages(log)} for log in logs]
    shared = set(by_label[0]).intersection(*by_label[1:])
    return [statistics.fmean(finals)] + [
        statistics.fmean(scores[label] for scores in by_label) for label in sorted(shared)
    ]


def _other_readings(claims: ClaimedNumbers, logged: LoggedNumbers) -> list[tuple[float, str]]:
    """Every other number that the headline may be, in words."""
    readings = [
        (score.val_bpb, f"the score of one log alone ({log.file}:{score.line})")
        for log in logged.logs
        for score in log.scores
    ]
    logs = [log for log in logged.logs if log.final][:MAX_LOGS_IN_SUBSETS]
    for count in range(2, len(logs) + 1):
        for some in itertools.combinations(logs, count):
            names = ", ".join(log.file for log in some)
            readings += [(mean, f"the mean of {names}") for mean in _means(some)]
    seeds = list(claims.seed_val_bpb.values())
    if seeds:
        mean = math.fsum(seeds) / len(seeds)
        readings.append((mean, f"the mean of the scores claimed for {len(seeds)} seed(s)"))
    return readings


def _sizes(
    claims: ClaimedNumbers,
    logged: LoggedNumbers,
    shipped: ShippedBytes | None,
    doubts: list[Finding],
) -> None:
    """Compare claimed bytes with the logs, and the logged script with the shipped one."""
    ours = claimed_logs(logged, claims)
    for seed, claimed in claims.seed_bytes.items():
        totals = {log.total_bytes for log in ours if str(log.seed) == seed and log.total_bytes}
        if totals and claimed not in totals:
            doubts.append(
                Finding(
                    f"{claims.file} claims {claimed:,} bytes for seed {seed}; the log says "
                    + " or ".join(f"{total:,}" for total in sorted(totals)),
                    Location(file=claims.file),
                    {"seed": seed, "claimed_bytes": claimed, "logged_bytes": sorted(totals)},
                )
            )
    script = shipped.code.get(shipped.entry or "") if shipped else None
    if shipped is None or script is None:
        return
    # A log may count the script alone, or the helper files with it.
    readings = {script, shipped.code_bytes}
    printed = sorted({log.code_bytes for log in ours if log.code_bytes})
    if printed and not readings.intersection(printed):
        helpers = f", {shipped.code_bytes:,} with its helpers" if len(readings) > 1 else ""
        doubts.append(
            Finding(
                "the logs were printed by a script of "
                + " or ".join(f"{size:,}" for size in printed)
                + f" bytes; the shipped one has {script:,}{helpers}",
                Location(file=shipped.entry),
                {"logged_code_bytes": printed, "shipped_code_bytes": sorted(readings)},
            )
        )


def _agreement(claims: ClaimedNumbers, logged: LoggedNumbers) -> str:
    """What was compared, for the report."""
    ours = [log.file for log in claimed_logs(logged, claims) if log.final]
    seeds = f" and {len(claims.seed_val_bpb)} seed score(s)" if claims.seed_val_bpb else ""
    headline = f"{claims.val_bpb} bpb" if claims.val_bpb is not None else "the scores"
    return f"{headline}{seeds} of {claims.file} are what {', '.join(ours)} say"


RULE = Rule(
    id="claims-match",
    title="The claims are what the logs say",
    authority="official",
    needs=(ClaimedNumbers, LoggedNumbers, PrintedScores, ShippedBytes),
    check=check,
    matters="A reader takes the headline for the result of the runs whose logs stand beside it.",
    mend=(
        "State the mean of the final scores in the shipped logs, or ship the logs that the claim "
        "is made of."
    ),
    documentation=__doc__ or "",
)

"""A record beats the one before it by more than luck.

**Motive.** Seeds scatter by about a thousandth of a bit; a smaller gain is no gain. The challenge
asks for 0.005 nats a token at p < 0.01. From 2026-04-28 organisers went by another bar, p < 0.25
that there is any gain at all; both are reported, because the text was never changed.

**How it is judged.** By the logs (strength `logged`), against the folder of the earlier record
that `--against` names: a one-sided test of Welch on the final scores of the claimed runs of both,
two at least. Scores are compared in bits per byte, because tokenizers differ, and 0.005 nats a
token is made into bits per byte by the new record's own tokens. p < 0.01 passes; where only the
later bar is cleared the answer is INCONCLUSIVE; neither fails the rule. Without an earlier record
the rule does not apply.

**Violates:** #374, better by less than seeds scatter. **Innocent:** #549 and #1019.

**How it can be wrong.** Seeds of one machine are not independent of it, and three of them say
little of the spread. Which record came before is for whoever asks to know.
"""

from auditor.evidence import Evidence, FinalScores, LoggedNumbers, PriorRecord
from auditor.rules.claimed import claimed_logs
from auditor.rulesets import Ruleset
from auditor.stats import welch
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


def check(evidence: Evidence, ruleset: Ruleset) -> Judgement:
    """Compare the seeds of both records."""
    prior = evidence.get(PriorRecord)
    if prior is None:
        return not_applicable("no earlier record was given to compare with (--against)")
    new = final_scores(evidence)
    old = prior.scores
    if len(new.val_bpb) < 2 or len(old.val_bpb) < 2:
        return inconclusive(
            f"{len(new.val_bpb)} claimed run(s) here and {len(old.val_bpb)} in {prior.name}; "
            "expected two at least"
        )
    if new.nats_per_bpb is None:
        return inconclusive("no log states val_loss beside val_bpb, so nats are not known")
    margin = ruleset.significance_nats / new.nats_per_bpb
    bar = welch(new.val_bpb, old.val_bpb, margin)
    any_gain = welch(new.val_bpb, old.val_bpb)
    said = (
        f"{bar.difference:+.5f} bpb ({bar.difference * new.nats_per_bpb:+.5f} nats a token) better "
        f"than {prior.name}; p = {bar.p:.3g} for {ruleset.significance_nats} nats, "
        f"{any_gain.p:.3g} for any gain"
    )
    numbers = {
        "difference_bpb": bar.difference,
        "p_of_the_margin": bar.p,
        "p_of_any_gain": any_gain.p,
    }
    if bar.p < ruleset.significance_p:
        return passed(Strength.LOGGED, said)
    finding = Finding(said, Location(file=new.file), numbers)
    if any_gain.p < ruleset.progress_p:
        return inconclusive(
            f"{said}: the later bar of p < {ruleset.progress_p} is cleared alone", [finding]
        )
    return failed(Strength.LOGGED, [finding])


def final_scores(evidence: Evidence) -> FinalScores:
    """The final score of every claimed run; of one seed the last log."""
    finals = {
        log.seed if log.seed is not None else log.file: (log, log.final)
        for log in claimed_logs(evidence)
        if log.final is not None
    }
    ratios = [
        score.val_loss / score.val_bpb for _, score in finals.values() if score.val_loss is not None
    ]
    return FinalScores(
        file=next((log.file for log, _ in finals.values()), None),
        val_bpb=tuple(score.val_bpb for _, score in finals.values()),
        nats_per_bpb=sum(ratios) / len(ratios) if ratios else None,
    )


RULE = Rule(
    id="significance",
    title="Better than the record before by more than luck",
    authority="official",
    needs=(PriorRecord, LoggedNumbers),
    check=check,
    matters="Seeds scatter, and a gain that is smaller than their scatter is no gain.",
    mend="Run more seeds of both records, or improve the score by more than the message asks for.",
    documentation=__doc__ or "",
)

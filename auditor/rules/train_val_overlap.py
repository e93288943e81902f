"""The training shards hold no validation document.

**Motive.** Data that is prepared anew can be split at another place than the one that is scored: a
script whose default kept the first 10,000 documents for validation, beside a score over the first
50,000, left 40,000 validation documents in the training data. Fifteen submissions of April had it.

**How it is judged.** By the logs of the claimed runs (strength `logged`). The preparation of the
CaseOps text with a boundary of 10,000 documents leaves 1,499 training shards; with the boundary at
50,000, which the 47,851,520 validation tokens of the same log show to be scored, four shards less
are left. A log with both numbers fails the rule: an organiser ruled so on one. Other counts decide
nothing: a copy of the shards may have any number of them.

**Violates:** #2130, 1,499 shards beside a score over 50,000 documents. **Innocent:** #1855, 80
published shards.

**How it can be wrong.** The number of shards is a fingerprint and no hash of documents. A log
without it, or with the 80 or 143 shards of the published data, shows nothing either way, so the
rule never passes by it.
"""

from auditor.evidence import Evidence, LoggedNumbers
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
)


def check(evidence: Evidence, ruleset: Ruleset) -> Judgement:
    """FAIL on the fingerprint; nothing else decides."""
    if evidence.get(LoggedNumbers) is None:
        return inconclusive(evidence.why_not(LoggedNumbers))
    findings = []
    for log in claimed_logs(evidence):
        shards = log.facts.train_shards
        if (shards, log.tokens) in ruleset.overlapping_shards:
            findings.append(
                Finding(
                    f"{shards:,} training shards beside {log.tokens:,} validation tokens: so many "
                    "are left only when the first 10,000 documents were kept out of training, and "
                    "50,000 are scored",
                    Location(file=log.file),
                    {"train_shards": shards, "val_tokens": log.tokens},
                )
            )
    if findings:
        return failed(Strength.LOGGED, findings)
    return not_applicable("no log has the fingerprint of a split at another place")


RULE = Rule(
    id="train-val-overlap",
    title="No validation document in the training shards",
    authority="official",
    needs=(LoggedNumbers,),
    check=check,
    documentation=__doc__ or "",
)

"""The training shards hold no validation document.

**Motive.** Data that is prepared anew can be split at another place than the one that is scored: a
script whose default kept the first 10,000 documents for validation, beside a score over the first
50,000, left 40,000 validation documents in the training data. Fifteen submissions of April had it.

**How it is judged.** By the logs of the claimed runs. A preparation of the CaseOps text with its
boundary at 10,000 documents left 1,499 training shards in the records that organisers and others
found to have it, and no record without it has shown that number beside 47,851,520 validation
tokens, which are those of 50,000 documents. A log with both numbers is shown, and the result is
INCONCLUSIVE: a number of shards is a fingerprint, and only documents that are in both splits
would prove it. Without the fingerprint the rule does not apply.

**Violates:** #2130, 1,499 shards beside a score over 50,000 documents. **Innocent:** #1855, 80
published shards.

**How it can be wrong.** A log without the fingerprint, or with the 80 or 143 shards of the
published data, shows nothing either way.
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
    inconclusive,
    not_applicable,
)


def check(evidence: Evidence, ruleset: Ruleset) -> Judgement:
    """Show the fingerprint; nothing here decides."""
    if evidence.get(LoggedNumbers) is None:
        return inconclusive(evidence.why_not(LoggedNumbers))
    findings = []
    for log in claimed_logs(evidence):
        shards = log.facts.train_shards
        if (shards, log.tokens) in ruleset.overlapping_shards:
            findings.append(
                Finding(
                    f"{shards:,} training shards beside {log.tokens:,} validation tokens: so many "
                    "were left where the first 10,000 documents alone were kept out of training",
                    Location(file=log.file),
                    {"train_shards": shards, "val_tokens": log.tokens},
                )
            )
    if findings:
        return inconclusive(
            "only documents found in both splits would prove it", findings, Strength.LOGGED
        )
    return not_applicable("no log has the fingerprint of a split at another place")


RULE = Rule(
    id="train-val-overlap",
    title="No validation document in the training shards",
    authority="official",
    needs=(LoggedNumbers,),
    check=check,
    matters="Documents that were trained on are remembered, not predicted.",
    mend=(
        "Split the training data at the same document as the scored validation text, and train "
        "again."
    ),
    documentation=__doc__ or "",
)

"""Packed documents do not leak across the token that begins one (disputed).

**Motive.** Evaluators pack documents into one stream. A gate that mixes each position with the one
before carries the last token of a document into the first position of the next, unless it is closed
there. An organiser blocked a record for that in April 2026 and accepted others once the gate was
masked; others hold that earlier documents come before, so that nothing leaks, and a record without
the mask stands. The rule is disputed: its findings are shown, and the result is INCONCLUSIVE.

**How it is judged.** By the source (strength `source`): a function that joins `x[:, :1]` with what
it makes of `x[:, 1:]` and `x[:, :-1]`, and mentions nothing of a document's beginning. Where there
is no such gate the rule does not apply.

**Violates:** #1797 as it was first reviewed. **Innocent:** #1851, which closes the gate where a
document begins.

**How it can be wrong.** Attention over earlier documents is not looked for, and is as common; nor
is a gate that is written in another way. A mask that is applied by the caller is taken for none.
"""

from auditor.evidence import Evidence, ShiftGates
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


def check(evidence: Evidence, ruleset: Ruleset) -> Judgement:
    """FAIL, which the dispute makes INCONCLUSIVE, when a gate has no mask."""
    gates = evidence.get(ShiftGates)
    if gates is None:
        return inconclusive(evidence.why_not(ShiftGates))
    if not gates.masked and not gates.open:
        return not_applicable("nothing mixes a position with the one before")
    findings = [
        Finding(
            f"line {gate.line} mixes each position with the one before ({gate.text}) and has no "
            "mask where a document begins",
            Location(file=gate.file, line=gate.line, text=gate.text),
        )
        for gate in gates.open
    ]
    if findings:
        return failed(Strength.SOURCE, findings)
    return passed(Strength.SOURCE, f"{len(gates.masked)} gate(s), masked where a document begins")


RULE = Rule(
    id="document-boundary",
    title="Documents do not leak across their boundary",
    authority="disputed",
    needs=(ShiftGates,),
    check=check,
    matters=(
        "A gate that mixes across a boundary may tell the next document something of the one "
        "before."
    ),
    mend="Close the gate at the first token of a document.",
    documentation=__doc__ or "",
)

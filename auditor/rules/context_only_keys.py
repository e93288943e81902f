"""The key of every lookup that feeds a score is made of context tokens alone.

**Motive.** A table of counts that is read only at the key of the true next token gives that token a
number, not a probability: every other token would have found its own entry, and with hashed keys
nearly every one would have found something. The numbers of all tokens then add up to far more than
one, and the score falls although nothing was predicted. The organisers closed submissions of this
kind from 2026-03-27 on.

**How it is judged.** By reading the source (strength `source`): an index into which context tokens
and the target are mixed by hashing, the table read by it, and the logarithm that the entry comes
into. A FAIL shows the line of the read and the line of the key, and needs the entry point to get
there: every switch on the way is known to be on, or a log shows that the branch ran. Without a log
a claim below 0.5 bits a byte shows it too: that is half of what any score has that was found to be
a code length, and nothing else in the source explains it. Where a switch is open the answer is
INCONCLUSIVE and names it; where it is off, the read is mentioned and the rule passes. A script that
could not be read (packed, compiled, not parsable) is INCONCLUSIVE.

**Violates:** #779, `ctx_hash ^ (target * prime)` read at the target. **Innocent:** embeddings of
hashed bigrams of the input; #1514, where the target is hashed for the update alone.

**How it can be wrong.** The target is recognised by the names that scripts give it and by where it
stands in the stream. A pair table that is read for every token of the vocabulary and divided by the
sum of these reads is a distribution; such reads are never a FAIL here. A lookup in compiled code is
not seen. An honest leap to below 0.5 bits a byte, beside such a read that is switched off in a way
that reading does not see, would fail wrongly.
"""

from auditor.evidence import DataFlow, Evidence, TargetRead
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


def check(evidence: Evidence, ruleset: Ruleset) -> Judgement:
    """Judge by the reads that were found, and by what could not be read."""
    flow = evidence.get(DataFlow)
    if flow is None:
        return inconclusive(evidence.why_not(DataFlow))
    reached = [read for read in flow.target_reads if read.reached is True]
    unsure = [read for read in flow.target_reads if read.reached is None]
    if reached:
        return failed(Strength.SOURCE, [_finding(read) for read in reached])
    if unsure:
        return inconclusive(
            "; ".join(dict.fromkeys(read.why for read in unsure)),
            [_finding(read) for read in unsure],
            Strength.SOURCE,
        )
    if flow.unread:
        return inconclusive(f"not everything could be read: {'; '.join(flow.unread)}")
    off = "".join(
        f"; {read.file}:{read.line} would, but is not reached: {read.why}"
        for read in flow.target_reads
    )
    return passed(
        Strength.SOURCE,
        f"{flow.table_reads} table read(s) in {_counted(flow.files)}: none that feeds a score has "
        f"the token being predicted in its key{off}",
    )


def _finding(read: TargetRead) -> Finding:
    """The read and the key, with their lines."""
    return Finding(
        f"{read.function} reads a table at line {read.line} by a key that line {read.key_line} "
        f"makes from the token being predicted ({read.key_text}); {read.why}",
        Location(file=read.file, line=read.line, text=read.text),
        {"key_line": read.key_line, "reached": read.reached},
    )


def _counted(files: tuple[str, ...]) -> str:
    """The entry by name, and how many files were followed with it."""
    return files[0] if len(files) == 1 else f"{files[0]} and {len(files) - 1} file(s) it imports"


RULE = Rule(
    id="context-only-keys",
    title="Lookup keys are made of context tokens alone",
    authority="official",
    needs=(DataFlow,),
    check=check,
    matters=(
        "A table that is read at the key of the true token gives every token a hit, so the "
        "entries add up to more than one."
    ),
    mend=(
        "Make the key of context tokens alone, read the counts of all tokens under it, and divide"
        " by their sum."
    ),
    documentation=__doc__ or "",
)

"""The score follows from the artifact: code and compressed model, and nothing else.

**Motive.** A table of counts that was filled from training data, and is handed to the evaluation
in the memory of the process, may weigh gigabytes; a decoder that has the artifact of 16 MB does
not have it. The challenge asks for a self-contained artifact without training data at evaluation,
unless its bytes are paid for.

**How it is judged.** By the source (strength `source`): the program is followed in its order, and a
table that is written at keys made of training tokens, and comes into the claimed score without
having gone through a file or a buffer of serialised bytes, fails the rule, with the line that fills
it. Weights are not tables: every record scores a model in the process that trained it, or reads it
back from its own artifact.

**Violates:** #925, whose mixer was filled from the training shards and handed on in memory.
**Innocent:** #1019 and #1493, which read their model back in the same process.

**How it can be wrong.** What a file holds is taken to be paid for; whether the file is counted is
the business of artifact-size. State in compiled code is not seen. A table in an object that the
program reaches only by a computed name is not seen either.
"""

from auditor.evidence import Evidence, LearningOrder, OnTheWay
from auditor.rules.read_order import lines_on_the_way
from auditor.rulesets import Ruleset
from auditor.verdict import Judgement, Rule, Strength, inconclusive, passed


def check(evidence: Evidence, ruleset: Ruleset) -> Judgement:
    """FAIL when a table of training tokens reaches the score in memory."""
    order = evidence.get(LearningOrder)
    if order is None:
        return inconclusive(evidence.why_not(LearningOrder))
    read = lines_on_the_way(order, order.tables, _filled)
    if read is not None:
        return read
    if order.unread:
        return inconclusive(f"not everything could be read: {'; '.join(order.unread)}")
    return passed(Strength.SOURCE, "no table of training tokens comes into the score, as read")


def _filled(table: OnTheWay) -> str:
    return (
        f"line {table.line} fills a table at keys made of training tokens ({table.text}), and the "
        f"score that line {table.report_line} prints reads it without a file between"
    )


RULE = Rule(
    id="artifact-only",
    title="The score follows from the artifact alone",
    authority="official",
    needs=(LearningOrder,),
    check=check,
    documentation=__doc__ or "",
)

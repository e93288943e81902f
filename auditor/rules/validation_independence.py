"""The artifact does not depend on validation data.

**Motive.** A model that was trained on, or calibrated with, validation tokens before it was written
has them in its weights; charging for them afterwards measures memory. "You can't cheat by training
on the validation set before you evaluate", says the challenge; organisers closed records that
adapted before quantisation, calibrated quantisation on validation text, or stored it.

**How it is judged.** By the source (strength `source`): the program is followed in its order, and
what an optimiser, a table or a calibration took from validation tokens, and what is then serialised
before the claimed score is printed, fails the rule, with both lines, when the score is that of a
model or a table that had learnt the same. Otherwise it is INCONCLUSIVE: it may be a copy.

**Violates:** #1487, which adapts to the split before quantisation. **Innocent:** #1019, which
calibrates on text that the model wrote itself.

**How it can be wrong.** A file is known by its path or by the name of its buffer; one that is read
by another name is taken for the last that was written. What is chosen by a person who has seen
validation scores is not visible in a program.
"""

from auditor.evidence import Evidence, LearningOrder, SavedLearning
from auditor.rules.read_order import open_setting
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
    """FAIL when what was learnt from validation tokens is written into the artifact."""
    order = evidence.get(LearningOrder)
    if order is None:
        return inconclusive(evidence.why_not(LearningOrder))
    certain = [saved for saved in order.saved if saved.scored and not saved.doubts]
    if certain and order.headline is not None:
        found = [_finding(saved) for saved in certain]
        return failed(Strength.SOURCE, found, f"read in the source; {order.headline}")
    if order.saved:
        doubts = [doubt for saved in order.saved for doubt in saved.doubts]
        copy = "whether the claimed score is that of what was written does not follow"
        found = [_finding(saved) for saved in order.saved]
        return inconclusive(open_setting(doubts) if doubts else copy, found, Strength.SOURCE)
    if order.unread:
        return inconclusive(f"not everything could be read: {'; '.join(order.unread)}")
    return passed(
        Strength.SOURCE,
        "nothing learnt from validation tokens is written before the score, as read",
    )


def _finding(saved: SavedLearning) -> Finding:
    return Finding(
        f"line {saved.line} learns from validation tokens ({saved.text}), and line "
        f"{saved.saved_line} writes what was learnt ({saved.saved_text})",
        Location(file=saved.file, line=saved.line, text=saved.text),
        {"saved_file": saved.saved_file, "saved_line": saved.saved_line},
    )


RULE = Rule(
    id="validation-independence",
    title="The artifact does not depend on validation data",
    authority="official",
    needs=(LearningOrder,),
    check=check,
    documentation=__doc__ or "",
)

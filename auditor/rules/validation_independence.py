"""The artifact does not depend on validation data.

**Motive.** A model that was trained on, or calibrated with, validation tokens before it was written
has them in its weights; charging for them afterwards measures memory. "You can't cheat by training
on the validation set before you evaluate", says the challenge; organisers closed records that
adapted before quantisation, calibrated quantisation on validation text, or stored it.

**How it is judged.** By swap: the script is run on text twice, the second time with other
text in the validation shards. The files that it writes and reads back must be the same, byte for
byte. Where they differ, and two equal runs give equal files, the other file is scored in the place
of the first: a score that moves with it fails the rule; one that does not leaves it open, because a
file may hold a number that nothing reads.

Where that was not run, by the source (strength `source`): the program is followed in its order, and
what an optimiser, a table or a calibration took from validation tokens, and what is then serialised
before the claimed score is printed, fails the rule, with both lines, when the score is that of a
model or a table that had learnt the same. Otherwise it is INCONCLUSIVE: it may be a copy. A script
that sets the loss to nothing where a file that it read holds the very token fails too: the file
is the answers. So does a README whose commands put validation shards in the place of training
shards, in the folder that its run line trains from (strength `claimed`).

**Violates:** #1487, which adapts to the split before quantisation; #168, which ships a fifth of the
split and charges nothing for it. **Innocent:** #1019, which
calibrates on text that the model wrote itself.

**How it can be wrong.** A file is known by its path or by the name of its buffer; one that is read
by another name is taken for the last that was written. What is chosen by a person who has seen
validation scores is not visible in a program.
"""

from auditor.evidence import (
    Evidence,
    LearningOrder,
    OnTheWay,
    SavedLearning,
    ShardAliases,
    SourceLine,
    ValidationSwap,
)
from auditor.rules.measured import ran_through
from auditor.rules.read_order import beside_a_run, lines_on_the_way, open_setting
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
    """FAIL when the artifact moves with the validation shards."""
    swap, read = evidence.get(ValidationSwap), _read(evidence)
    if swap is None:
        return read
    return beside_a_run(_swapped(evidence, swap), read if read.findings else None)


def _swapped(evidence: Evidence, seen: ValidationSwap) -> Judgement:
    files = f"{', '.join(seen.files)} ({seen.bytes:,} bytes)"
    if not seen.differ:
        return ran_through(
            evidence,
            Strength.RAN,
            f"{files} came out the same, byte for byte, when the validation shards held other text",
        )
    moved = (
        f"{', '.join(seen.differ)} came out different when the validation shards held other text"
    )
    if seen.repeat_differ is None or seen.swapped_nats is None:
        return inconclusive(f"{moved}; two equal runs were not compared")
    if seen.repeat_differ:
        again = ", ".join(seen.repeat_differ)
        return inconclusive(f"{moved}, but so did {again} between two equal runs")
    if seen.swapped_nats == seen.score_nats:
        return inconclusive(f"{moved}, but the score does not depend on what differs")
    message = (
        f"{moved}, and on the true ones it scores {seen.swapped_nats:.8f} nats a token in place "
        f"of {seen.score_nats:.8f}; two equal runs write equal files"
    )
    values = {"score": seen.score_nats, "swapped": seen.swapped_nats}
    return failed(Strength.RAN, [Finding(message, Location(file=seen.differ[-1]), values)])


def _read(evidence: Evidence) -> Judgement:
    """What the source shows."""
    aliases = evidence.get(ShardAliases)
    if aliases is not None and aliases.lines:
        return failed(Strength.CLAIMED, [_alias(line, aliases.folder) for line in aliases.lines])
    order = evidence.get(LearningOrder)
    if order is None:
        return inconclusive(evidence.why_not(LearningOrder))
    answers = lines_on_the_way(order, order.covered, _covered)
    if answers is not None:
        return answers
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


def _alias(line: SourceLine, folder: str) -> Finding:
    return Finding(
        f"line {line.line} puts a validation shard in the place of a training shard ({line.text}), "
        f"in the folder {folder}, which the run line trains from",
        Location(file=line.file, line=line.line, text=line.text),
    )


def _covered(one: OnTheWay) -> str:
    return (
        f"line {one.line} sets the loss to nothing where what was read from a file is the token "
        f"being predicted ({one.text}), for the score that line {one.report_line} prints; the file "
        "holds validation tokens"
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
    needs=(ValidationSwap, LearningOrder, ShardAliases),
    check=check,
    matters=(
        "Weights that depend on the validation text hold some of it, and the score measures memory."
    ),
    mend=(
        "Finish and write the artifact before validation tokens are read; calibrate on training "
        "data, within its time."
    ),
    documentation=__doc__ or "",
)

"""The score follows from the artifact: code and compressed model, and nothing else.

**Motive.** A table of counts that was filled from training data, and is handed to the evaluation
in the memory of the process, may weigh gigabytes; a decoder that has the artifact of 16 MB does
not have it. The challenge asks for a self-contained artifact without training data at evaluation,
unless its bytes are paid for.

**How it is judged.** By transplant: the script is run twice on text, with training shards that
share nothing, and when the second run reads back the file that it wrote, it is handed the first
one's. The score must then be the first run's, to the last digit; a score in between means that
something else came into it. Random numbers begin anew when the file is read, so that how many were
drawn before does not count. A run that does not repeat itself decides nothing.

Where the text came back from bits at the claimed score (`--prove`), in a sandbox with the record's
folder and the tokenizer, and the whole folder is within the limit of an artifact, that is proved.
Where such a process only charged some windows again and agreed, the rule passes by it if no run
looked, with the probability that a leak was not drawn.

Where that was not run, by the source (strength `source`): the program is followed in its order, and
a table that is written at keys made of training tokens, and comes into the claimed score without
having gone through a file or a buffer of serialised bytes, fails the rule, with the line that fills
it. Weights are not tables: every record scores a model in the process that trained it, or reads it
back from its own artifact.

**Violates:** #925, whose mixer was filled from the training shards and handed on in memory.
**Innocent:** #1019 and #1493, which read their model back in the same process.

**How it can be wrong.** What a file holds is taken to be paid for; whether the file is counted is
the business of artifact-size. A
single number that was calibrated on training data and is kept in memory fails the rule by
transplant, however little it weighs: the artifact does not have it. State in compiled code is not
seen by reading. A table in an object that the
program reaches only by a computed name is not seen either.
"""

from auditor.evidence import (
    ArtifactTransplant,
    BlindReplay,
    Evidence,
    LearningOrder,
    OnTheWay,
    RoundTrip,
)
from auditor.rules.measured import ran_through
from auditor.rules.proof import beside_a_proof
from auditor.rules.read_order import beside_a_run, lines_on_the_way
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

LEAST_NATS = 1e-6
"""A token; scores are printed to eight decimals, and equal programs give equal digits."""


def check(evidence: Evidence, ruleset: Ruleset) -> Judgement:
    """FAIL when another run's artifact does not bring its score."""
    transplant, order = evidence.get(ArtifactTransplant), evidence.get(LearningOrder)
    read = lines_on_the_way(order, order.tables if order else (), _filled)
    if transplant is not None:
        judged = beside_a_run(_handed_over(evidence, transplant), read)
    else:
        judged = read or _nothing_read(evidence, order)
    return beside_a_proof(evidence, ruleset, judged)


def _handed_over(evidence: Evidence, seen: ArtifactTransplant) -> Judgement:
    files = f"{', '.join(seen.files)} ({seen.bytes:,} bytes)"
    if seen.transplanted_nats == seen.score_nats:
        return ran_through(
            evidence,
            Strength.RAN,
            f"with {files} of another run, whose training shards were others, the score is that "
            f"run's, {seen.score_nats:.8f} nats a token, to the last digit",
        )
    scores = (
        f"the run that made {files} scores {seen.score_nats:.8f} nats a token, a run on other "
        f"training shards that reads the same file back {seen.transplanted_nats:.8f}"
    )
    if seen.repeat_nats is None or seen.other_nats is None:
        return inconclusive(f"{scores}; neither was run again")
    if seen.repeat_nats != seen.score_nats:
        return inconclusive(f"{scores}; but the first run again scores {seen.repeat_nats:.8f}")
    if abs(seen.transplanted_nats - seen.score_nats) < LEAST_NATS:
        return inconclusive(f"{scores}; that is less than {LEAST_NATS:.0e}")
    message = (
        f"{scores}, and with its own {seen.other_nats:.8f}: something besides the artifact comes "
        "into the score"
    )
    values = {"score": seen.score_nats, "transplanted": seen.transplanted_nats}
    return failed(Strength.RAN, [Finding(message, Location(file=seen.files[-1]), values)])


def _nothing_read(evidence: Evidence, order: LearningOrder | None) -> Judgement:
    if order is None:
        return inconclusive(evidence.why_not(LearningOrder))
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
    needs=(RoundTrip, BlindReplay, ArtifactTransplant, LearningOrder),
    check=check,
    matters=(
        "What evaluation takes from memory, a disk or a network was not paid for in the artifact."
    ),
    mend=(
        "Read everything that the score needs back from the artifact, in a process that has seen "
        "no training data."
    ),
    documentation=__doc__ or "",
)

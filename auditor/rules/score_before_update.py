"""State learns only from positions that were already charged (C3).

A model trained on a token and then charged for it has seen the answer. The other way round, charge
first and learn afterwards, is legal test-time training.

Judged by the timeline of a run: every optimiser step, with the validation tokens of its loss,
against the positions charged so far. An early step fails the rule only when it had an effect, shown
by an experiment on the score, that no early cache write explains as well: compile warm-ups whose
weights are thrown away are harmless.

Where the text came back from bits at the claimed score (`--prove`), the decoder learnt each token
after it had decoded it: proved, unless a violation was seen. Where processes that were told each
token after its charge charged some windows the same, that passes the rule if no run looked, with
the probability that a leak was not drawn.

Where nothing ran, judged by the source (strength `source`): the program is followed in its order,
and the answer is FAIL where the very tokens of the claimed score were in a gradient before they
were charged, with both lines, and no setting on the way is open. Reading alone never passes this
rule.

Violates: #462, which adapts to the whole split and then scores it; #1278, which fits an offset on
the positions that it scores. Innocent: #549 and #1413, which score a chunk and then learn from
it; #1530, whose warm-up on validation tokens is thrown away.

How it can be wrong: a step whose tokens cannot be found in the stream is not placed; then the rule
is INCONCLUSIVE. Learning without an optimiser (counters) is judged by causal-cache. In the source,
two slices of the stream count as the same tokens when they are taken in one place in the same turn
of the loops around it, or when a loop that has come to its end has taken all of them.
"""

from auditor.evidence import (
    BlindReplay,
    Evidence,
    LearningOrder,
    PrefixSensitivity,
    RoundTrip,
    Timeline,
)
from auditor.rules.measured import (
    judge_early,
    ran_through,
    unreadable,
)
from auditor.rules.proof import beside_a_proof
from auditor.rules.read_order import beside_a_run, early_uses
from auditor.rulesets import Ruleset
from auditor.verdict import (
    Judgement,
    Rule,
    Strength,
    inconclusive,
)


def check(evidence: Evidence, ruleset: Ruleset) -> Judgement:
    """FAIL when learning from uncharged positions changed the score."""
    does = "takes an optimiser's gradient from"
    early = early_uses(evidence.get(LearningOrder), "step", does)
    return beside_a_proof(evidence, ruleset, beside_a_run(_ran(evidence), early))


def _ran(evidence: Evidence) -> Judgement:
    timeline = evidence.get(Timeline)
    if timeline is None:
        return inconclusive(evidence.why_not(Timeline))
    why = unreadable(timeline)
    if why is not None:
        return inconclusive(why)
    early = judge_early(
        evidence,
        timeline,
        "optimizer-step",
        does="an optimiser step learnt from",
        other="cache-write",
    )
    if early is not None:
        return early
    if timeline.unplaced:
        return inconclusive(
            f"{timeline.unplaced:,} updates learnt from tokens that are not in the stream"
        )
    steps = [event for event in timeline.events if event.kind == "optimizer-step"]
    if not steps:
        return ran_through(evidence, Strength.RAN, "no optimiser step touched a validation token")
    return ran_through(
        evidence,
        Strength.RAN,
        f"{len(steps):,} runs of optimiser steps, all on positions charged before",
    )


RULE = Rule(
    id="score-before-update",
    title="State learns only from tokens already charged",
    authority="official",
    needs=(RoundTrip, BlindReplay, Timeline, PrefixSensitivity, LearningOrder),
    check=check,
    matters="A model that has learnt from a token before it is charged for it has seen the answer.",
    mend=(
        "Charge a chunk for good first, and only then step on it; never step on tokens that are "
        "not charged yet."
    ),
    documentation=__doc__ or "",
)

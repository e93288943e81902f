"""Caches start empty, or paid for, and grow only with tokens that were already charged.

A cache that holds a token before its charge hands the answer to the predictor.

Judged by the timeline of a run: every counter write, with the validation tokens behind it, against
the positions charged so far, and what the counters held before the first write. An early write
fails the rule only when it had an effect, shown by an experiment on the score, and when no early
optimiser step explains that effect as well.

Violates: #846 and #870, which score again with a table that holds the whole split. Innocent:
#1514, whose hints are computed ahead, each from what comes before it.

How it can be wrong: a cache in a Python dict or in compiled code is not seen as writes. Then only
the change of later tokens speaks for it, and the result says so. Where nothing ran, the source
decides as in score-before-update, with tables in the place of optimisers: a second pass over tokens
that a first has taken into the table is found so.
"""

from auditor.evidence import Evidence, LearningOrder, PrefixSensitivity, Timeline
from auditor.rules.measured import (
    future_moved_charges,
    judge_early,
    ran_through,
    unreadable,
)
from auditor.rules.read_order import beside_a_run, early_uses
from auditor.rulesets import Ruleset
from auditor.verdict import (
    Judgement,
    Rule,
    Strength,
    inconclusive,
)


def check(evidence: Evidence, ruleset: Ruleset) -> Judgement:
    """FAIL when uncharged positions in a cache changed the score."""
    does = "writes a table at a key made of"
    return beside_a_run(_ran(evidence), early_uses(evidence.get(LearningOrder), "table", does))


def _ran(evidence: Evidence) -> Judgement:
    timeline = evidence.get(Timeline)
    if timeline is None:
        return inconclusive(evidence.why_not(Timeline))
    why = unreadable(timeline)
    if why is not None:
        return inconclusive(why)
    writes = [event for event in timeline.events if event.kind == "cache-write"]
    if not writes:
        return _nothing_seen(evidence)
    early = judge_early(
        evidence, timeline, "cache-write", does="a cache took in", other="optimizer-step"
    )
    if early is not None:
        return early
    if timeline.entries_before:
        return inconclusive(
            f"the caches held {timeline.entries_before:,} entries before their first write; "
            "whether the artifact paid for them was not measured"
        )
    if timeline.unplaced:
        return inconclusive(f"{timeline.unplaced:,} updates took in tokens not in the stream")
    return ran_through(
        evidence,
        Strength.RAN,
        f"{len(writes):,} runs of cache writes, all of charged tokens, to tables that began empty",
    )


def _nothing_seen(evidence: Evidence) -> Judgement:
    prefix = evidence.get(PrefixSensitivity)
    if prefix is None or future_moved_charges(prefix):
        return inconclusive("no cache write was seen, and nothing else speaks for the order")
    return ran_through(
        evidence,
        Strength.RAN,
        "no cache write was seen, and no charge moved when later tokens changed",
    )


RULE = Rule(
    id="causal-cache",
    title="Caches grow only with charged tokens",
    authority="official",
    needs=(Timeline, PrefixSensitivity, LearningOrder),
    check=check,
    matters="A cache that holds a token before its charge hands the answer to the predictor.",
    mend=(
        "Begin with an empty cache, or ship it in the artifact, and add a token only after its "
        "charge."
    ),
    documentation=__doc__ or "",
)

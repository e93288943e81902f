"""Each charge is read off one distribution over the whole vocabulary that sums to one (C2).

A number computed for the true token alone, such as the ratio of two hashed counts, can be near one
for every token; then its logarithm is not a code length.

Judged on noise whose code length is known, because the auditor drew it: ln V nats a token. For
distributions that sum to one and are fixed before the token is seen, the product of p(x)/q(x) is a
non-negative supermartingale, so a valid submission lies a nats under the source with probability at
most exp(-a), whatever it caches, mixes or adapts. A score further under it than 1e-9 allows, and
by more a token than rounding gives, is not a sum of code lengths. When no charge moves with later
tokens, the charges at single positions must themselves overfill a distribution.

Two more sources hold what noise lacks: contexts that repeat, and stretches. And where every charge
is known by itself, small shares are bet on each: what is kept back bounds the loss at positions of
which the network knows less than the source, so that a mechanism which fires at a few shows.

Where positions are charged again, their first charges are held to it, or all together where
single ones are not known.

Where the claim is of bytes, the noise is made of pieces of which every string of bytes has one
parse, so that bytes cost what tokens do, and the printed bits per byte are held to that.

Single positions are looked at too, on real text after training: the process is copied before it
reads a token, once for each token that could stand there, and each copy charges its own. For a
distribution that was fixed before, exp(-charge) adds up to one (Kraft); a sum over one that even
rounding to bfloat16 cannot give is a FAIL, whether or not all copies got to their charge.

A record with a `system.py` can be asked to code the text (`--prove`). Where the bits come back as
the text and are no more a byte than the claim, over as many tokens, the claim is a code length
(strength `proved`); where the probabilities of all tokens sum to more than rounding to bfloat16
explains, nothing can be coded, and that is a FAIL. A blind replay takes whole distributions of some
windows before their tokens are told; where the charges agree, that passes the rule if no run
looked, with the probability that a leak was not drawn.

Where nothing ran, the source shows some cases (strength `source`). One is the n-th root of the
probability of the true token, taken for the probability of each of its n bytes, and mixed with a
model of bytes. The root depends on which token it is; no number is made for any other byte, so what
is mixed is no distribution over bytes. The others are mixtures `(1 - a) p + a q` of two
probabilities of the true token: with a weight made from that token's own loss; made only where the
table has counted the token, which leaves the others all of p; and with the product of the
probabilities of its bytes as q, though the bytes of one token begin another's. Organisers excluded
records of each kind.

Violates: #779, which adds to the true token what its own hashed pair was seen; #1991, which takes
roots of one token's probability for those of bytes; #1026, whose weight grows with the loss of the
token that it is for. Innocent: #1642, which adds one vector over the whole vocabulary before the
softmax.

How it can be wrong: on noise it cannot FAIL a valid submission but with probability 1e-9. It can
PASS an invalid one: a mechanism that needs repeated contexts or real words finds nothing in uniform
noise, a leak smaller than the stated slack is not seen, and sums are taken at a few positions. A
sum is believed only when the copy with the true token charges what the run did, and a copy with
another token what an ordinary run on that text does. In the source the bytes of a token are
known by names such as `n_bytes` and `rep_len`.
"""

from auditor.evidence import (
    BlindReplay,
    Evidence,
    KraftSum,
    KraftSums,
    LearningOrder,
    Mixed,
    NoiseBound,
    OnTheWay,
    OtherSources,
    PrefixSensitivity,
    RoundTrip,
    Timeline,
)
from auditor.rules.measured import (
    beats_noise,
    future_moved_charges,
    nearly_beats_noise,
    ran_through,
    unreadable,
)
from auditor.rules.proof import beside_a_proof, overfull
from auditor.rules.read_order import beside_a_run, lines_on_the_way
from auditor.rulesets import Ruleset
from auditor.verdict import (
    Finding,
    Judgement,
    Location,
    Outcome,
    Rule,
    Strength,
    failed,
    inconclusive,
)

LN_2 = 0.6931471805599453


def check(evidence: Evidence, ruleset: Ruleset) -> Judgement:
    """FAIL when the score beats noise, or when bytes are charged for roots of one number."""
    order = evidence.get(LearningOrder)
    read = lines_on_the_way(order, order.rooted if order else (), _rooted) or lines_on_the_way(
        order, order.mixed if order else (), _mixed
    )
    judged = beside_a_run(_ran(evidence, ruleset), read)
    if judged.outcome is Outcome.FAIL:
        return judged
    return overfull(evidence) or beside_a_proof(evidence, ruleset, judged)


_WRONG = {
    "weighed": "the weight is made from the loss of the very token that it is for",
    "known": "it is done only where the table has counted that token, so the others keep all of "
    "the first probability, and all together have more than one",
    "spelled": "one of the two is the product of the probabilities of the token's bytes, and as "
    "one token's bytes begin another's, these products add up to more than one",
}


def _mixed(one: Mixed) -> str:
    return (
        f"line {one.line} mixes two probabilities of the true token ({one.text}) for the score "
        f"that line {one.report_line} prints; {_WRONG[one.kind]}"
    )


def _rooted(one: OnTheWay) -> str:
    return (
        f"line {one.line} divides the log of the token's probability by its bytes, or takes that "
        f"root ({one.text}), and mixes it as the probability of each byte for the score that line "
        f"{one.report_line} prints; no other byte was given a number"
    )


def _ran(evidence: Evidence, ruleset: Ruleset) -> Judgement:
    """FAIL when the score beats noise and nothing else explains it."""
    noise, timeline = evidence.get(NoiseBound), evidence.get(Timeline)
    if noise is None or timeline is None:
        return inconclusive(evidence.why_not(NoiseBound))
    others, kraft = evidence.get(OtherSources), evidence.get(KraftSums)
    bounds = [noise, *(others.bounds if others else ())]
    sums = [one for one in kraft.sums if one.doubt is None] if kraft else []
    seen = "; ".join(_seen(one) for one in bounds) + _seen_sums(sums)
    beaten = [one for one in bounds if beats_noise(one, ruleset)]
    prefix = evidence.get(PrefixSensitivity)
    if prefix is not None and future_moved_charges(prefix):
        if beaten or any(one.total > 1 + ruleset.kraft_excess for one in sums):
            return inconclusive(f"{seen}; charges that look ahead explain that: see strict-prefix")
    elif overfull := [one for one in sums if one.least > 1]:
        return failed(Strength.PROVED, [_overfull(one) for one in overfull], seen)
    if beaten:
        findings = [_beaten(one, timeline) for one in beaten]
        return failed(Strength.PROVED, findings, seen)
    for one in bounds:
        if nearly_beats_noise(one, ruleset):
            return inconclusive(
                f"{seen}; {one.best_nats:,.1f} nats under the source is more than chance, but only "
                f"{one.best_nats / one.tokens:.2g} a token, which rounding could give"
            )
    if any(one.total > 1 + ruleset.kraft_excess for one in sums):
        return inconclusive(f"{seen}; more than one, but charges in bfloat16 could give that")
    on_bytes = any(one.source == "bytes" for one in bounds)
    why = unreadable(timeline)
    if why is not None and not on_bytes:
        return inconclusive(why)
    return ran_through(evidence, Strength.RAN, seen, bytes_too=on_bytes)


def _beaten(noise: NoiseBound, timeline: Timeline) -> Finding:
    nats = noise.best_nats
    does = "the score beats the source"
    if noise.ln_e < nats:
        does = "bets of small shares on its charges win against the source"
    why = "the charges are not code lengths"
    if noise.source == "bytes":
        does = "bits per byte times the bytes of the text beat the source"
        why += " of these bytes, or are divided by more bytes than there are"
    message = (
        f"{_seen(noise)}: {does} by {nats:,.0f} nats, which a valid one does with probability "
        f"below e^-{nats:,.0f}; {why}"
    )
    place = next((e for e in timeline.events if e.kind == "charge"), None)
    where = Location(
        file=place.file if place else None, line=place.line if place else None, position=1
    )
    return Finding(message, where, {"ln_e": nats})


def _seen(noise: NoiseBound) -> str:
    reported = noise.charged_nats / noise.tokens / LN_2
    source = noise.source_nats / noise.tokens / LN_2
    slack = ""
    if noise.slack_nats_per_token is not None:
        slack = f" (slack before adaptation {noise.slack_nats_per_token:+.4f} nats a token)"
    name = "noise" if noise.source == "uniform" else noise.source
    return f"{reported:.4f} bits a token on {name} of {source:.4f}{slack}"


def _seen_sums(sums: list[KraftSum]) -> str:
    if not sums:
        return ""
    shown = ", ".join(
        f"{one.total:.6f}"
        if one.answered == one.vocab_size
        else f"{one.total:.6f} over {one.answered:,} of {one.vocab_size:,}"
        for one in sums
    )
    return f"; on text exp(-charge) over the tokens that could stand there adds up to {shown}"


def _overfull(one: KraftSum) -> Finding:
    message = (
        f"at position {one.position:,} of the text the charges of {one.answered:,} tokens, of "
        f"{one.vocab_size:,} that could stand there, add up to a probability of {one.total:.6f}; a "
        "distribution that is fixed before the token is seen has 1 for all of them"
    )
    return Finding(message, Location(position=one.position), {"total": one.total})


RULE = Rule(
    id="full-distribution",
    title="Charges come from a full distribution that sums to one",
    authority="official",
    needs=(RoundTrip, BlindReplay, NoiseBound, OtherSources, KraftSums, LearningOrder),
    check=check,
    matters=(
        "A number for the true token alone is no probability, so its logarithm is no code length."
    ),
    mend=(
        "Compute the whole distribution over the vocabulary before looking at the target, "
        "normalise it, and read the target's entry."
    ),
    documentation=__doc__ or "",
)

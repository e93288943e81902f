"""What a round trip or a blind replay says of the claimed score, for the rules that rest on them.

No rule itself. A decoder that has the record's folder and the bits, and gives the text back, has
learnt of each token only after it was decoded. Where these bits are no more a byte than the score
that is claimed, and the text is as long as the one that it is claimed for, the claim is a code
length, whatever the script does. A replay shows the same of some windows, with a probability that
it missed what is wrong in others.
"""

from dataclasses import replace

from auditor.evidence import BlindReplay, ClaimedNumbers, Evidence, NoiseBound, RoundTrip
from auditor.rules.claimed import claimed_logs
from auditor.rules.replayed import SYSTEM_FILE, blindly
from auditor.rulesets import Ruleset
from auditor.verdict import (
    Finding,
    Judgement,
    Location,
    Outcome,
    Strength,
    failed,
    inconclusive,
    passed,
)

AGREES_BPB = 5e-4
"""Bits a byte above the claim: rounding of the tables, of the claim, and of sums in other order."""
OVERFULL = 1.05
"""Probabilities that were rounded to bfloat16 as logarithms may add up to a little less."""


def beside_a_proof(evidence: Evidence, ruleset: Ruleset, judged: Judgement) -> Judgement:
    """What a rule makes of all else, together with what shows that the claim is a code length.

    A violation that was seen stands. What falls short of the claim decides nothing.
    """
    if judged.outcome is Outcome.FAIL:
        return judged
    proofs = [_came_back(evidence, ruleset), _agreed(evidence, ruleset)]
    for proof in proofs:
        if proof is not None and _decides(proof, judged, evidence):
            return proof
    if judged.outcome is Outcome.PASS:
        return judged
    reasons = [one.reason for one in (judged, *proofs) if one is not None and one.reason]
    return replace(judged, reason="; ".join(reasons))


def _decides(proof: Judgement, judged: Judgement, evidence: Evidence) -> bool:
    """Whether a proof says more than what else was seen.

    What a run of the script or its source left in doubt is settled by a round trip alone.
    """
    if proof.outcome is not Outcome.PASS:
        return False
    if judged.outcome is Outcome.PASS:
        return _rank(judged) < _rank(proof)
    if proof.strength is Strength.PROVED:
        return True
    return not judged.findings and evidence.get(NoiseBound) is None


def _rank(judged: Judgement) -> int:
    return -1 if judged.strength is None else list(Strength).index(judged.strength)


def _came_back(evidence: Evidence, ruleset: Ruleset) -> Judgement | None:
    """A round trip: PASS where its bits reach the claim."""
    trip = evidence.get(RoundTrip)
    if trip is None:
        return None
    if trip.bits_per_byte is None:
        return inconclusive(f"a round trip ended early: {trip.refused_why}")
    short = _falls_short(evidence, ruleset, trip.bits_per_byte, trip.positions, trip.folder_bytes)
    if short is None:
        return passed(Strength.PROVED, _shown(trip))
    bpb = f"{trip.bits_per_byte:.6f} bits a byte"
    return inconclusive(f"a round trip gave {trip.positions:,} tokens back from {bpb}, but {short}")


def _agreed(evidence: Evidence, ruleset: Ruleset) -> Judgement | None:
    """A blind replay whose charges are those of the fast pass: PASS where these reach the claim.

    And where enough windows were replayed; charges that differ are the business of strict-prefix.
    """
    replay = evidence.get(BlindReplay)
    if replay is None or replay.differing:
        return None
    agreed = blindly(replay).reason
    bpb = replay.fast_bits_per_byte
    if bpb is None:
        return inconclusive(f"{agreed}; but a token has no chance at all, so there is no score")
    total = f"the fast pass charges {bpb:.6f} bits a byte over {replay.positions:,} tokens"
    if replay.miss_tenth > ruleset.replay_miss:
        return inconclusive(f"{agreed}, where {ruleset.replay_miss:g} is asked of the first")
    short = _falls_short(evidence, ruleset, bpb, replay.positions, replay.folder_bytes)
    if short is not None:
        return inconclusive(f"{agreed}; {total}, but {short}")
    return passed(Strength.RAN, f"{agreed}; {total}, which is no more than is claimed")


def overfull(evidence: Evidence) -> Judgement | None:
    """FAIL where what the record ships as its system has probabilities of more than one."""
    trip = evidence.get(RoundTrip)
    if trip is None or trip.refused_total is None or trip.refused_total <= OVERFULL:
        return None
    message = (
        f"the text cannot be coded with {SYSTEM_FILE}, by which the record says how it predicts: "
        f"at position {trip.refused_position:,} the probabilities of all tokens sum to "
        f"{trip.refused_total:.6f}, and a distribution has 1"
    )
    where = Location(file=SYSTEM_FILE, position=trip.refused_position)
    return failed(Strength.PROVED, [Finding(message, where, {"total": trip.refused_total})])


def _falls_short(
    evidence: Evidence, ruleset: Ruleset, bpb: float, positions: int, folder_bytes: int
) -> str | None:
    """Why a score of a system is not the claimed one; None where it is no worse."""
    claims = evidence.get(ClaimedNumbers)
    if claims is None or claims.val_bpb is None:
        return "no score is claimed"
    if bpb > claims.val_bpb + AGREES_BPB:
        return f"{claims.val_bpb:.6f} are claimed"
    loaded = {log.tokens for log in claimed_logs(evidence) if log.tokens is not None}
    if not loaded:
        return "no log says over how many tokens the score is"
    if positions < max(loaded):
        return f"the score is over {max(loaded):,}"
    if folder_bytes > ruleset.artifact_bytes:
        return (
            f"the system's folder has {folder_bytes:,} bytes, where {ruleset.artifact_bytes:,} "
            "are allowed"
        )
    return None


def _shown(trip: RoundTrip) -> str:
    return (
        f"{trip.positions:,} tokens ({trip.text_bytes:,} bytes) came back from {trip.bits:,} bits, "
        f"{trip.bits_per_byte:.6f} a byte, in a sandbox with the record's folder of "
        f"{trip.folder_bytes:,} bytes and the tokenizer alone; that is no more than is claimed"
    )

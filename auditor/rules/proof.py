"""What a round trip says of the claimed score, for the rules that rest on it; no rule itself.

A decoder that has the record's folder and the bits, and gives the text back, has learnt of each
token only after it was decoded. Where these bits are no more a byte than the score that is claimed,
and the text is as long as the one that it is claimed for, the claim is a code length, whatever the
script does.
"""

from dataclasses import replace

from auditor.evidence import ClaimedNumbers, Evidence, RoundTrip
from auditor.rules.claimed import claimed_logs
from auditor.rulesets import Ruleset
from auditor.verdict import Finding, Judgement, Location, Outcome, Strength, failed, passed

AGREES_BPB = 5e-4
"""Bits a byte above the claim: rounding of the tables, of the claim, and of sums in other order."""
OVERFULL = 1.05
"""Probabilities that were rounded to bfloat16 as logarithms may add up to a little less."""
SYSTEM_FILE = "system.py"


def beside_a_proof(evidence: Evidence, ruleset: Ruleset, judged: Judgement) -> Judgement:
    """What a rule makes of all else, together with a round trip that reaches the claimed score.

    A violation that was seen stands. A round trip that falls short of the claim decides nothing.
    """
    trip = evidence.get(RoundTrip)
    if trip is None or judged.outcome is Outcome.FAIL:
        return judged
    short = _falls_short(trip, evidence, ruleset)
    if short is None:
        return passed(Strength.PROVED, _shown(trip))
    if judged.outcome is Outcome.PASS:
        return judged
    return replace(judged, reason=f"{judged.reason}; {short}" if judged.reason else short)


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


def _falls_short(trip: RoundTrip, evidence: Evidence, ruleset: Ruleset) -> str | None:
    """Why the round trip does not prove the claim; None where it does."""
    claims = evidence.get(ClaimedNumbers)
    if trip.bits_per_byte is None:
        return f"a round trip ended early: {trip.refused_why}"
    bpb = f"{trip.bits_per_byte:.6f} bits a byte"
    did = f"a round trip gave {trip.positions:,} tokens back from {bpb}"
    if claims is None or claims.val_bpb is None:
        return f"{did}, but no score is claimed"
    if trip.bits_per_byte > claims.val_bpb + AGREES_BPB:
        return f"{did}, but {claims.val_bpb:.6f} are claimed"
    loaded = {log.tokens for log in claimed_logs(evidence) if log.tokens is not None}
    if not loaded:
        return f"{did}, but no log says over how many tokens the score is"
    if trip.positions < max(loaded):
        return f"{did}, but the score is over {max(loaded):,}"
    if trip.folder_bytes > ruleset.artifact_bytes:
        return (
            f"{did}, but the decoder's folder has {trip.folder_bytes:,} bytes, where "
            f"{ruleset.artifact_bytes:,} are allowed"
        )
    return None


def _shown(trip: RoundTrip) -> str:
    return (
        f"{trip.positions:,} tokens ({trip.text_bytes:,} bytes) came back from {trip.bits:,} bits, "
        f"{trip.bits_per_byte:.6f} a byte, in a sandbox with the record's folder of "
        f"{trip.folder_bytes:,} bytes and the tokenizer alone; that is no more than is claimed"
    )

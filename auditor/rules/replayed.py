"""What a blind replay says of a system's fast pass, asked by a rule and a command; no rule itself.

A replayed system gives its distribution before it can know the token or any after it. A charge of
the fast pass that is another one each time was made with something from there.
"""

from auditor.evidence import BlindReplay, Evidence
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

SYSTEM_FILE = "system.py"
ROUNDING_NATS = 0.1
"""Sums of another shape in 16 bits moved charges of a causal network by up to half of it."""
ONE_SIDED = 6.44
"""Differences of either sign that sum to more roots of their squares: below 1e-9 (Hoeffding)."""


def blindly(replay: BlindReplay) -> Judgement:
    """FAIL where charges differ each time, INCONCLUSIVE where they need not, PASS where all agree.

    A PASS is worth the probability that it states, and is about the fast pass alone.
    """
    if not replay.differing:
        return passed(
            Strength.RAN,
            f"{replay.replayed:,} charges in {replay.replayed_windows:,} of {replay.windows:,} "
            f"windows came out the same without the tokens after them; {missed(replay)}",
        )
    differ = (
        f"{replay.differing:,} of {replay.replayed:,} charges are other ones when the tokens after "
        f"the position are not those of the text, by up to {replay.worst_nats:.3g} nats"
    )
    if replay.unrepeated:
        return inconclusive(
            f"{differ}; but {replay.unrepeated:,} are other ones too when the same pass is made "
            f"again, by up to {replay.noise_nats:.3g} nats: the system does not repeat itself"
            + _what_remains(replay)
        )
    one_sided = replay.gained_nats > ONE_SIDED * replay.root_square_nats
    if replay.worst_nats <= ROUNDING_NATS and not one_sided:
        return inconclusive(
            f"{differ}, which adds up to {replay.gained_nats:+.3g}; rounding can give so little"
            + _what_remains(replay)
        )
    message = (
        f"{differ}, and the fast pass gains {replay.gained_nats:,.4g} nats by it; a second fast "
        f"pass charged the same, and the {replay.repeated:,} largest came out the same when they "
        "were replayed twice more"
    )
    numbers = {
        "differing": replay.differing,
        "replayed": replay.replayed,
        "gained_nats": replay.gained_nats,
    }
    place = Location(file=SYSTEM_FILE, position=replay.worst_position)
    return failed(Strength.RAN, [Finding(message, place, numbers)])


def beside_a_replay(evidence: Evidence, judged: Judgement) -> Judgement:
    """What `strict-prefix` makes of all else, together with charges that differ.

    They fail it, or at least keep it from passing; agreement alone changes nothing here.
    """
    replay = evidence.get(BlindReplay)
    if replay is None or not replay.differing:
        return judged
    seen = blindly(replay)
    if seen.outcome is Outcome.FAIL:
        stands = judged.outcome is Outcome.FAIL and judged.strength != Strength.LOGGED
        return judged if stands else seen
    if judged.outcome is Outcome.FAIL:
        return judged
    reason = f"{judged.reason}; {seen.reason}" if judged.reason else seen.reason
    return inconclusive(reason or "", judged.findings, judged.strength)


def missed(replay: BlindReplay) -> str:
    """With which probability a leak was not looked at."""
    return (
        f"a leak in a tenth of the windows goes unseen with probability {replay.miss_tenth:.2g}, "
        f"in a hundredth with {replay.miss_hundredth:.2g}"
    )


def _what_remains(replay: BlindReplay) -> str:
    """The blind score, which is a code length in any case."""
    if replay.blind_nats is None:
        return ""
    mean = replay.blind_nats / replay.replayed
    error = ""
    if replay.blind_error_nats is not None:
        error = f" with a standard error of {replay.blind_error_nats:.2g}"
    return (
        f". What remains is the blind score, {mean:.4f} nats a token{error}: those distributions "
        "were there before their tokens"
    )

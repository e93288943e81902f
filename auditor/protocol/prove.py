"""What a record's own system makes of a text, as evidence: a round trip and a blind replay."""

import math
from dataclasses import dataclass

from auditor.errors import CannotMeasure, SubmissionError
from auditor.evidence import BlindReplay, Evidence, RoundTrip
from auditor.protocol.bitstream import digest
from auditor.protocol.blind import replay
from auditor.protocol.host import SYSTEM_FILE, NoDistribution, Progress, Room
from auditor.protocol.roundtrip import decode, encode
from auditor.protocol.shards import Tokens
from auditor.submission import Submission

PROOFS = ("round-trip", "replay")
WINDOWS = 44
"""Replayed windows: of a leak in a tenth of them all, more than 99 of 100 draws have one."""


@dataclass(frozen=True, slots=True)
class Proving:
    """The text that a system has to give back, or to charge again."""

    tokens: Tokens
    text_bytes: int
    room: Room
    proofs: frozenset[str] = frozenset(PROOFS)
    windows: int = WINDOWS
    """Windows to replay."""

    def __post_init__(self) -> None:
        """Refuse what is no proof."""
        unknown = sorted(self.proofs - set(PROOFS))
        if unknown:
            raise ValueError(f"no proof {unknown[0]!r}; expected one of {', '.join(PROOFS)}")


def prove(
    submission: Submission, proving: Proving, evidence: Evidence, progress: Progress
) -> tuple[str, ...]:
    """Add what was asked for to the evidence, or why it could not be had; returns what was done."""
    done = []
    why: dict[type, str] = {
        RoundTrip: "no round trip was asked for",
        BlindReplay: "no replay was asked for",
    }
    for proof, kind, make in (
        ("round-trip", RoundTrip, _round_trip),
        ("replay", BlindReplay, _blind_replay),
    ):
        if proof not in proving.proofs:
            continue
        name = proof.replace("-", " ")
        try:
            if SYSTEM_FILE not in submission.files:
                raise SubmissionError(f"expected a {SYSTEM_FILE} (docs/protocol.md), found none")
            make(submission, proving, evidence, progress)
        except (CannotMeasure, SubmissionError) as reason:
            why[kind] = f"the {name} gave no evidence: {reason}"
            done.append(why[kind])
        else:
            positions = len(proving.tokens) - 1
            done.append(f"{name}: {positions} tokens, sandbox={proving.room.sandbox}")
    for absent, said in why.items():
        if evidence.get(absent) is None:
            evidence.cannot(said, absent)
    return tuple(done)


def _round_trip(
    submission: Submission, proving: Proving, evidence: Evidence, progress: Progress
) -> None:
    """Encode the text and decode it; CannotMeasure when something else went wrong."""
    encoded = encode(submission, proving.tokens, proving.room, progress)
    if isinstance(encoded, NoDistribution):
        evidence.add(_trip(submission, proving, encoded))
        return
    decoded = decode(submission, encoded.to_bytes(), proving.room, progress)
    # Tables are made anew there, so that what could be encoded may still be refused.
    if isinstance(decoded, NoDistribution):
        evidence.add(_trip(submission, proving, decoded))
        return
    ideal_bits = encoded.ideal_bits if math.isfinite(encoded.ideal_bits) else None
    evidence.add(_trip(submission, proving, None, encoded.bits, ideal_bits))


def _blind_replay(
    submission: Submission, proving: Proving, evidence: Evidence, progress: Progress
) -> None:
    """Replay windows of the text; what gives no distribution cannot be coded either."""
    trip = evidence.get(RoundTrip)
    if trip is not None and trip.refused_why is not None:
        raise CannotMeasure(f"the round trip ended early, because {trip.refused_why}")
    found = replay(
        submission,
        proving.tokens,
        proving.windows,
        proving.room,
        progress,
        text_bytes=proving.text_bytes,
    )
    if isinstance(found, NoDistribution):
        if trip is None:
            evidence.add(_trip(submission, proving, found))
        raise CannotMeasure(found.why)
    evidence.add(found)


def _trip(
    submission: Submission,
    proving: Proving,
    refused: NoDistribution | None,
    bits: int | None = None,
    ideal_bits: float | None = None,
) -> RoundTrip:
    return RoundTrip(
        tokens_sha256=digest(proving.tokens.astype("<u2").tobytes()),
        positions=len(proving.tokens) - 1,
        text_bytes=proving.text_bytes,
        folder_bytes=sum(len(file.data) for file in submission.files.values()),
        bits=bits,
        ideal_bits=ideal_bits,
        refused_position=refused.position if refused else None,
        refused_total=refused.total if refused else None,
        refused_why=refused.why if refused else None,
    )

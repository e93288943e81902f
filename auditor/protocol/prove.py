"""A round trip as evidence: what a record's own system makes of a text."""

from dataclasses import dataclass

from auditor.errors import SubmissionError
from auditor.evidence import RoundTrip
from auditor.protocol.bitstream import digest
from auditor.protocol.host import SYSTEM_FILE, NoDistribution, Progress, Room
from auditor.protocol.roundtrip import decode, encode
from auditor.protocol.shards import Tokens
from auditor.submission import Submission


@dataclass(frozen=True, slots=True)
class Proving:
    """The text that a system has to give back."""

    tokens: Tokens
    text_bytes: int
    room: Room


def round_trip(submission: Submission, proving: Proving, progress: Progress) -> RoundTrip:
    """Encode the text and decode it; CannotMeasure when something else went wrong."""
    if SYSTEM_FILE not in submission.files:
        raise SubmissionError(f"expected a {SYSTEM_FILE} (docs/protocol.md), found none")
    encoded = encode(submission, proving.tokens, proving.room, progress)
    refused = encoded if isinstance(encoded, NoDistribution) else None
    if not isinstance(encoded, NoDistribution):
        decoded = decode(submission, encoded.to_bytes(), proving.room, progress)
        # Tables are made anew there, so that what could be encoded may still be refused.
        refused = decoded if isinstance(decoded, NoDistribution) else None
    coded = None if refused or isinstance(encoded, NoDistribution) else encoded
    return RoundTrip(
        tokens_sha256=digest(proving.tokens.astype("<u2").tobytes()),
        positions=len(proving.tokens) - 1,
        text_bytes=proving.text_bytes,
        folder_bytes=sum(len(file.data) for file in submission.files.values()),
        bits=coded.bits if coded else None,
        ideal_bits=coded.ideal_bits if coded else None,
        refused_position=refused.position if refused else None,
        refused_total=refused.total if refused else None,
        refused_why=refused.why if refused else None,
    )

"""The text as bits, and back: what a decoder can read is a code length.

A bitstream file is one line of JSON, which names everything that it belongs to by digest, and the
range coder's words. The first token is given and stands in the header. Bits are those of the words:
the header holds nothing of the text but that token and the count.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from auditor.errors import CannotMeasure
from auditor.protocol import bitstream as bitstream_file
from auditor.protocol.bitstream import check_files, digest, line_of, sealed
from auditor.protocol.host import Driven, NoDistribution, Progress, Room, drive
from auditor.protocol.shards import Tokens
from auditor.submission import Submission

FORMAT = "strict-prefix/bitstream/v1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoded:
    """A bitstream."""

    header: Mapping[str, Any]
    words: bytes
    ideal_bits: float
    """Minus log2 of the system's own probabilities, as its process reports it."""

    @property
    def bits(self) -> int:
        """Bits of the coded tokens."""
        return 8 * len(self.words)

    def to_bytes(self) -> bytes:
        """Return the file."""
        return line_of(self.header) + self.words


def encode(
    submission: Submission, tokens: Tokens, room: Room, progress: Progress
) -> Encoded | NoDistribution:
    """Code a stream with a system; NoDistribution where the system gives none."""
    positions = len(tokens) - 1
    driven = drive(
        submission,
        {"do": "encode", "positions": positions},
        room,
        files={"stream": tokens.astype("<u2").tobytes()},
        result="bits",
        on_message=reporting("encoding", positions, progress),
    )
    if driven.broken:
        return driven.broken
    words = driven.result or b""
    header = {
        "format": FORMAT,
        "positions": positions,
        "first": int(tokens[0]),
        "tokens_sha256": digest(tokens.astype("<u2").tobytes()),
        "files": submission.digests,
    }
    try:
        ideal_nats = float(driven.message("encoded")["ideal_nats"])
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        raise CannotMeasure(f"the system's process sent nonsense: {error!r}") from error
    return Encoded(header=sealed(header, words), words=words, ideal_bits=ideal_nats / math.log(2))


def decode(
    submission: Submission, bitstream: bytes, room: Room, progress: Progress
) -> Tokens | NoDistribution:
    """Return the tokens of a bitstream, decoded by the system alone in a sandbox of its own.

    SubmissionError says which part has been changed, where one has; CannotMeasure that other tokens
    came out, as they do where the system does not repeat itself.
    """
    header, words = read_bitstream(bitstream)
    check_files(submission, header["files"])
    positions = int(header["positions"])
    driven: Driven = drive(
        submission,
        {"do": "decode", "positions": positions, "first": header["first"]},
        room,
        files={"bits": words},
        result="tokens",
        on_message=reporting("decoding", positions, progress),
    )
    if driven.broken:
        return driven.broken
    raw = driven.result or b""
    if digest(raw) != header["tokens_sha256"]:
        raise CannotMeasure(
            f"other tokens came out than went in: expected {header['tokens_sha256'][:12]}..., got "
            f"{digest(raw)[:12]}... ({len(raw) // 2:,} tokens); the system does not repeat "
            "itself, and `auditor replay` says how far"
        )
    return np.frombuffer(raw, dtype="<u2")


def read_bitstream(bitstream: bytes) -> tuple[dict[str, Any], bytes]:
    """Return header and words of a file of the whole stream."""
    return bitstream_file.read(bitstream, FORMAT)


def reporting(doing: str, positions: int, progress: Progress) -> Any:
    """Return a listener that passes a task's progress on."""

    def listen(message: dict[str, Any]) -> None:
        done = message.get("done")
        if message["kind"] == "progress" and isinstance(done, int):
            progress(doing, min(max(done, 0), positions) / positions)

    progress(doing, 0.0)
    return listen

"""The round trip over some stretches of a stream, for systems that are too slow for all of it.

The stretches follow from the digests of record and stream, so that nobody picks them. The decoder
is told all that comes before a stretch, window by window, and has the stretch's words; what it
decodes is compared before anything after it is revealed. Between stretches nothing is predicted, so
the cost is that of the stretches and of learning.
"""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

from auditor.errors import CannotMeasure, SubmissionError
from auditor.protocol.bitstream import MAX_HEADER_BYTES, check_files, digest, line_of, read, sealed
from auditor.protocol.child.schedule import Stretch, stretches, windows
from auditor.protocol.conversation import Conversation, Ended, conversation
from auditor.protocol.host import Driven, NoDistribution, Progress, Room, drive
from auditor.protocol.roundtrip import reporting
from auditor.protocol.shards import Tokens
from auditor.submission import Submission

FORMAT = "strict-prefix/partial-bitstream/v1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A stretch, and what it was coded to."""

    stretch: Stretch
    words_bytes: int
    ideal_bits: float

    @property
    def positions(self) -> int:
        """Tokens that are coded."""
        return self.stretch.stop - self.stretch.first


@dataclass(frozen=True, slots=True, kw_only=True)
class PartlyEncoded:
    """Stretches of a stream as bits."""

    header: Mapping[str, Any]
    words: bytes
    parts: tuple[Part, ...]

    @property
    def coded(self) -> int:
        """Tokens that are coded."""
        return sum(part.positions for part in self.parts)

    @property
    def share(self) -> float:
        """The share of the stream that decoding proves."""
        return self.coded / int(self.header["positions"])

    @property
    def bits(self) -> int:
        """Bits of the coded tokens."""
        return 8 * len(self.words)

    @property
    def ideal_bits(self) -> float:
        """Minus log2 of the system's own probabilities there."""
        return math.fsum(part.ideal_bits for part in self.parts)

    @property
    def error_bits(self) -> float | None:
        """Standard error of the mean bits a token, as an estimate for the whole stream."""
        if len(self.parts) < 2:
            return None
        mean = self.ideal_bits / self.coded
        residuals = [part.ideal_bits - mean * part.positions for part in self.parts]
        spread = math.sqrt(math.fsum(r * r for r in residuals) / (len(self.parts) - 1))
        return spread * math.sqrt(len(self.parts)) / self.coded

    def to_bytes(self) -> bytes:
        """Return the file."""
        return line_of(self.header) + self.words


@dataclass(frozen=True, slots=True)
class PartlyDecoded:
    """What came back."""

    tokens: int
    stretches: int
    positions: int
    """Of the whole stream."""


def encode(
    submission: Submission, tokens: Tokens, count: int, each: int, room: Room, progress: Progress
) -> PartlyEncoded | NoDistribution:
    """Code `count` stretches of about `each` tokens; NoDistribution where the system gives none."""
    positions = len(tokens) - 1
    stream = tokens.astype("<u2").tobytes()
    seed = seed_of(submission.sha256, digest(stream))
    driven = drive(
        submission,
        {
            "do": "encode-stretches",
            "positions": positions,
            "tokens": each,
            "count": count,
            "seed": seed.hex(),
        },
        room,
        files={"stream": stream},
        result="bits",
        on_message=reporting("encoding", positions, progress),
    )
    if driven.broken:
        return driven.broken
    words = driven.result or b""
    parts = _parts(driven, len(words))
    try:
        about = {name: int(driven.message("loaded")[name]) for name in ("window_tokens", "stride")}
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        raise CannotMeasure(f"the system's process sent nonsense: {error!r}") from error
    header = {
        "format": FORMAT,
        "positions": positions,
        **about,
        "stretch_tokens": each,
        "stretches": [[p.stretch.first, p.stretch.stop, p.words_bytes] for p in parts],
        "tokens_sha256": digest(stream),
        "files": submission.digests,
    }
    _check_draw(header, submission.sha256)
    return PartlyEncoded(header=sealed(header, words), words=words, parts=parts)


def decode(
    submission: Submission, bitstream: bytes, tokens: Tokens, room: Room, progress: Progress
) -> PartlyDecoded | NoDistribution:
    """Decode every stretch, given what comes before it.

    SubmissionError where file, record or text are not those that belong together, or the stretches
    are others than the digests draw; CannotMeasure where other tokens come out.
    """
    header, words = read(bitstream, FORMAT)
    check_files(submission, header["files"])
    tokens = tokens[: int(header["positions"]) + 1]
    found = digest(tokens.astype("<u2").tobytes())
    if found != header["tokens_sha256"]:
        raise SubmissionError(
            f"the text: expected the one that stretches were coded of "
            f"({header['tokens_sha256'][:12]}, {header['positions']:,} tokens), found {found[:12]} "
            f"({len(tokens) - 1:,} tokens)"
        )
    drawn = _check_draw(header, submission.sha256)
    ends = [0]
    for _, _, size in header["stretches"]:
        ends.append(ends[-1] + int(size))
    if ends[-1] != len(words):
        raise SubmissionError(
            f"the bitstream: expected {ends[-1]:,} bytes of words for its {len(drawn):,} "
            f"stretches, found {len(words):,}"
        )
    coded = {s.first: words[ends[i] : ends[i + 1]] for i, s in enumerate(drawn)}
    with conversation(submission, len(tokens) - 1, room) as talk:
        done = 0
        try:
            done = _decode_all(talk, header, drawn, coded, tokens, progress)
        except Ended:
            pass  # the other side says why
        except (ValueError, TypeError, KeyError) as error:
            raise CannotMeasure(f"the system's process sent nonsense: {error!r}") from error
        driven = talk.end()
    if driven.broken:
        return driven.broken
    if done < (wanted := sum(s.stop - s.first for s in drawn)):
        raise CannotMeasure(f"the system ended after {done:,} of {wanted:,} decoded tokens")
    return PartlyDecoded(done, len(drawn), len(tokens) - 1)


def is_partial(bitstream: bytes) -> bool:
    """Tell whether a file says that it is of stretches; `decode` looks at all of it."""
    return f'"format":"{FORMAT}"'.encode() in bitstream[:MAX_HEADER_BYTES].partition(b"\n")[0]


def seed_of(record_sha256: str, tokens_sha256: str) -> bytes:
    """Return what decides which stretches are coded."""
    return hashlib.sha256(f"{FORMAT} {record_sha256} {tokens_sha256}".encode()).digest()


def _decode_all(
    talk: Conversation,
    header: Mapping[str, Any],
    drawn: list[Stretch],
    coded: Mapping[int, bytes],
    tokens: Tokens,
    progress: Progress,
) -> int:
    """Return how many tokens came back as they were."""
    done = 0
    stretches_left = list(reversed(drawn))
    talk.reveal(tokens, 0, 1)
    for window in windows(len(tokens) - 1, int(header["window_tokens"]), int(header["stride"])):
        if not stretches_left:
            break
        if stretches_left[-1].first <= window.first:
            known_L = tokens[window.start : window.first + 1]
            decoded = talk.decode(known_L, window, coded.get(window.first))
            true = tokens[window.first + 1 : window.stop + 1].tolist()
            if decoded != true:
                alike = takewhile(lambda pair: pair[0] == pair[1], zip(decoded, true, strict=False))
                position = window.first + len(list(alike))
                raise CannotMeasure(
                    f"other tokens came out than went in, from position {position:,} on; the "
                    "system does not repeat itself, and `auditor replay` says how far"
                )
            done += len(decoded)
        if window.stop == stretches_left[-1].stop:
            stretches_left.pop()
        talk.reveal(tokens, window.first + 1, window.stop + 1)
        progress("decoding", window.stop / drawn[-1].stop)
    return done


def _parts(driven: Driven, words_bytes: int) -> tuple[Part, ...]:
    try:
        parts = tuple(
            Part(
                stretch=Stretch(int(message["first"]), int(message["stop"])),
                words_bytes=int(message["words_bytes"]),
                ideal_bits=float(message["ideal_nats"]) / math.log(2),
            )
            for message in driven.messages
            if message["kind"] == "stretch"
        )
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        raise CannotMeasure(f"the system's process sent nonsense: {error!r}") from error
    if not parts or sum(part.words_bytes for part in parts) != words_bytes:
        raise CannotMeasure(
            f"expected the words of {len(parts):,} stretches, the system left {words_bytes:,} bytes"
        )
    return parts


def _check_draw(header: Mapping[str, Any], record_sha256: str) -> list[Stretch]:
    """Return the stretches of a header, if they are those that the digests draw."""
    try:
        said = [Stretch(int(first), int(stop)) for first, stop, _ in header["stretches"]]
        drawn = stretches(
            int(header["positions"]),
            int(header["window_tokens"]),
            int(header["stride"]),
            tokens=int(header["stretch_tokens"]),
            count=len(said),
            seed=seed_of(record_sha256, header["tokens_sha256"]),
        )
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        raise SubmissionError(f"the bitstream: its stretches cannot be drawn ({error})") from error
    if said != drawn:
        raise SubmissionError(
            f"the bitstream: expected the stretches that record and text draw, from positions "
            f"{_firsts(drawn)}, found {_firsts(said)}"
        )
    return said


def _firsts(some: list[Stretch]) -> str:
    shown = ", ".join(f"{stretch.first:,}" for stretch in some[:3])
    return f"{shown}, ..." if len(some) > 3 else shown

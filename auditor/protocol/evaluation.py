"""A pass over a whole stream that the auditor drives: what every position is charged.

It is the fast pass: the system gets whole windows and could look ahead in them, so the score is a
claim until it is replayed or decoded. A state that is kept on the way names what it belongs to by
digest; a pass goes on from it with the same charges.
"""

import hashlib
import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from auditor.errors import CannotMeasure, SubmissionError
from auditor.protocol.host import Driven, NoDistribution, Progress, Room, drive
from auditor.protocol.shards import Tokens
from auditor.submission import Submission

STATE_FORMAT = "strict-prefix/evaluation-state/v1"
MAX_HEADER_BYTES = 1 << 20

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """How a stream is charged. What follows from it, and from the system, is the same each time."""

    stride: int | None = None
    """Positions charged in each window after the first; None for the system's own."""
    boundary: int | None = None
    """The token that begins a document, which no window then crosses."""
    chunk_tokens: int = 32_768
    """At multiples of it a state may be kept."""
    sums: float = 1.0
    """The share of windows whose distributions are added up over the whole vocabulary."""

    def __post_init__(self) -> None:
        """Refuse what no pass can be made with."""
        if self.chunk_tokens < 1:
            raise SubmissionError(f"expected a chunk of at least 1 token, got {self.chunk_tokens}")
        if not 0 <= self.sums <= 1:
            raise SubmissionError(f"expected a share of sums of 0 to 1, got {self.sums}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Keeping:
    """Where the states of a pass go, and the one that it goes on from."""

    save: Callable[[bytes], None]
    """Gets a state as one file; must not raise."""
    saved: bytes | None = None
    seconds: float = 60.0
    """How old a state gets before another is kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """What a pass charged."""

    nats_T: Floats
    """Of each position."""
    windows: int
    sums_checked: int
    """Positions whose distribution was added up."""
    lowest_sum: float
    highest_sum: float
    resumed_at: int
    """Positions that were charged before the pass went on; 0 where it did not."""
    resumable: bool
    """Whether the system can be saved on the way."""
    driven: Driven

    @property
    def nats(self) -> float:
        """Return the sum, rounded once."""
        return math.fsum(self.nats_T)


def evaluate(
    submission: Submission,
    tokens: Tokens,
    room: Room,
    progress: Progress,
    schedule: Schedule | None = None,
    keeping: Keeping | None = None,
) -> Evaluation | NoDistribution:
    """Charge every position of a stream once, in a sandbox.

    SubmissionError says what a saved state belongs to instead; CannotMeasure that positions were
    charged twice or never.
    """
    schedule = schedule or Schedule()
    header = _header(submission, tokens, schedule)
    saved = None
    if keeping is not None and keeping.saved is not None:
        saved = _read_state(keeping.saved, header)
    positions = len(tokens) - 1
    files = {"stream": tokens.astype("<u2").tobytes()}
    driven = drive(
        submission,
        {
            "do": "fast",
            "positions": positions,
            **asdict(schedule),
            "seed": int(submission.sha256[:16], 16),
            "rank": 0,
            "ranks": 1,
            "resumes": saved is not None,
            "save_seconds": math.inf if keeping is None else keeping.seconds,
        },
        room,
        files=files if saved is None else {**files, "state": saved},
        result="charges",
        on_message=_reporting(positions, progress),
        on_state=None if keeping is None else lambda s: keeping.save(_state(header, s)),
    )
    if driven.broken:
        return driven.broken
    nats_T = _charges(driven.result or b"", positions)
    try:
        facts = driven.message("evaluated")
        return Evaluation(
            nats_T=nats_T,
            windows=int(facts["windows"]),
            sums_checked=int(facts["checked"]),
            lowest_sum=float(facts["lowest"]),
            highest_sum=float(facts["highest"]),
            resumed_at=0 if saved is None else _done(saved),
            resumable=bool(driven.message("loaded")["resumable"]),
            driven=driven,
        )
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        raise CannotMeasure(f"the system's process sent nonsense: {error!r}") from error


def _charges(result: bytes, positions: int) -> Floats:
    """Return the nats of each position, after counting how often each was charged."""
    if len(result) != 9 * positions:
        raise CannotMeasure(
            f"expected charges of {positions:,} positions, 9 bytes each, got {len(result):,} bytes"
        )
    nats_T = np.frombuffer(result, dtype="<f8", count=positions)
    times_T = np.frombuffer(result, dtype=np.uint8, offset=8 * positions)
    wrong = np.flatnonzero(times_T != 1)
    if len(wrong):
        raise CannotMeasure(
            f"expected each position to be charged once, got {times_T[wrong[0]]} charges at "
            f"position {wrong[0]:,} and {len(wrong):,} such positions"
        )
    if np.isnan(nats_T).any():
        raise CannotMeasure(
            f"expected {positions:,} numbers as charges, got {np.isnan(nats_T).sum():,} that are "
            "none"
        )
    return nats_T


def _reporting(positions: int, progress: Progress) -> Callable[[dict[str, Any]], None]:
    def listen(message: dict[str, Any]) -> None:
        done = message.get("done")
        if message["kind"] == "progress" and isinstance(done, int):
            progress("fast pass", max(0.0, min(done / positions, 1.0)))

    progress("fast pass", 0.0)
    return listen


def _header(submission: Submission, tokens: Tokens, schedule: Schedule) -> dict[str, Any]:
    """What a state belongs to."""
    return {
        "format": STATE_FORMAT,
        "record": submission.sha256,
        "tokens": hashlib.sha256(tokens.astype("<u2").tobytes()).hexdigest(),
        "schedule": asdict(schedule),
    }


def _state(header: dict[str, Any], state: bytes) -> bytes:
    named = {**header, "state": hashlib.sha256(state).hexdigest()}
    return json.dumps(named, sort_keys=True).encode() + b"\n" + state


def _read_state(data: bytes, header: dict[str, Any]) -> bytes:
    """Return a state that belongs to this pass; SubmissionError names what it belongs to."""
    line, _, state = data.partition(b"\n")
    try:
        if len(line) > MAX_HEADER_BYTES:
            raise ValueError("no first line of JSON")
        found = json.loads(line)
        if found["format"] != STATE_FORMAT:
            raise ValueError(f"{found['format']!r}")
        for part, expected in header.items():
            if found[part] != expected:
                raise ValueError(f"that of another {part} ({_short(found[part])})")
        digest = hashlib.sha256(state).hexdigest()
        if found["state"] != digest or _done(state) < 0:
            raise ValueError(f"one that has been changed ({len(state):,} bytes)")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise SubmissionError(
            f"the saved state: expected that of this record, stream and schedule, found {error}; "
            "without the file the pass begins anew"
        ) from error
    return state


def _done(state: bytes) -> int:
    return int(json.loads(state.partition(b"\n")[0])["done"])


def _short(value: Any) -> str:
    return value[:12] if isinstance(value, str) else json.dumps(value)[:200]

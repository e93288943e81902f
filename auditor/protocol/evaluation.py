"""A pass over a whole stream that the auditor drives: what every position is charged.

It is the fast pass: the system gets whole windows and could look ahead in them, so the score is a
claim until it is replayed or decoded. A state that is kept on the way names what it belongs to by
digest; a pass goes on from it with the same charges.
"""

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from auditor.errors import AuditorError, CannotMeasure, SubmissionError
from auditor.protocol.host import Driven, NoDistribution, Progress, Room, drive
from auditor.protocol.ranks import ALONE, Ranks
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
    about: Mapping[str, Any]
    """What the system says of itself: `vocab_size`, `window_tokens`, `stride`."""

    @property
    def nats(self) -> float:
        """Return the sum, rounded once."""
        return math.fsum(self.nats_T)


@dataclass(frozen=True, slots=True)
class _Part:
    """What one process charged."""

    facts: dict[str, Any]
    """The last message, and how the system described itself."""
    resumed_at: int


def evaluate(
    submission: Submission,
    tokens: Tokens,
    room: Room,
    progress: Progress,
    schedule: Schedule | None = None,
    keeping: Keeping | None = None,
    ranks: Ranks = ALONE,
) -> Evaluation | NoDistribution:
    """Charge every position of a stream once, in a sandbox; each process its share.

    SubmissionError says what a saved state belongs to instead; CannotMeasure that positions were
    charged twice or never. What went wrong in one process is raised in all.
    """
    positions = len(tokens) - 1
    nats_T, times_T = np.zeros(positions), np.zeros(positions, dtype=np.uint8)
    mine: _Part | NoDistribution | AuditorError
    try:
        driven, resumed_at = _drive(
            submission, tokens, room, progress, schedule or Schedule(), keeping, ranks
        )
        if driven.broken:
            mine = driven.broken
        else:
            nats_T, times_T = _charges(driven.result or b"", positions)
            facts = {**driven.message("loaded"), **driven.message("evaluated")}
            mine = _Part(facts, resumed_at)
    except AuditorError as error:
        mine = error
    parts = ranks.gather(mine)
    for part in parts:
        if isinstance(part, AuditorError):
            raise part
    broken = [part for part in parts if isinstance(part, NoDistribution)]
    if broken:
        return min(broken, key=lambda one: one.position)
    nats_T, times_T = ranks.add(nats_T), ranks.add(times_T)
    _check_charges(nats_T, times_T)
    return _together([part for part in parts if isinstance(part, _Part)], nats_T)


def _drive(
    submission: Submission,
    tokens: Tokens,
    room: Room,
    progress: Progress,
    schedule: Schedule,
    keeping: Keeping | None,
    ranks: Ranks,
) -> tuple[Driven, int]:
    """Make this process's part of the pass; returns it, and where it went on."""
    header = _header(submission, tokens, schedule, ranks)
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
            "rank": ranks.rank,
            "ranks": ranks.count,
            "resumes": saved is not None,
            "save_seconds": math.inf if keeping is None else keeping.seconds,
        },
        room,
        files=files if saved is None else {**files, "state": saved},
        result="charges",
        on_message=_reporting(positions, progress),
        on_state=None if keeping is None else lambda s: keeping.save(_state(header, s)),
    )
    return driven, 0 if saved is None else _done(saved)


def _charges(result: bytes, positions: int) -> tuple[Floats, npt.NDArray[np.uint8]]:
    if len(result) != 9 * positions:
        raise CannotMeasure(
            f"expected charges of {positions:,} positions, 9 bytes each, got {len(result):,} bytes"
        )
    nats_T = np.frombuffer(result, dtype="<f8", count=positions)
    return nats_T, np.frombuffer(result, dtype=np.uint8, offset=8 * positions)


def _check_charges(nats_T: Floats, times_T: npt.NDArray[np.uint8]) -> None:
    """Count how often each position was charged, and refuse what is no number."""
    wrong = np.flatnonzero(times_T != 1)
    if len(wrong):
        raise CannotMeasure(
            f"expected each position to be charged once, got {times_T[wrong[0]]} charges at "
            f"position {wrong[0]:,} and {len(wrong):,} such positions"
        )
    if np.isnan(nats_T).any():
        raise CannotMeasure(
            f"expected {len(nats_T):,} numbers as charges, got {np.isnan(nats_T).sum():,} that are "
            "none"
        )


def _together(parts: list[_Part], nats_T: Floats) -> Evaluation:
    facts = parts[0].facts
    try:
        return Evaluation(
            nats_T=nats_T,
            windows=sum(int(part.facts["windows"]) for part in parts),
            sums_checked=sum(int(part.facts["checked"]) for part in parts),
            lowest_sum=min(float(part.facts["lowest"]) for part in parts),
            highest_sum=max(float(part.facts["highest"]) for part in parts),
            resumed_at=min(part.resumed_at for part in parts),
            resumable=bool(facts["resumable"]),
            about=facts,
        )
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        raise CannotMeasure(f"the system's process sent nonsense: {error!r}") from error


def _reporting(positions: int, progress: Progress) -> Callable[[dict[str, Any]], None]:
    def listen(message: dict[str, Any]) -> None:
        done = message.get("done")
        if message["kind"] == "progress" and isinstance(done, int):
            progress("fast pass", min(max(done, 0), positions) / positions)

    progress("fast pass", 0.0)
    return listen


def _header(
    submission: Submission, tokens: Tokens, schedule: Schedule, ranks: Ranks
) -> dict[str, Any]:
    """What a state belongs to."""
    return {
        "format": STATE_FORMAT,
        "record": submission.sha256,
        "tokens": hashlib.sha256(tokens.astype("<u2").tobytes()).hexdigest(),
        "schedule": asdict(schedule),
        "rank": f"{ranks.rank} of {ranks.count}",
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

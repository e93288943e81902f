"""Blind replay: some windows are predicted again, token by token, by a process without the future.

The fast pass gets whole windows, so it could look ahead inside them, and its own charges are a
claim. In the replay a token leaves this process only after its distribution has arrived, and after
the digest of that distribution has. Where both passes charge the same, the fast one did not look.
"""

import base64
import hashlib
import json
import math
import os
import queue
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from auditor.errors import CannotMeasure, SubmissionError
from auditor.protocol.child.distributions import SUM_TOLERANCE
from auditor.protocol.child.schedule import Window, windows
from auditor.protocol.host import Driven, NoDistribution, Progress, Room, drive
from auditor.protocol.roundtrip import reporting
from auditor.protocol.shards import Tokens
from auditor.submission import Submission

TOLERANCE_NATS = 1e-4
"""A charge may differ by so much: prefixes and whole windows are added up in another order."""
MAX_REPLAYED = 20_000
"""Positions; what they answer is held in memory, some ten kilobytes each."""
SECONDS_BETWEEN_LOOKS = 0.2

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """What a replay found."""

    windows: int
    """Windows of the whole stream."""
    replayed_windows: int
    replayed: int
    """Positions in them."""
    fast_nats: float
    """What the fast pass charged for the whole stream."""
    worst_nats: float
    """Largest difference between the two charges of one position."""
    worst_position: int
    differing: int
    """Positions whose charges differ by more than the tolerance."""

    def miss_probability(self, leaking: float) -> float:
        """Return how likely a leak in that share of all windows escapes; they are drawn blindly."""
        bad = math.ceil(leaking * self.windows)
        good, drawn = self.windows - bad, self.replayed_windows
        return math.comb(good, drawn) / math.comb(self.windows, drawn)


def replay(
    submission: Submission, tokens: Tokens, count: int, room: Room, progress: Progress
) -> Replay | NoDistribution:
    """Charge a stream in a fast pass, and `count` of its windows again, blindly.

    The windows follow from the submission's digest and the stream, so nobody can choose them.
    """
    positions = len(tokens) - 1
    fast = drive(
        submission,
        {"do": "fast", "positions": positions},
        room,
        files={"stream": tokens.astype("<u2").tobytes()},
        result="nats",
        on_message=reporting("fast pass", positions, progress),
    )
    if fast.broken:
        return fast.broken
    fast_nats_T = np.frombuffer(fast.result or b"", dtype="<f8")
    if len(fast_nats_T) != positions:
        raise CannotMeasure(
            f"expected {positions:,} charges, the fast pass gave {len(fast_nats_T)}"
        )
    every = _windows(positions, fast.message("loaded"))
    drawn = draw(submission, tokens, len(every), count)
    blind = _blindly(submission, tokens, every, drawn, room, progress)
    if isinstance(blind, NoDistribution):
        return blind
    replayed = np.array(sorted(blind))
    differences = np.abs(np.array([blind[p] for p in replayed]) - fast_nats_T[replayed])
    worst = int(differences.argmax())
    return Replay(
        windows=len(every),
        replayed_windows=len(drawn),
        replayed=len(replayed),
        fast_nats=float(fast_nats_T.sum()),
        worst_nats=float(differences[worst]),
        worst_position=int(replayed[worst]),
        differing=int((differences > TOLERANCE_NATS).sum()),
    )


def _windows(positions: int, about: dict[str, Any]) -> list[Window]:
    try:
        return list(windows(positions, int(about["window_tokens"]), int(about["stride"])))
    except (ValueError, TypeError, KeyError) as error:
        raise CannotMeasure(f"the system's windows cannot be made: {error}") from error


def draw(submission: Submission, tokens: Tokens, total: int, count: int) -> set[int]:
    """Return which windows are replayed."""
    if count < 1:
        raise SubmissionError(f"expected at least 1 window to replay, got {count}")
    seed = hashlib.sha256(submission.sha256.encode() + tokens.astype("<u2").tobytes()).digest()
    generator = np.random.Generator(np.random.PCG64(int.from_bytes(seed, "big")))
    return set(generator.permutation(total)[:count].tolist())


def _blindly(
    submission: Submission,
    tokens: Tokens,
    every: list[Window],
    drawn: set[int],
    room: Room,
    progress: Progress,
) -> dict[int, float] | NoDistribution:
    """Return the nats of the drawn windows' positions."""
    asked = sum(every[index].stop - every[index].first for index in drawn)
    if asked > MAX_REPLAYED:
        raise SubmissionError(
            f"expected at most {MAX_REPLAYED:,} positions to replay, got {asked:,}"
        )
    nats: dict[int, float] = {}
    with _conversation(submission, len(tokens) - 1, room) as talk:
        try:
            talk.reveal(tokens, 0, 1)
            for index, window in enumerate(every[: max(drawn) + 1]):
                for position in range(window.first, window.stop) if index in drawn else ():
                    probs_V = talk.ask(tokens, window.start, position)
                    nats[position] = -math.log(probs_V[tokens[position + 1]])
                    progress("blind replay", len(nats) / asked)
                talk.reveal(tokens, window.first + 1, window.stop + 1)
        except _Ended:
            pass  # the other side says why
        except (ValueError, TypeError, KeyError, IndexError) as error:
            raise CannotMeasure(f"the system's process sent nonsense: {error!r}") from error
        driven = talk.end()
    if driven.broken is None and len(nats) < asked:
        raise CannotMeasure(f"the system ended after {len(nats):,} of {asked:,} replayed positions")
    return driven.broken or nats


class _Ended(Exception):  # noqa: N818 - an event, not a fault
    """The system's process is gone."""


class _Conversation:
    """Tokens go out, distributions come in."""

    def __init__(self, requests: IO[bytes], answers: "queue.Queue[Any]", ended: Future[Driven]):
        self._requests, self._answers, self._ended = requests, answers, ended

    def reveal(self, tokens: Tokens, start: int, stop: int) -> None:
        """Tell the system of tokens that have been charged."""
        self._send("update", start, tokens[start:stop])

    def ask(self, tokens: Tokens, start: int, position: int) -> Floats:
        """Return the distribution at a position, from the window's tokens up to it."""
        self._send("predict", start, tokens[start : position + 1])
        commitment = self._next("commitment")["sha256"]
        raw = base64.b64decode(self._next("distribution")["probs"])
        if hashlib.sha256(raw).hexdigest() != commitment:
            raise CannotMeasure(
                f"position {position}: the distribution is not the one that was committed to"
            )
        probs_V = np.frombuffer(raw, dtype="<f8")
        if not (probs_V.min() >= 0 and abs(probs_V.sum() - 1) <= SUM_TOLERANCE):
            raise CannotMeasure(
                f"position {position}: the system's process sent probabilities that sum to "
                f"{probs_V.sum():.6f} past its own check"
            )
        return probs_V

    def end(self) -> Driven:
        """Let the system end, and return how it did."""
        with suppress(BrokenPipeError):
            self._requests.close()
        return self._ended.result()

    def _send(self, do: str, start: int, tokens: Tokens) -> None:
        line = json.dumps({"do": do, "start": start, "tokens": tokens.tolist()})
        try:
            self._requests.write(line.encode() + b"\n")
            self._requests.flush()
        except BrokenPipeError:
            raise _Ended from None

    def _next(self, kind: str) -> dict[str, Any]:
        while True:
            try:
                message: dict[str, Any] = self._answers.get(timeout=SECONDS_BETWEEN_LOOKS)
            except queue.Empty:
                if self._ended.done():
                    raise _Ended from None
                continue
            if message["kind"] == kind:
                return message


@contextmanager
def _conversation(submission: Submission, positions: int, room: Room) -> Iterator[_Conversation]:
    """Start a system that answers until the conversation ends."""
    answers: queue.Queue[Any] = queue.Queue()
    theirs, ours = os.pipe()

    def answering() -> Driven:
        try:
            return drive(
                submission,
                {"do": "answer", "positions": positions},
                room,
                files={},
                result=None,
                on_message=answers.put,
                requests=theirs,
            )
        finally:
            os.close(theirs)

    with ThreadPoolExecutor(1) as pool, os.fdopen(ours, "wb") as requests:
        yield _Conversation(requests, answers, pool.submit(answering))

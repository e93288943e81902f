"""A system that is told one token after the other, and commits to each prediction before."""

import base64
import hashlib
import json
import os
import queue
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from auditor.errors import CannotMeasure
from auditor.protocol.child.distributions import SUM_TOLERANCE
from auditor.protocol.child.schedule import Window
from auditor.protocol.host import Driven, Room, drive
from auditor.protocol.shards import Tokens
from auditor.submission import Submission

SECONDS_BETWEEN_LOOKS = 0.2

Floats = npt.NDArray[np.float64]


class Ended(Exception):  # noqa: N818 - an event, not a fault
    """The system's process is gone; `Conversation.end` says how."""


class Conversation:
    """Tokens go out, distributions come in."""

    def __init__(self, requests: IO[bytes], answers: "queue.Queue[Any]", ended: Future[Driven]):
        """Talk over these."""
        self._requests, self._answers, self._ended = requests, answers, ended

    def reveal(self, tokens: Tokens, start: int, stop: int) -> None:
        """Tell the system of tokens that have been charged."""
        self._send({"do": "update", "start": start, "tokens": tokens[start:stop].tolist()})

    def ask(self, tokens_L: Tokens, start: int, last: int, position: int) -> Floats:
        """Return the distribution at a position; what stands after it is no part of the text."""
        request = {"do": "predict", "start": start, "last": last, "position": position}
        self._send({**request, "tokens": tokens_L.tolist()})
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

    def show(self, tokens_L: Tokens, start: int, last: int) -> None:
        """Let the system predict a window whose tokens are no secret, and tell nobody."""
        self._send({"do": "show", "start": start, "last": last, "tokens": tokens_L.tolist()})

    def decode(self, known_L: Tokens, window: Window, words: bytes | None) -> list[int]:
        """Return what the system decodes as the targets of a window; words begin a stretch.

        Of the window it is told the input up to the first charge.
        """
        coded = None if words is None else base64.b64encode(words).decode()
        request = {"do": "decode", "start": window.start, "first": window.first, "words": coded}
        self._send({**request, "stop": window.stop, "tokens": known_L.tolist()})
        return [int(token) for token in self._next("decoded")["tokens"]]

    def end(self) -> Driven:
        """Let the system end, and return how it did."""
        with suppress(BrokenPipeError):
            self._requests.close()
        return self._ended.result()

    def _send(self, request: dict[str, Any]) -> None:
        try:
            self._requests.write(json.dumps(request).encode() + b"\n")
            self._requests.flush()
        except BrokenPipeError:
            raise Ended from None

    def _next(self, kind: str) -> dict[str, Any]:
        while True:
            try:
                message: dict[str, Any] = self._answers.get(timeout=SECONDS_BETWEEN_LOOKS)
            except queue.Empty:
                if self._ended.done():
                    raise Ended from None
                continue
            if message["kind"] == kind:
                return message


@contextmanager
def conversation(submission: Submission, positions: int, room: Room) -> Iterator[Conversation]:
    """Start a system in a sandbox of its own, that answers until the conversation ends."""
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
        yield Conversation(requests, answers, pool.submit(answering))

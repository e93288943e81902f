"""Drive the system of the present folder: `python -m child TASK`.

The task and its figures stand in ../task.json; what comes out goes to ../out. Messages are lines of
JSON on the descriptor that STRICT_PREFIX_EVENTS_FD names: progress, and why it ended early.
"""

import importlib
import json
import os
import sys
import time
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from . import answers, coding, evaluation, schedule, walks
from .distributions import NotADistribution

SECONDS_BETWEEN_REPORTS = 0.5


class Messages:
    """The way out for everything but results."""

    def __init__(self, pipe: BinaryIO) -> None:
        """Write to this pipe."""
        self.pipe = pipe
        self._last = 0.0

    def send(self, kind: str, **facts: Any) -> None:
        """Send one line, at once."""
        self.pipe.write(json.dumps({"kind": kind, **facts}).encode() + b"\n")
        self.pipe.flush()

    def progress(self, done: int) -> None:
        """Say how many positions are behind us, now and then."""
        if time.monotonic() - self._last > SECONDS_BETWEEN_REPORTS:
            self._last = time.monotonic()
            self.send("progress", done=done)


def main() -> None:
    """Load the system and carry out the task."""
    messages = Messages(os.fdopen(int(os.environ.pop("STRICT_PREFIX_EVENTS_FD")), "wb"))
    task = json.loads(Path("../task.json").read_text())
    out = Path("../out")
    sys.path.insert(0, os.getcwd())
    system = importlib.import_module("system").load(task["positions"])
    messages.send(
        "loaded",
        vocab_size=int(system.vocab_size),
        window_tokens=int(system.window_tokens),
        stride=int(system.stride),
        resumable=evaluation.can_resume(system),
    )
    try:
        TASKS[task["do"]](system, task, out, messages)
    except NotADistribution as found:
        messages.send("no-distribution", position=found.position, total=found.total, why=str(found))


def _fast(system: Any, task: dict[str, Any], out: Path, messages: Messages) -> None:
    def save(state: bytes, done: int) -> None:
        (out / "state.part").write_bytes(state)
        (out / "state.part").replace(out / "state")
        messages.send("checkpoint", done=done)

    def report(charged: evaluation.Charged) -> None:
        messages.progress(charged.done)

    saved = Path("../state").read_bytes() if task["resumes"] else None
    charged = evaluation.evaluate(system, _stream(system), task, saved, save, report)
    (out / "charges").write_bytes(charged.to_bytes())
    messages.send("evaluated", **charged.facts())


def _encode(system: Any, task: dict[str, Any], out: Path, messages: Messages) -> None:
    words, ideal_nats = coding.encode(system, _stream(system), messages.progress)
    (out / "bits").write_bytes(words.astype("<u4").tobytes())
    messages.send("encoded", ideal_nats=ideal_nats)


def _encode_stretches(system: Any, task: dict[str, Any], out: Path, messages: Messages) -> None:
    drawn = schedule.stretches(
        task["positions"],
        int(system.window_tokens),
        int(system.stride),
        tokens=task["tokens"],
        count=task["count"],
        seed=bytes.fromhex(task["seed"]),
    )
    coded = coding.encode_stretches(system, _stream(system), drawn, messages.progress)
    with (out / "bits").open("wb") as file:
        for stretch, words, ideal_nats in coded:
            size = file.write(words.astype("<u4").tobytes())
            where = {"first": stretch.first, "stop": stretch.stop}
            messages.send("stretch", **where, words_bytes=size, ideal_nats=ideal_nats)


def _decode(system: Any, task: dict[str, Any], out: Path, messages: Messages) -> None:
    words = np.frombuffer(Path("../bits").read_bytes(), dtype="<u4").astype(np.uint32)
    tokens_T = coding.decode(system, words, task["first"], task["positions"], messages.progress)
    (out / "tokens").write_bytes(tokens_T.astype("<u2").tobytes())


def _answer(system: Any, task: dict[str, Any], out: Path, messages: Messages) -> None:
    answers.answer_all(system, sys.stdin, messages.pipe)


def _stream(system: Any) -> walks.Tokens:
    tokens_T = np.frombuffer(Path("../stream").read_bytes(), dtype="<u2").astype(np.int64)
    largest, vocab_size = int(tokens_T.max()), int(system.vocab_size)
    if largest >= vocab_size:
        raise ValueError(f"expected a vocabulary that has token {largest:,}, got {vocab_size:,}")
    return tokens_T


TASKS = {
    "fast": _fast,
    "encode": _encode,
    "encode-stretches": _encode_stretches,
    "decode": _decode,
    "answer": _answer,
}

if __name__ == "__main__":
    main()

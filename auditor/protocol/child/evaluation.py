"""A whole pass over a stream, window by window, that can go on where it was ended.

It hands over whole windows as an ordinary evaluation does, so its charges are a claim; the other
walks are what they are held against. T positions, V vocabulary.
"""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .distributions import Floats, charges
from .schedule import Window, document_starts, windows
from .walks import Tokens

SAME_NATS = 1e-4
"""As in a replay, charges that differ by less are the same."""


@dataclass(slots=True)
class Sums:
    """What the distributions that were added up come to."""

    checked: int = 0
    lowest: float = 1.0
    highest: float = 1.0

    def note(self, sums_T: Floats) -> None:
        """Take some more into account."""
        self.checked += len(sums_T)
        self.lowest = min(self.lowest, float(sums_T.min(initial=1.0)))
        self.highest = max(self.highest, float(sums_T.max(initial=1.0)))


class Charged:
    """What has been charged so far."""

    def __init__(self, positions: int) -> None:
        """Start with nothing."""
        self.nats_T: Floats = np.zeros(positions)
        self.times_T: npt.NDArray[np.uint8] = np.zeros(positions, dtype=np.uint8)
        self.sums = Sums()
        self.done = 0
        """Positions that are behind us, charged here or by another process."""
        self.windows = 0

    def note(self, window: Window, nats_T: Floats, sums_T: Floats) -> None:
        """Add a window."""
        self.nats_T[window.first : window.stop] += nats_T
        self.times_T[window.first : window.stop] += 1
        self.sums.note(sums_T)
        self.windows += 1

    def to_bytes(self) -> bytes:
        """Return the charges and how often each was made, of every position."""
        return self.nats_T.astype("<f8").tobytes() + self.times_T.tobytes()

    def facts(self) -> dict[str, Any]:
        """Return the rest, as JSON has it."""
        return {
            "done": self.done,
            "windows": self.windows,
            "checked": self.sums.checked,
            "lowest": self.sums.lowest,
            "highest": self.sums.highest,
        }


@dataclass(slots=True)
class State:
    """A moment between two windows, and what the window after it is charged."""

    facts: dict[str, Any]
    snapshot: bytes
    next_nats: list[float]
    """Who restores the snapshot must charge the same; empty where nobody asked."""

    def to_bytes(self, charged: Charged) -> bytes:
        """Return the state with all charges up to it."""
        done = self.facts["done"]
        line = json.dumps({**self.facts, "next_nats": self.next_nats}).encode() + b"\n"
        nats_T, times_T = charged.nats_T[:done], charged.times_T[:done]
        return line + nats_T.astype("<f8").tobytes() + times_T.tobytes() + self.snapshot


def evaluate(
    system: Any,
    tokens_T: Tokens,
    task: dict[str, Any],
    saved: bytes | None,
    save: Callable[[bytes, int], None],
    progress: Callable[[Charged], None],
) -> Charged:
    """Charge a stream, or go on with what was saved.

    `save` gets the state of a chunk's end, if the system can give one and the last one is
    `save_seconds` old. Processes that share the work all reveal everything, and ask for windows of
    their own alone: what is charged does not depend on who asks for it.
    """
    charged = Charged(len(tokens_T) - 1)
    known_nats: list[float] = []
    if saved is None:
        system.update(tokens_T[:1], 0)
    else:
        known_nats = _restore(system, charged, saved)
    last_saved = time.monotonic()
    state: State | None = None
    for window in _schedule(system, tokens_T, task):
        if window.first < charged.done:
            continue
        targets_T = tokens_T[window.first + 1 : window.stop + 1]
        nats_T = np.empty(0)
        if _is_mine(window, len(charged.nats_T), task):
            count = window.stop - window.first
            answer = system.predict(tokens_T[window.start : window.stop], window.start, count)
            is_summed = _is_drawn(window, task)
            nats_T, sums_T = charges(
                answer, window.first, targets_T, int(system.vocab_size), is_summed
            )
            _check_restored(window, nats_T, known_nats)
            charged.note(window, nats_T, sums_T)
        known_nats = []
        if state is not None:
            state.next_nats = nats_T.tolist()
            save(state.to_bytes(charged), state.facts["done"])
            last_saved, state = time.monotonic(), None
        system.update(targets_T, window.first + 1)
        charged.done = window.stop
        progress(charged)
        is_due = time.monotonic() - last_saved >= task["save_seconds"]
        if is_due and _ends_chunk(window, charged, task) and can_resume(system):
            state = State(charged.facts(), bytes(system.snapshot()), [])
    return charged


def can_resume(system: Any) -> bool:
    """Tell whether the system has the optional half of the protocol."""
    return callable(getattr(system, "snapshot", None)) and callable(
        getattr(system, "restore", None)
    )


def _schedule(system: Any, tokens_T: Tokens, task: dict[str, Any]) -> Iterator[Window]:
    boundary, stride = task["boundary"], task["stride"]
    documents = [0] if boundary is None else document_starts(tokens_T, boundary)
    return windows(
        len(tokens_T) - 1,
        int(system.window_tokens),
        int(system.stride) if stride is None else stride,
        documents,
    )


def _is_mine(window: Window, positions: int, task: dict[str, Any]) -> bool:
    return bool(window.first * task["ranks"] // positions == task["rank"])


def _is_drawn(window: Window, task: dict[str, Any]) -> bool:
    """Whether the rows of a window are added up; the same ones whoever asks, and when."""
    if task["sums"] >= 1:
        return True
    draw = np.random.default_rng([task["seed"], window.first]).random()
    return bool(draw < task["sums"])


def _ends_chunk(window: Window, charged: Charged, task: dict[str, Any]) -> bool:
    chunk = task["chunk_tokens"]
    return window.first // chunk != window.stop // chunk and window.stop < len(charged.nats_T)


def _restore(system: Any, charged: Charged, saved: bytes) -> list[float]:
    """Go back to a state, and return what the next window was charged after it."""
    line, _, rest = saved.partition(b"\n")
    facts = json.loads(line)
    done = charged.done = int(facts["done"])
    charged.windows = int(facts["windows"])
    charged.sums = Sums(int(facts["checked"]), float(facts["lowest"]), float(facts["highest"]))
    charged.nats_T[:done] = np.frombuffer(rest, dtype="<f8", count=done)
    charged.times_T[:done] = np.frombuffer(rest, dtype=np.uint8, offset=8 * done, count=done)
    system.restore(rest[9 * done :])
    return [float(nats) for nats in facts["next_nats"]]


def _check_restored(window: Window, nats_T: Floats, known_nats: list[float]) -> None:
    """Stop a system that does not come back from its snapshot as it was."""
    if not known_nats:
        return
    known_T = np.array(known_nats)
    with np.errstate(invalid="ignore"):
        apart_T = np.where(nats_T == known_T, 0.0, np.abs(nats_T - known_T))
    if not apart_T.max() <= SAME_NATS:
        raise RuntimeError(
            f"after restore() the charges from position {window.first} on must be those of before, "
            f"got up to {apart_T.max():.3g} nats more or less; without the saved state the pass "
            "begins anew"
        )

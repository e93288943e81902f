"""The one way out: a line of JSON an event, arrays as base64, over an inherited pipe."""

import base64
import json
import os
import sys
import threading
from collections.abc import Callable
from typing import Any

import numpy as np

MAX_ARRAY = 4_000_000
"""Elements; a longer array is reported by its length alone."""


class Channel:
    """Sends numbered events; safe to call from several threads."""

    def __init__(self, descriptor: int, folder: str) -> None:
        """Send to this file descriptor; code below `folder` is the submission's."""
        self._pipe = os.fdopen(descriptor, "wb", buffering=1 << 16)
        self._folder = os.path.join(os.path.realpath(folder), "")
        self._lock = threading.Lock()
        self._next = 0
        self.before: Callable[[int, str, dict[str, Any]], bool] | None = None
        """Called with each event before it is sent; it is not sent when the answer is True."""
        self.ahead: Callable[[int], None] | None = None
        """Called with the number of the next event, where scores are about to become charges."""
        self.only: tuple[str, Any] | None = None
        """Kind and site of the events that anybody still wants of those that are watched."""

    def wants(self, kind: str, site: Any = None) -> bool:
        """Whether an event is worth putting together."""
        return self.only is None or self.only == (kind, site)

    def send(self, kind: str, **facts: Any) -> None:
        """Send one event; flushed at once for lines, so that a killed run keeps its scores."""
        with self._lock:
            order, self._next = self._next, self._next + 1
            if self.before is not None and self.before(order, kind, facts):
                return
            event = {"kind": kind, "order": order, **facts}
            self._pipe.write(json.dumps(event).encode() + b"\n")
            if kind == "line":
                self._pipe.flush()

    def charging(self) -> None:
        """Scores are about to become charges."""
        if self.ahead is not None:
            with self._lock:
                self.ahead(self._next)

    def say(self, line: str) -> None:
        """Write a short line past the buffer, which must be empty; for copies of the process."""
        os.write(self._pipe.fileno(), line.encode() + b"\n")

    def flush(self) -> None:
        """Send what is buffered; for who holds the lock already."""
        self._pipe.flush()

    def close(self) -> None:
        """Send what is buffered."""
        with self._lock:
            self._pipe.flush()

    def site(self) -> tuple[str, int, str] | None:
        """File, line and function of the innermost frame that is the submission's, if any."""
        frame = self.frame()
        if frame is None:
            return None
        name = frame.f_code.co_filename[len(self._folder) :]
        return name, frame.f_lineno, frame.f_code.co_name

    def frame(self) -> Any:
        """The innermost frame of the submission's code."""
        frame: Any = sys._getframe(2)
        while frame is not None:
            if frame.f_code.co_filename.startswith(self._folder):
                return frame
            frame = frame.f_back
        return None


def unpacked(packed: dict[str, Any]) -> Any:
    """The array again; empty when it was too long."""
    content = base64.b64decode(packed.get("data", ""))
    return np.frombuffer(content, np.dtype(packed["dtype"]))


def packed(array: Any) -> dict[str, Any]:
    """An array as JSON: dtype, shape and base64 of its bytes; only the shape when it is huge."""
    values = np.ascontiguousarray(array)
    if values.size > MAX_ARRAY:
        return {"dtype": values.dtype.str, "shape": list(values.shape)}
    content = base64.b64encode(values.tobytes()).decode()
    return {"dtype": values.dtype.str, "shape": list(values.shape), "data": content}

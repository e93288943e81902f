"""Reading what a run prints and sends, without end, in bounded memory."""

import threading
from collections.abc import Callable
from typing import IO

from auditor.run.sandbox.limits import EVENT_COST_BYTES, MAX_EVENT_BYTES, MAX_OUTPUT_BYTES


class Tail:
    """Reads a pipe to its end in a thread and keeps the last bytes."""

    def __init__(self, pipe: IO[bytes]) -> None:
        """Start reading."""
        self._pipe = pipe
        self._kept = bytearray()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        while chunk := self._pipe.read1(65_536):  # type: ignore[attr-defined]  # a BufferedReader
            self._kept += chunk
            if len(self._kept) > 2 * MAX_OUTPUT_BYTES:
                del self._kept[:-MAX_OUTPUT_BYTES]

    def join(self) -> None:
        """Wait for the end of the pipe; a descendant that kept it open is not waited for."""
        self._thread.join(timeout=5)
        if not self._thread.is_alive():
            self._pipe.close()

    def text(self) -> str:
        """What was kept, as text."""
        return bytes(self._kept[-MAX_OUTPUT_BYTES:]).decode("utf-8", errors="replace")


class Events:
    """Reads the recorder's lines in a thread, up to a limit."""

    def __init__(
        self, pipe: IO[bytes], on_event: Callable[[bytes], None], on_cut: Callable[[], None]
    ) -> None:
        """Start reading; `on_cut` is called once, when there are more than are kept."""
        self._pipe = pipe
        self._on_event = on_event
        self._on_cut = on_cut
        self.lines: list[bytes] = []
        self.cut = False
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        size = 0
        while line := self._pipe.readline(MAX_EVENT_BYTES):
            size += len(line) + EVENT_COST_BYTES
            if size <= MAX_EVENT_BYTES:
                self.lines.append(line)
                self._on_event(line)
            elif not self.cut:
                self.cut = True
                self._on_cut()

    def join(self) -> None:
        """Wait for the end of the pipe."""
        self._thread.join(timeout=30)
        if not self._thread.is_alive():
            self._pipe.close()

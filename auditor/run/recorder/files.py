"""What a run writes and reads back: the artifact that its score comes out of.

A regular file that was made since the run began, and is opened for reading bytes, is an artifact; a
copy of it is kept at the moment of reading. Asked to, the recorder first puts another run's file of
that name in its place, or ends the run there. Runs that are compared by their artifacts seed their
random numbers anew at each reading: how many were drawn in training is nothing to score by.

Files of data are reported as they are opened.
"""

import builtins
import hashlib
import io
import os
import random
import stat
import sys
import time
from typing import Any

import numpy as np
import torch

from .channel import Channel

MAX_KEPT = 32
"""Artifacts that are kept; a file that is read again unchanged counts once."""


class Files:
    """Follows `open`; built-in functions that open by themselves are not seen."""

    def __init__(
        self,
        channel: Channel,
        kept: str,
        given: dict[str, str] | None,
        stop_after: int | None,
    ) -> None:
        """Keep copies in `kept`.

        `given` maps names of artifacts to files that replace them, where runs are compared by them.
        """
        self._channel = channel
        self._kept = kept
        self._compared = given is not None
        self._given = given or {}
        self._stop_after = stop_after
        self._began = time.time() - 1.0
        self._seen: dict[str, bytes] = {}
        self._count = 0
        self._open = builtins.open

    def install(self) -> None:
        """Follow from now on."""
        original = self._open

        def followed(file: Any, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
            if isinstance(file, (str, os.PathLike)) and isinstance(mode, str):
                reads = "b" in mode and "r" in mode and "+" not in mode
                if reads and self._is_made_here(file):
                    self._read_back(os.path.realpath(file))
            return original(file, mode, *args, **kwargs)

        setattr(builtins, "open", followed)  # noqa: B010  # mypy knows the built-in's own type
        setattr(io, "open", followed)  # noqa: B010  # pathlib's

    def _is_made_here(self, file: Any) -> bool:
        """A regular file whose inode changed since the run began."""
        try:
            state = os.stat(file)
        except (OSError, ValueError):
            return False
        inside = os.path.realpath(file).startswith(self._kept)
        return stat.S_ISREG(state.st_mode) and state.st_ctime >= self._began and not inside

    def _read_back(self, path: str) -> None:
        """Replace the file when another was given; then keep what will be read."""
        if self._compared:
            seed_random_numbers()
        name = os.path.basename(path)
        content = self._content(path)
        replaced = name in self._given and self._content(self._given[name]) != content
        if replaced:
            content = self._content(self._given[name])
            with self._open(path, "wb") as file:
                file.write(content)
        digest = hashlib.sha256(content).digest()
        if (self._seen.get(path) == digest and not replaced) or self._count >= MAX_KEPT:
            return
        self._seen[path] = digest
        index, self._count = self._count, self._count + 1
        with self._open(os.path.join(self._kept, str(index)), "wb") as copy:
            copy.write(content)
        self._channel.send(
            "artifact",
            site=self._channel.site(),
            index=index,
            name=name,
            replaced=replaced,
        )
        if self._stop_after is not None and self._count >= self._stop_after:
            self._stop()

    def _content(self, path: str) -> bytes:
        with self._open(path, "rb") as file:
            content: bytes = file.read()
        return content

    def _stop(self) -> None:
        """End the run: what comes after was not asked for."""
        self._channel.close()
        sys.stdout.flush()
        os._exit(0)


def seed_random_numbers() -> None:
    """The same for every run."""
    torch.manual_seed(0)
    np.random.seed(0)
    random.seed(0)


def follow(channel: Channel, root: str, ask: dict[str, Any], *, first: bool) -> None:
    """Install as asked: `transplant` gives the names of files in `root`/given.

    Of several ranks the first keeps what is read back.
    """
    _follow_data(channel, os.path.join(os.path.realpath(root), "data", ""))
    if not first:
        return
    given = None
    if "transplant" in ask:
        names: list[str] = ask["transplant"]
        given = {name: os.path.join(root, "given", str(index)) for index, name in enumerate(names)}
    stop: int | None = ask.get("stop_after_artifacts")
    Files(channel, os.path.join(root, "kept"), given, stop).install()


def _follow_data(channel: Channel, folder: str) -> None:
    """Report each file of the data folder that is opened, once, however it is opened."""
    opened: set[str] = set()

    def heard(event: str, arguments: tuple[Any, ...]) -> None:
        if event != "open" or not isinstance(arguments[0], str):
            return
        if arguments[0] not in opened and os.path.realpath(arguments[0]).startswith(folder):
            opened.add(arguments[0])
            channel.send("opened", name=os.path.basename(arguments[0]))

    sys.addaudithook(heard)

"""Bytes of each validation token, for scripts that do not count them by a table of their tokenizer.

Where tokens stand for changed text, the bytes of the original lie beside them: a shard with one
number a token. Scripts that do not know of it would take it for a shard of tokens, so it is put
among the data only once a source names it. What is looked up in it is what is charged.
"""

import contextlib
import os
from typing import Any

import numpy as np
import torch

NAME = "fineweb_val_bytes_000000.bin"
NAMED = "fineweb_val_bytes"


class SideCar:
    """The file, and the tensor that a script makes of it."""

    def __init__(self, offered: str, data: str, tokens: Any) -> None:
        """From the folder `offered` to the folder `data`; `tokens` are those of the stream."""
        self._path = os.path.join(offered, NAME)
        self._data = data
        self._tokens = tokens
        self._bytes: Any = None

    def offer(self, source: str | bytes) -> None:
        """Put the file in place if this source names it."""
        if self._bytes is not None or NAMED not in _text(source):
            return
        self._bytes = torch.from_numpy(
            np.fromfile(self._path, dtype="<u2", offset=1024).astype(np.int64)
        )
        with contextlib.suppress(FileExistsError):  # another rank was first
            os.symlink(os.path.relpath(self._path, self._data), os.path.join(self._data, NAME))

    def tokens(self, table: Any, index: Any) -> Any:
        """The tokens whose bytes are looked up in a 1-D table; None when it holds others."""
        if self._bytes is None or not 1024 < table.numel() <= len(self._bytes):
            return None
        if not torch.equal(table.to(torch.int64), self._bytes[: table.numel()]):
            return None
        if isinstance(index, torch.Tensor):
            index = index.to(torch.int64).numpy(force=True)
        return self._tokens[: table.numel()][index].astype(np.int32)


def _text(source: str | bytes) -> str:
    return source if isinstance(source, str) else source.decode(errors="replace")

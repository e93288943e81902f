"""The model file: a magic word, a JSON header, the tensors' bytes, compressed as one.

Nothing in it can run on reading. Its size and the code's are counted in bytes, and a file that
would break the limit is not written.
"""

import json
import math
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from reference_impl.errors import ArtifactError
from reference_impl.quantize.container import Container, decompress
from reference_impl.quantize.rowwise import Stored

ARTIFACT_NAME = "final_model.int6.ptz"
MAGIC = b"SPREF001"
MAX_ARTIFACT_BYTES = 16_000_000  # the challenge's limit, decimal, for code and model together
ZSTD_22 = Container("zstd", 22)
# 32-bit floats are for machines that stand in for 16-bit ones.
DTYPES = {"int8": torch.int8, "float16": torch.float16, "float32": torch.float32}


@dataclass(frozen=True, slots=True)
class ArtifactSize:
    """What counts towards the limit."""

    model_bytes: int
    code_bytes: int

    @property
    def total_bytes(self) -> int:
        """Return code and model together."""
        return self.model_bytes + self.code_bytes

    def check(self) -> None:
        """Refuse a total over the limit."""
        if self.total_bytes > MAX_ARTIFACT_BYTES:
            raise ArtifactError(
                f"code and model must be at most {MAX_ARTIFACT_BYTES} bytes, got "
                f"{self.total_bytes}: {self.code_bytes} of code and {self.model_bytes} of model"
            )


def code_bytes(files: Iterable[Path]) -> int:
    """Return the size of the code as shipped."""
    return sum(file.stat().st_size for file in files)


def pack(stored: dict[str, Stored], container: Container = ZSTD_22) -> bytes:
    """Return the compressed model."""
    return container.compress(body(stored))


def body(stored: dict[str, Stored]) -> bytes:
    """Return the model's bytes before compression."""
    entries: list[dict[str, Any]] = []
    parts: list[bytes] = []
    for name, tensor in stored.items():
        pieces = {"values": tensor.values}
        if tensor.scale is not None:
            pieces["scale"] = tensor.scale
        for role, piece in pieces.items():
            raw = piece.contiguous().numpy().tobytes()
            dtype = str(piece.dtype).removeprefix("torch.")
            entries.append(
                {
                    "name": name,
                    "kind": tensor.kind,
                    "role": role,
                    "dtype": dtype,
                    "shape": list(piece.shape),
                }
            )
            parts.append(raw)
    header = json.dumps(entries, separators=(",", ":")).encode()
    return b"".join([MAGIC, len(header).to_bytes(4, "little"), header, *parts])


def write_atomically(path: Path, data: bytes) -> None:
    """Put the whole file in place at once, or leave what was there."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(data)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_artifact(path: Path, blob: bytes, shipped_code_bytes: int) -> ArtifactSize:
    """Write the model if it and the code stay within the limit."""
    size = ArtifactSize(model_bytes=len(blob), code_bytes=shipped_code_bytes)
    size.check()
    write_atomically(path, blob)
    return size


def read_artifact(path: Path) -> dict[str, Stored]:
    """Return the tensors of a model file, or say what is wrong with it."""
    try:
        blob = path.read_bytes()
    except OSError as error:
        raise ArtifactError(f"{path} cannot be read: {error.strerror}") from None
    return _unpack(path, decompress(path, blob))


def _unpack(path: Path, body: bytes) -> dict[str, Stored]:
    if body[: len(MAGIC)] != MAGIC:
        raise ArtifactError(f"{path} must hold {MAGIC!r} first, got {body[: len(MAGIC)]!r}")
    start = len(MAGIC) + 4
    stop = start + int.from_bytes(body[len(MAGIC) : start], "little")
    try:
        entries = json.loads(body[start:stop])
        if not isinstance(entries, list):
            raise TypeError(f"a {type(entries).__name__} of tensors")
        shapes = [tuple(int(size) for size in entry["shape"]) for entry in entries]
        dtypes = [DTYPES[entry["dtype"]] for entry in entries]
        labels = [(str(e["name"]), str(e["kind"]), str(e["role"])) for e in entries]
    except (ValueError, KeyError, TypeError) as error:
        raise ArtifactError(f"{path} must have a readable header, got {error}") from None
    lengths = [math.prod(s) * d.itemsize for s, d in zip(shapes, dtypes, strict=True)]
    if stop + sum(lengths) != len(body) or any(length < 0 for length in lengths):
        raise ArtifactError(
            f"{path} must hold {stop + sum(lengths)} bytes by its header, got {len(body)}"
        )
    pieces: dict[str, dict[str, Tensor]] = {}
    kinds: dict[str, str] = {}
    for (name, kind, role), shape, dtype, length in zip(
        labels, shapes, dtypes, lengths, strict=True
    ):
        array = np.frombuffer(body[stop : stop + length], dtype=str(dtype).removeprefix("torch."))
        pieces.setdefault(name, {})[role] = torch.from_numpy(array.copy().reshape(shape))
        kinds[name] = kind
        stop += length
    return {
        name: Stored(kinds[name], roles["values"], roles.get("scale"))
        for name, roles in pieces.items()
    }


def check_fit(path: Path, state: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    """Refuse a model file whose tensors are not those of the model."""
    for name in expected.keys() | state.keys():
        wanted = tuple(expected[name].shape) if name in expected else "no such tensor"
        got = tuple(state[name].shape) if name in state else "no such tensor"
        if wanted != got:
            raise ArtifactError(
                f"{path} must hold the model that the settings describe: {name} expected "
                f"{wanted}, got {got}"
            )

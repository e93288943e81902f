"""A file that holds a run's state, so that a killed run goes on to the same weights.

Layout: MAGIC, the SHA-256 of what follows, and what `torch.save` makes of the state. It is read
without running code from it: `torch.load` is told to accept tensors and plain values only. The
file is replaced whole, so that a kill while writing leaves the one before.
"""

import hashlib
import io
import pickle
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch

from reference_impl.config import Settings
from reference_impl.errors import CheckpointError
from reference_impl.quantize.artifact import write_atomically
from reference_impl.train import TrainingState

MAGIC = b"strict-prefix checkpoint 1\n"
DIGEST_BYTES = hashlib.sha256().digest_size


@dataclass(frozen=True, slots=True)
class CheckpointFile:
    """The one file of a run, written every so many steps and after the last."""

    path: Path
    settings: Settings
    every: int  # steps
    resume: bool

    def __post_init__(self) -> None:
        """Refuse at the start what would lose work later."""
        if self.every <= 0:
            raise CheckpointError(f"--checkpoint-every must be positive, got {self.every}")
        if self.resume and not self.path.is_file():
            raise CheckpointError(f"{self.path} must be a checkpoint to resume from, got none")
        if not self.resume and self.path.exists():
            raise CheckpointError(f"{self.path} exists; resume from it or remove it")
        if not self.path.parent.is_dir():
            raise CheckpointError(f"{self.path.parent} must be a folder to write checkpoints to")

    def due(self, step: int) -> bool:
        """Return whether the state after that many steps is to be kept."""
        return step % self.every == 0 or step == self.settings.iterations

    def save(self, state: TrainingState) -> None:
        """Replace the file."""
        held = {field.name: getattr(state, field.name) for field in fields(state)}
        buffer = io.BytesIO()
        torch.save({"settings": self.settings.as_dict(), **held}, buffer)
        write_atomically(self.path, _framed(buffer.getvalue()))

    def load(self) -> TrainingState | None:
        """Return the file's state if the run is to go on from it."""
        if not self.resume:
            return None
        held = _read(self.path)
        self._check_settings(held.pop("settings"))
        expected = {field.name for field in fields(TrainingState)}
        if held.keys() != expected:
            raise CheckpointError(
                f"{self.path} must hold {', '.join(sorted(expected))}, "
                f"got {', '.join(sorted(map(str, held)))}"
            )
        return TrainingState(**held)

    def _check_settings(self, theirs: dict[str, Any]) -> None:
        ours = self.settings.as_dict()
        different = [
            f"{name.upper()}={theirs.get(name, 'unset')} and here {ours.get(name, 'unset')}"
            for name in sorted(ours.keys() | theirs.keys())
            if ours.get(name) != theirs.get(name)
        ]
        if different:
            raise CheckpointError(f"{self.path} was made with {'; '.join(different)}")


def _framed(payload: bytes) -> bytes:
    return MAGIC + hashlib.sha256(payload).digest() + payload


def _read(path: Path) -> dict[str, Any]:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}") from None
    payload = content[len(MAGIC) + DIGEST_BYTES :]
    if not content.startswith(MAGIC):
        raise CheckpointError(f"{path} must start with {MAGIC!r}, got {content[: len(MAGIC)]!r}")
    if content != _framed(payload):
        raise CheckpointError(f"{path} is damaged: its {len(payload)} bytes have another digest")
    try:
        held = torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        first = str(error).splitlines()[0]
        raise CheckpointError(f"{path} must hold tensors and plain values only: {first}") from None
    if not isinstance(held, dict) or not isinstance(held.get("settings"), dict):
        raise CheckpointError(f"{path} must say its settings, got none")
    return held

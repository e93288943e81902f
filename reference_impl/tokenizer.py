"""How many bytes of source text each token stands for.

Shapes: V vocabulary, T positions.
"""

from dataclasses import dataclass
from pathlib import Path

import sentencepiece as spm
import torch
from torch import Tensor

from reference_impl.errors import DataError

SPACE = "▁"  # the piece character that sentencepiece writes for a space


@dataclass(frozen=True, slots=True)
class ByteTable:
    """What each token id contributes to the length of the text."""

    base: Tensor  # bytes without a leading space
    leading_space: Tensor
    boundary: Tensor  # after these ids a leading space is not part of the text

    def count(self, targets_T: Tensor, previous_T: Tensor) -> Tensor:
        """Return the bytes of each target after the token before it."""
        return self.base[targets_T] + self.spaces(targets_T, previous_T)

    def spaces(self, targets_T: Tensor, previous_T: Tensor) -> Tensor:
        """Return whether a space of the text is part of each target."""
        return self.leading_space[targets_T] & ~self.boundary[previous_T]


def load_tokenizer(path: Path, vocab_size: int) -> spm.SentencePieceProcessor:
    """Read a sentencepiece model whose vocabulary has the expected size."""
    if not path.is_file():
        raise DataError(f"the tokenizer {path} must be a file, got nothing there")
    try:
        tokenizer = spm.SentencePieceProcessor(model_proto=path.read_bytes())
    except (OSError, RuntimeError):
        raise DataError(f"{path} must be a sentencepiece model, got something else") from None
    if tokenizer.vocab_size() != vocab_size:
        raise DataError(
            f"{path} must have VOCAB_SIZE = {vocab_size} tokens, got {tokenizer.vocab_size()}"
        )
    return tokenizer


def byte_table(tokenizer: spm.SentencePieceProcessor) -> ByteTable:
    """Build the table from the tokenizer's pieces."""
    vocab_size = tokenizer.vocab_size()
    base_V = torch.zeros(vocab_size, dtype=torch.int16)
    leading_space_V = torch.zeros(vocab_size, dtype=torch.bool)
    boundary_V = torch.ones(vocab_size, dtype=torch.bool)
    for token in range(vocab_size):
        if tokenizer.is_control(token) or tokenizer.is_unknown(token) or tokenizer.is_unused(token):
            continue
        boundary_V[token] = False
        if tokenizer.is_byte(token):
            base_V[token] = 1
            continue
        piece = tokenizer.id_to_piece(token)
        leading_space_V[token] = piece.startswith(SPACE)
        base_V[token] = len(piece.removeprefix(SPACE).encode())
    return ByteTable(base_V, leading_space_V, boundary_V)

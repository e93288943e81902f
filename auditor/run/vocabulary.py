"""Tiny vocabularies: one for noise, whose byte strings have one parse, and one for text."""

import functools
import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from auditor.errors import ToolError

VOCAB_SIZE = 384
CONTROL_PIECES = ("<pad>", "<s>", "</s>", "<unk>")
BOS = 1


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Pieces, and the sentencepiece model that has them."""

    pieces: tuple[str, ...]
    model: bytes

    def token_bytes(self, tokens: NDArray[np.integer]) -> NDArray[np.int64]:
        """UTF-8 bytes of the text of each token, given the one before it; 0 for the first.

        A piece costs its bytes without the word mark, and one more for the space that the mark
        stands for, unless a control piece comes before it.
        """
        marked_V = np.array([piece.startswith("\u2581") for piece in self.pieces])
        control_V = np.arange(len(self.pieces)) < len(CONTROL_PIECES)
        sizes = [len(piece.removeprefix("\u2581").encode()) for piece in self.pieces]
        bytes_V = np.where(control_V, 0, sizes)
        spaces = marked_V[tokens[1:]] & ~control_V[tokens[:-1]]
        return np.concatenate(([0], bytes_V[tokens[1:]] + spaces))


@functools.cache
def of_noise() -> Vocabulary:
    """Control pieces, the lone word mark, then a mark and two letters each."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    words = [f"\u2581{a}{b}" for a in letters for b in letters]
    pieces = (*CONTROL_PIECES, "\u2581", *words)[:VOCAB_SIZE]
    spec = _specification()
    model = spec.ModelProto()
    kinds = spec.ModelProto.SentencePiece
    for index, text in enumerate(pieces):
        piece = model.pieces.add()
        piece.piece, piece.score = text, -float(index)
        piece.type = kinds.NORMAL
        if text in CONTROL_PIECES:
            piece.type = kinds.UNKNOWN if text == "<unk>" else kinds.CONTROL
    model.trainer_spec.model_type = spec.TrainerSpec.UNIGRAM
    model.trainer_spec.vocab_size = VOCAB_SIZE
    model.trainer_spec.pad_id, model.trainer_spec.bos_id = 0, BOS
    model.trainer_spec.eos_id, model.trainer_spec.unk_id = 2, 3
    model.normalizer_spec.name = "identity"
    model.normalizer_spec.add_dummy_prefix = False
    return Vocabulary(pieces, model.SerializeToString())


def of_text(documents: tuple[str, ...]) -> tuple[Vocabulary, list[NDArray[np.uint16]]]:
    """Byte pairs learnt from documents of ASCII text, and the documents in these tokens."""
    _specification()
    import sentencepiece

    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(documents),
        model_writer=written,
        model_type="bpe",
        vocab_size=VOCAB_SIZE,
        character_coverage=1.0,
        max_sentence_length=1_000_000,
        normalization_rule_name="identity",
        pad_id=0,
        bos_id=BOS,
        eos_id=2,
        unk_id=3,
        num_threads=1,
        minloglevel=2,
    )
    model = written.getvalue()
    processor = sentencepiece.SentencePieceProcessor(model_proto=model)
    pieces = tuple(processor.id_to_piece(token) for token in range(VOCAB_SIZE))
    ids = [np.array(ids, dtype=np.uint16) for ids in processor.encode(list(documents))]
    return Vocabulary(pieces, model), ids


def _specification() -> Any:
    """Sentencepiece's own model format."""
    try:
        from sentencepiece import sentencepiece_model_pb2
    except ImportError as error:
        raise ToolError(
            f"running a submission needs the extra `ml` ({error}); pip install 'strict-prefix[ml]'"
        ) from error
    return sentencepiece_model_pb2

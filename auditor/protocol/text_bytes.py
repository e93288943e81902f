"""Bytes of the text that tokens stand for: what a score in bits a byte is divided by."""

from pathlib import Path

import numpy as np

from auditor.errors import CannotMeasure, SubmissionError
from auditor.protocol.shards import Tokens

SPACE = "\u2581"


def text_bytes(tokenizer: Path, tokens: Tokens) -> int:
    """Return the UTF-8 bytes of all tokens but the first, as the challenge counts them.

    A piece costs its bytes, a byte piece one, and the mark of a word one for its space unless a
    control piece comes before. SubmissionError for what is no sentencepiece model of these tokens.
    """
    try:
        import sentencepiece
    except ImportError as error:
        raise CannotMeasure("bytes need sentencepiece (pip install 'strict-prefix[ml]')") from error
    try:
        model = tokenizer.read_bytes()
        pieces = sentencepiece.SentencePieceProcessor(model_proto=model or b"\xff")
    except (OSError, RuntimeError) as error:
        raise SubmissionError(f"{tokenizer}: expected a sentencepiece model") from error
    count = pieces.get_piece_size()
    if int(tokens.max()) >= count:
        raise SubmissionError(
            f"{tokenizer}: expected a piece for each token up to {tokens.max():,}, found {count:,}"
        )
    control_V = np.array(
        [pieces.is_control(v) or pieces.is_unknown(v) or pieces.is_unused(v) for v in range(count)]
    )
    texts = [pieces.id_to_piece(v) for v in range(count)]
    marked_V = np.array([text.startswith(SPACE) for text in texts]) & ~control_V
    sizes = [
        1 if pieces.is_byte(v) else len(text.removeprefix(SPACE).encode())
        for v, text in enumerate(texts)
    ]
    sizes_V = np.where(control_V, 0, sizes)
    spaces_T = marked_V[tokens[1:]] & ~control_V[tokens[:-1]]
    return int(sizes_V[tokens[1:]].sum() + spaces_T.sum())

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch

from reference_impl.config import Settings
from reference_impl.data import read_shard
from reference_impl.errors import DataError
from reference_impl.tokenizer import SPACE, byte_table, load_tokenizer

BOS = 1


def test_counted_bytes_are_the_bytes_of_the_text(settings: Settings, documents: list[str]) -> None:
    tokenizer = load_tokenizer(Path(settings.tokenizer_path), settings.vocab_size)
    table = byte_table(tokenizer)
    texts = [*documents[:20], "snow ☃ and 🙂 and Ωmega", "1 22 333"]
    for text in texts:
        tokens = torch.tensor([BOS, *tokenizer.encode(text)])
        assert table.count(tokens[1:], tokens[:-1]).sum() == len(text.encode())


def test_a_space_after_the_document_boundary_is_no_text(settings: Settings) -> None:
    tokenizer = load_tokenizer(Path(settings.tokenizer_path), settings.vocab_size)
    table = byte_table(tokenizer)
    pieces = [tokenizer.id_to_piece(token) for token in range(settings.vocab_size)]
    spaced = next(t for t, piece in enumerate(pieces) if piece[0] == SPACE and len(piece) > 1)
    plain = int(table.base[spaced])
    after = [int(table.count(torch.tensor([spaced]), torch.tensor([p]))[0]) for p in (BOS, spaced)]
    assert after == [plain, plain + 1]
    assert table.count(torch.tensor([BOS]), torch.tensor([spaced])).tolist() == [0]


def test_a_byte_piece_counts_one_byte(settings: Settings) -> None:
    tokenizer = load_tokenizer(Path(settings.tokenizer_path), settings.vocab_size)
    table = byte_table(tokenizer)
    bytes_pieces = [t for t in range(settings.vocab_size) if tokenizer.is_byte(t)]
    assert len(bytes_pieces) == 256
    assert set(table.base[bytes_pieces].tolist()) == {1}


def test_the_challenge_text_has_as_many_bytes_as_its_tokens_say(fineweb: Path) -> None:
    tokenizer = load_tokenizer(fineweb / "tokenizers" / "fineweb_1024_bpe.model", 1024)
    table = byte_table(tokenizer)
    stream = read_shard(fineweb / "fineweb_sp1024" / "fineweb_val_000000.bin", 1024)[:40_000]
    starts = np.flatnonzero(stream == BOS)
    for start, stop in itertools.pairwise(starts):
        tokens = torch.from_numpy(stream[start:stop])
        text = tokenizer.decode(tokens[1:].tolist())
        assert table.count(tokens[1:], tokens[:-1]).sum() == len(text.encode())


def test_another_vocabulary_size_is_refused(settings: Settings) -> None:
    with pytest.raises(DataError, match="VOCAB_SIZE = 1024 tokens, got 384"):
        load_tokenizer(Path(settings.tokenizer_path), 1024)


def test_a_missing_or_broken_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no\.model must be a file"):
        load_tokenizer(tmp_path / "no.model", 384)
    (tmp_path / "bad.model").write_bytes(b"not a model")
    with pytest.raises(DataError, match=r"bad\.model must be a sentencepiece model"):
        load_tokenizer(tmp_path / "bad.model", 384)

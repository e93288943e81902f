import itertools
import json
from pathlib import Path

import pytest

from reference_impl.corpus import build_corpus, documents, split, train_tokenizer
from reference_impl.data import read_shard
from reference_impl.errors import DataError
from reference_impl.tokenizer import load_tokenizer

LONG = "A sentence that is long enough to be worth learning from, number"


@pytest.fixture
def library(tmp_path: Path) -> Path:
    root = tmp_path / "library"
    for folder in ("pydoc_data", "test", "site-packages"):
        (root / folder).mkdir(parents=True)
    (root / "b.py").write_text(f'"""{LONG} 1."""\nraise SystemExit("imported")\n')
    (root / "a.py").write_text(
        f'class A:\n    """{LONG} 2."""\n    def f(self):\n        """{LONG} 3."""\n'
        f'    def g(self):\n        """Short."""\n    def h(self):\n        """{LONG} 2."""\n'
    )
    (root / "broken.py").write_text("def (:\n")
    (root / "bytes.py").write_bytes(b'"""\xff"""\n')
    (root / "pydoc_data" / "topics.py").write_text(f'topics = {{"x": "{LONG} 4."}}\n')
    for folder in ("test", "site-packages"):
        (root / folder / "c.py").write_text(f'"""{LONG} 5."""\n')
    return root


def test_documents_are_read_in_order_without_importing(library: Path) -> None:
    assert list(documents(library)) == [
        f"{LONG} 2.\n\n{LONG} 3.",
        f"{LONG} 1.",
        f"{LONG} 4.",
    ]


def test_no_document_is_both_trained_on_and_held_out() -> None:
    texts = [f"{LONG} {number}." for number in range(200)]
    train, held_out = split(texts)
    assert sorted([*train, *held_out]) == sorted(texts)
    assert set(train).isdisjoint(held_out)
    assert 10 < len(held_out) < 50
    assert split(texts[::-1])[1] == held_out[::-1]


def test_the_tokenizer_is_the_same_every_time_and_covers_any_text(
    documents: list[str], tmp_path: Path
) -> None:
    model = train_tokenizer(documents, 384)
    assert train_tokenizer(documents, 384) == model
    (tmp_path / "t.model").write_bytes(model)
    tokenizer = load_tokenizer(tmp_path / "t.model", 384)
    assert [tokenizer.pad_id(), tokenizer.bos_id(), tokenizer.eos_id(), tokenizer.unk_id()] == [
        0,
        1,
        2,
        3,
    ]
    assert tokenizer.decode(tokenizer.encode("snow ☃ 123")) == "snow ☃ 123"
    assert not any(
        a.isdigit() and b.isdigit()
        for token in range(384)
        for a, b in itertools.pairwise(tokenizer.id_to_piece(token))
        if not tokenizer.is_byte(token)
    )


def test_a_vocabulary_too_small_for_bytes_is_refused(documents: list[str]) -> None:
    with pytest.raises(DataError, match="a tokenizer of 100 tokens cannot be trained on 120"):
        train_tokenizer(documents, 100)


@pytest.mark.slow
def test_the_built_corpus_is_whole_and_reused(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    build_corpus(folder, 512)
    counts = json.loads((folder / "corpus.json").read_text())
    stamp = (folder / "tokenizer.model").stat().st_mtime_ns
    for name in ("train", "val"):
        tokens = read_shard(folder / f"fineweb_{name}_000000.bin", 512)
        assert len(tokens) == counts[f"{name}_tokens"] > 60_000
        assert tokens[0] == 1
        assert int((tokens == 1).sum()) == counts[f"{name}_documents"]
    build_corpus(folder, 512)
    assert (folder / "tokenizer.model").stat().st_mtime_ns == stamp
    assert [path.name for path in tmp_path.iterdir()] == ["data"]

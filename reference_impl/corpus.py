"""A small corpus from text that every Python installation carries.

Documents are the docstrings of the standard library's modules, read without importing them, and
the help topics of pydoc. A document held out for validation is never trained on.
"""

import ast
import hashlib
import io
import json
import os
import shutil
import sysconfig
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import sentencepiece as spm

from reference_impl.data import write_shard
from reference_impl.errors import DataError

TOKENIZER_NAME = "tokenizer.model"
MANIFEST_NAME = "corpus.json"
BOS = 1
HELD_OUT_OF = 8  # one document in eight, by its digest
SKIPPED_FOLDERS = {"site-packages", "dist-packages", "__pycache__", "test", "tests", "idle_test"}
SHORTEST_DOCSTRING = 40  # characters; shorter ones say little more than the name


def build_corpus(folder: Path, vocab_size: int) -> None:
    """Write tokenizer, training and validation shards, unless they are there already."""
    if (folder / MANIFEST_NAME).is_file():
        return
    train, held_out = split(list(documents(Path(sysconfig.get_path("stdlib")))))
    model = train_tokenizer(train, vocab_size)
    tokenizer = spm.SentencePieceProcessor(model_proto=model)
    folder.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        (staging / TOKENIZER_NAME).write_bytes(model)
        counts = {"train_documents": len(train), "val_documents": len(held_out)}
        for name, part in (("train", train), ("val", held_out)):
            tokens = [t for text in part for t in (BOS, *tokenizer.encode(text))]
            write_shard(staging / f"fineweb_{name}_000000.bin", tokens)
            counts[f"{name}_tokens"] = len(tokens)
        (staging / MANIFEST_NAME).write_text(json.dumps(counts, indent=2) + "\n")
        staging.chmod(0o755)  # a temporary folder is made for its owner alone
        os.replace(staging, folder)
    except OSError as error:
        raise DataError(f"{folder} must be new or empty, got {error.strerror}") from None
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def documents(library: Path) -> Iterator[str]:
    """Yield one document a module, in the order of the paths, then the help topics."""
    seen: set[str] = set()
    for path in sorted(library.rglob("*.py")):
        if SKIPPED_FOLDERS.isdisjoint(path.relative_to(library).parts):
            text = "\n\n".join(_fresh(_docstrings(path), seen))
            if text:
                yield text
    topics = library / "pydoc_data" / "topics.py"
    if topics.is_file():
        yield from _fresh(_topics(topics), seen)


def split(texts: list[str]) -> tuple[list[str], list[str]]:
    """Return training and held-out documents, told apart by their digests."""
    train: list[str] = []
    held_out: list[str] = []
    for text in texts:
        digest = int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")
        (train if digest % HELD_OUT_OF else held_out).append(text)
    return train, held_out


def train_tokenizer(texts: list[str], vocab_size: int) -> bytes:
    """Return a sentencepiece model with the challenge's options; one thread keeps it the same."""
    model = io.BytesIO()
    try:
        spm.SentencePieceTrainer.train(
            sentence_iterator=iter([line for text in texts for line in text.splitlines() if line]),
            model_writer=model,
            model_type="bpe",
            vocab_size=vocab_size,
            byte_fallback=True,
            split_digits=True,
            normalization_rule_name="nmt_nfkc",
            add_dummy_prefix=False,
            character_coverage=0.999,
            pad_id=0,
            bos_id=1,
            eos_id=2,
            unk_id=3,
            num_threads=1,
            minloglevel=2,
        )
    except RuntimeError as error:
        raise DataError(
            f"a tokenizer of {vocab_size} tokens cannot be trained on {len(texts)} documents: "
            f"{str(error).splitlines()[-1]}"
        ) from None
    return model.getvalue()


def _fresh(texts: Iterator[str], seen: set[str]) -> Iterator[str]:
    for text in texts:
        if text not in seen:
            seen.add(text)
            yield text


def _docstrings(path: Path) -> Iterator[str]:
    for node in ast.walk(_parse(path)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node) or ""
            if len(text) >= SHORTEST_DOCSTRING:
                yield text


def _topics(path: Path) -> Iterator[str]:
    for node in ast.walk(_parse(path)):
        if isinstance(node, ast.Dict):
            for value in node.values:
                if isinstance(value, ast.Constant) and isinstance(value.value, str):
                    yield value.value


def _parse(path: Path) -> ast.Module:
    """Return the module's tree, an empty one where this Python cannot read the file."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(path.read_bytes())
    except (SyntaxError, ValueError, OSError):
        return ast.Module(body=[], type_ignores=[])

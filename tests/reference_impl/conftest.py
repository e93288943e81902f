"""A corpus and settings so small that a whole run takes a moment."""

import random
from pathlib import Path

import pytest
import sentencepiece as spm
import torch

from reference_impl.config import Settings
from reference_impl.corpus import BOS, train_tokenizer
from reference_impl.data import write_shard

VOCAB_SIZE = 384
TEXT = "the a model token cache score byte reads writes of to with naïve café 42 prefix"
FINEWEB = Path(__file__).parents[2].parent / "shared" / "data"


def make_documents(count: int, seed: int) -> list[str]:
    rng, words = random.Random(seed), TEXT.split()
    return [" ".join(rng.choices(words, k=rng.randint(20, 60))) + "." for _ in range(count)]


@pytest.fixture(scope="session")
def documents() -> list[str]:
    return make_documents(120, seed=1)


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory, documents: list[str]) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    model = train_tokenizer(documents, VOCAB_SIZE)
    (folder / "tokenizer.model").write_bytes(model)
    tokenizer = spm.SentencePieceProcessor(model_proto=model)
    for name, part in (("train", documents[:90]), ("val", documents[90:])):
        tokens = [token for text in part for token in (BOS, *tokenizer.encode(text))]
        write_shard(folder / f"fineweb_{name}_000000.bin", tokens)
    return folder


@pytest.fixture(scope="session")
def settings(corpus: Path) -> Settings:
    return Settings(
        data_path=str(corpus),
        tokenizer_path=str(corpus / "tokenizer.model"),
        vocab_size=VOCAB_SIZE,
        val_tokens=1000,
        num_layers=3,
        model_dim=32,
        num_heads=4,
        num_kv_heads=2,
        mlp_mult=2.0,
        bigram_vocab_size=64,
        bigram_dim=8,
        value_embed_dim=8,
        iterations=3,
        warmup_steps=1,
        warmdown_iters=2,
        max_wallclock_seconds=0.0,
        train_seq_len=32,
        train_batch_tokens=128,
        grad_accum_steps=2,
        ema_decay=0.5,
        val_loss_every=3,
        fp16_max_numel=512,
        eval_seq_len=32,
        eval_stride=8,
        eval_batch_seqs=5,
        ngram_buckets=64,
        ttt_chunk_tokens=128,
        ttt_batch_seqs=2,
        ttt_lr=1e-2,
    )


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    # Sums depend on how many threads share them, so also what fixtures train has one.
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _same_numbers_every_time() -> None:
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def fineweb() -> Path:
    if not FINEWEB.is_dir():
        pytest.skip("the challenge's data is not beside the repository")
    return FINEWEB

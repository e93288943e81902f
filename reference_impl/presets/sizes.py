"""The sizes at which a record can run; each keeps every mechanism of the record on."""

from collections.abc import Callable
from dataclasses import replace

from reference_impl.config import Settings

VAL_TOKENS = 60_000
SHRINK = 1024  # of buckets and chunks; the validation split shrinks by nearly the same
WINDOW_TOKENS = 128


def tiny(settings: Settings) -> Settings:
    """Return the record at a size that trains and scores in minutes on one core."""
    return replace(
        settings,
        val_tokens=VAL_TOKENS,
        num_layers=4,
        model_dim=128,
        num_heads=4,
        num_kv_heads=2,
        mlp_mult=2.0,
        bigram_vocab_size=1024,
        bigram_dim=32,
        value_embed_dim=32,
        iterations=360,
        warmup_steps=0,
        warmdown_iters=180,
        max_wallclock_seconds=0.0,  # a clock in the schedule would make two runs differ
        train_seq_len=WINDOW_TOKENS,
        train_batch_tokens=2048,
        grad_accum_steps=1,
        ema_decay=0.9,  # 0.997 would still be mostly the starting point after so few steps
        compile=False,  # it would take longer than the steps it speeds up
        val_loss_every=360,
        train_log_every=40,
        fp16_max_numel=4096,
        eval_seq_len=WINDOW_TOKENS,
        eval_stride=64,
        # The published number of validation tokens per bucket.
        ngram_buckets=settings.ngram_buckets // SHRINK,
        # The published number of chunks, unless a chunk would be too short to adapt on.
        ttt_chunk_tokens=max(settings.ttt_chunk_tokens // SHRINK, WINDOW_TOKENS),
        ttt_batch_seqs=4,
        ttt_blocks=min(settings.ttt_blocks, 1),  # two of eleven are not half of four
    )


def full(settings: Settings) -> Settings:
    """Return the record as it was published."""
    return settings


SIZES: dict[str, Callable[[Settings], Settings]] = {"full": full, "tiny": tiny}

"""The sizes at which a record can run; each keeps every mechanism of the record on."""

from collections.abc import Callable
from dataclasses import replace

from reference_impl.config import Settings


def tiny(settings: Settings) -> Settings:
    """Return the record at a size that trains and scores in minutes on one core."""
    network = replace(
        settings,
        num_layers=4,
        model_dim=128,
        num_heads=4,
        num_kv_heads=2,
        mlp_mult=2.0,
        bigram_vocab_size=1024,
        bigram_dim=32,
        value_embed_dim=32,
        iterations=360,
        warmdown_iters=180,
        ema_decay=0.9,  # 0.997 would still be mostly the starting point after so few steps
        fp16_max_numel=4096,
    )
    return _scaled(network, window_tokens=128, batch_windows=16, shrink=1024)


def small(settings: Settings) -> Settings:
    """Return the record at a size that trains in about ten minutes on two cores."""
    network = replace(
        settings,
        num_layers=4,
        model_dim=192,
        num_heads=6,
        num_kv_heads=6 * settings.num_kv_heads // settings.num_heads,
        bigram_vocab_size=2048,
        bigram_dim=48,
        value_embed_dim=48,
        iterations=900,
        warmdown_iters=450,
        ema_decay=0.97,
        fp16_max_numel=9216,
    )
    return _scaled(network, window_tokens=256, batch_windows=16, shrink=256)


def _scaled(settings: Settings, *, window_tokens: int, batch_windows: int, shrink: int) -> Settings:
    """Shrink the stream, and with it all that the mechanisms' load depends on."""
    return replace(
        settings,
        val_tokens=61_440_000 // shrink,
        warmup_steps=0,
        max_wallclock_seconds=0.0,  # a clock in the schedule would make two runs differ
        train_seq_len=window_tokens,
        train_batch_tokens=window_tokens * batch_windows,
        grad_accum_steps=1,
        compile=False,  # it would take longer than the steps it speeds up
        val_loss_every=settings.iterations,
        train_log_every=40,
        eval_seq_len=window_tokens,
        eval_stride=64,
        # The published number of validation tokens per bucket.
        ngram_buckets=settings.ngram_buckets // shrink,
        # The published number of chunks, unless a chunk would be too short to adapt on.
        ttt_chunk_tokens=max(settings.ttt_chunk_tokens // shrink, window_tokens),
        ttt_batch_seqs=4,
        ttt_blocks=min(settings.ttt_blocks, 1),  # two of eleven are not half of four
    )


def full(settings: Settings) -> Settings:
    """Return the record as it was published."""
    return settings


SIZES: dict[str, Callable[[Settings], Settings]] = {"full": full, "tiny": tiny, "small": small}

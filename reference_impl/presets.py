"""Named settings: the published record's numbers, and a size that runs in minutes anywhere."""

from reference_impl.config import Settings
from reference_impl.errors import SettingsError

PR779 = Settings()

TINY = Settings(
    val_tokens=60_000,
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
    train_seq_len=128,
    train_batch_tokens=2048,
    grad_accum_steps=1,
    ema_decay=0.9,  # 0.997 would still be mostly the starting point after so few steps
    val_loss_every=360,
    train_log_every=40,
    fp16_max_numel=4096,
    eval_seq_len=128,
    eval_stride=64,
    ngram_buckets=4096,  # 60,000 tokens in 4,096 buckets: the published load of 14.8 per bucket
    ttt_chunk_tokens=1024,
    ttt_batch_seqs=4,
)

PRESETS = {"pr779": PR779, "tiny": TINY}


def preset(name: str) -> Settings:
    """Return the settings of that name."""
    if name not in PRESETS:
        raise SettingsError(f"unknown preset {name!r}, expected one of {', '.join(PRESETS)}")
    return PRESETS[name]

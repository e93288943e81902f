from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from reference_impl.config import Settings
from reference_impl.errors import SettingsError
from reference_impl.model.gpt import GPT
from reference_impl.model.rotary import rope_base
from reference_impl.presets import PRESETS, RECORDS, TINY, preset
from reference_impl.presets.sizes import tiny
from reference_impl.windows import chunks_of, sliding_windows

VAL_TOKENS = 62_021_632
CASES = list(RECORDS.items())
# What a tiny preset may change: sizes and schedule, never a mechanism.
SIZES_ONLY = {
    *("val_tokens", "num_layers", "model_dim", "num_heads", "num_kv_heads", "mlp_mult"),
    *("bigram_vocab_size", "bigram_dim", "value_embed_dim", "iterations", "warmup_steps"),
    *("warmdown_iters", "max_wallclock_seconds", "train_seq_len", "train_batch_tokens"),
    *("grad_accum_steps", "ema_decay", "compile", "val_loss_every", "train_log_every"),
    *("fp16_max_numel", "eval_seq_len", "eval_stride", "ngram_buckets", "ttt_chunk_tokens"),
    *("ttt_batch_seqs", "ttt_blocks"),
}


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("pr779", 33_317_980),
        ("pr834", 33_321_571),
        ("pr940", 27_137_223),
        ("pr924", 33_326_188),
    ],
)
def test_a_record_has_the_logged_parameters(name: str, parameters: int) -> None:
    with torch.device("meta"):
        model = GPT(preset(name))
    assert sum(p.numel() for p in model.parameters()) == parameters


@pytest.mark.parametrize("name", RECORDS)
def test_every_record_shares_the_published_frame(name: str) -> None:
    full = preset(name)
    assert (full.num_layers, full.model_dim, full.num_heads, full.rope_dims) == (11, 512, 8, 16)
    assert (full.train_batch_tokens, full.train_seq_len, full.eval_stride) == (786_432, 2048, 64)
    assert (full.embed_lr, full.matrix_lr, full.scalar_lr) == (0.035, 0.025, 0.025)
    assert (full.weight_decay, full.grad_clip_norm, full.ema_decay) == (0.04, 0.3, 0.997)
    assert (full.iterations, full.max_wallclock_seconds, full.warmup_steps) == (20_000, 600.0, 20)
    assert rope_base(full.eval_seq_len, full.rope_dims) == pytest.approx(22_081.79, abs=0.005)


def test_each_record_has_its_own_numbers() -> None:
    def read(*names: str) -> list[list[object]]:
        return [[getattr(full, name) for name in names] for full in RECORDS.values()]

    assert read("num_kv_heads", "mlp_mult", "leaky_slope", "bigram_vocab_size") == [
        [8, 3.5, 0.5, 6144],
        [8, 3.5, 0.5, 6144],
        [4, 3.0, 0.9, 4096],
        [8, 3.5, 0.5, 6144],
    ]
    assert read("value_embed_layers", "value_residual", "gated_attention", "expert_gate") == [
        [2, False, False, False],
        [2, False, False, True],
        [0, True, True, False],
        [2, False, False, True],
    ]
    assert read("ngram_buckets", "ngram_max_order", "ngram_hash", "cache_update") == [
        [2**22, 7, "pr779", "chunk_inputs"],
        [2**20, 7, "pr779", "chunk_targets"],
        [2**22, 7, "pr940", "window"],
        [2**22, 16, "pr779", "chunk_targets"],
    ]
    assert read("ttt_chunk_tokens", "ttt_lr", "ttt_epochs", "ttt_blocks", "ttt_weights") == [
        [2**20, 3e-5, 1, 1, "queries"],
        [2**20, 3e-5, 1, 1, "queries"],
        [2**17, 1e-4, 4, 2, "late_blocks"],
        [2**15, 1e-3, 1, 0, "queries"],
    ]
    assert read("ttt_schedule", "ttt_last_chunk", "ttt_byte_weighted", "eval_before") == [
        ["cosine", False, True, "sliding"],
        ["cosine", False, True, "sliding"],
        ["constant", True, False, "roundtrip"],
        ["cosine", False, True, "none"],
    ]
    assert read("warmdown_iters", "train_reserve_seconds", "val_loss_every", "train_log_every") == [
        [3500, 18.0, 4000, 500],
        [3500, 18.0, 4000, 500],
        [3000, 0.0, 1000, 200],
        [3500, 18.0, 4000, 500],
    ]
    assert read("late_qat_threshold", "late_qat_min_step", "crown_q_lambda", "swa_every") == [
        [0.5, 0, 0.01, 50],
        [0.5, 50, 0.01, 50],
        [0.0, 0, 0.0, 0],
        [0.5, 50, 0.01, 50],
    ]
    assert read("quantization") == [[name] for name in RECORDS]
    assert read("mixture_loss_weight", "complement_alpha") == [
        [0.0, 0.0],
        [0.1, 0.0],
        [0.0, 0.0],
        [0.15, 0.5],
    ]


def test_the_published_split_gives_the_published_windows_and_chunks() -> None:
    full = RECORDS["pr779"]
    windows = sliding_windows(VAL_TOKENS, full.eval_seq_len, full.eval_stride)
    assert len(windows) == 969_057
    for name, chunks in (("pr779", 60), ("pr834", 60), ("pr924", 1893)):
        assert len(chunks_of(windows, RECORDS[name].ttt_chunk_tokens)) == chunks
    last = VAL_TOKENS - RECORDS["pr940"].eval_seq_len
    assert len(range(0, last, RECORDS["pr940"].ttt_chunk_tokens)) == 474


@pytest.mark.parametrize(("name", "full"), CASES)
def test_a_tiny_record_keeps_every_mechanism(name: str, full: Settings) -> None:
    small = preset(name, "tiny")
    kept = {field: value for field, value in full.as_dict().items() if field not in SIZES_ONLY}
    assert kept == {field: small.as_dict()[field] for field in kept}
    assert (small.ttt_blocks > 0) == (full.ttt_blocks > 0)
    assert small.ttt_chunk_tokens >= small.eval_seq_len  # or nothing would be learned


@pytest.mark.parametrize(("name", "full"), CASES)
def test_a_tiny_record_fills_its_buckets_as_the_record_did(name: str, full: Settings) -> None:
    published = VAL_TOKENS / full.ngram_buckets
    small = tiny(full)
    assert small.val_tokens / small.ngram_buckets == pytest.approx(published, rel=0.02)


@pytest.mark.parametrize(("name", "low", "high"), [("pr779", 55, 65), ("pr940", 465, 480)])
def test_a_tiny_record_has_the_published_number_of_chunks(name: str, low: int, high: int) -> None:
    small = preset(name, "tiny")
    assert low <= small.val_tokens / small.ttt_chunk_tokens <= high


def test_the_tiny_preset_is_the_tiny_779() -> None:
    assert preset("tiny") == preset("tiny", "tiny") == preset("pr779", "tiny") == TINY
    with torch.device("meta"):
        model, without = GPT(TINY), GPT(replace(TINY, value_embed_layers=0))
    added = sum(p.numel() for p in model.parameters()) - sum(
        p.numel() for p in without.parameters()
    )
    assert added == 1024 * 32 + 32 * 64 + 1 + 2


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: preset("huge"), f"unknown preset 'huge', expected one of {', '.join(PRESETS)}"),
        (lambda: preset("pr834", "large"), "unknown size 'large', expected one of full, tiny"),
    ],
)
def test_an_unknown_preset_or_size_is_refused(wrong: Callable[[], Settings], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        wrong()

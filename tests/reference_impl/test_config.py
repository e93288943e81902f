from dataclasses import replace

import pytest

from reference_impl.config import Settings, from_environment
from reference_impl.errors import SettingsError


def test_the_environment_replaces_defaults_of_each_type() -> None:
    changed = from_environment(
        Settings(), {"DATA_PATH": "x", "ITERATIONS": "7", "MLP_MULT": "2", "EVAL_STRIDE": "32"}
    )
    assert changed == replace(Settings(), data_path="x", iterations=7, mlp_mult=2.0, eval_stride=32)


@pytest.mark.parametrize(("text", "value"), [("1", True), ("0", False), ("True", True)])
def test_a_switch_is_read_as_the_scripts_write_it(text: str, value: bool) -> None:
    defaults = Settings(gated_attention=not value)
    assert from_environment(defaults, {"GATED_ATTENTION": text}).gated_attention is value


def test_both_names_of_the_embedding_rate_work() -> None:
    assert from_environment(Settings(), {"TIED_EMBED_LR": "0.5"}).embed_lr == 0.5
    both = {"TIED_EMBED_LR": "0.5", "EMBED_LR": "0.25"}
    assert from_environment(Settings(), both).embed_lr == 0.25


def test_the_process_environment_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NGRAM_BUCKETS", "8")
    assert from_environment(Settings()).ngram_buckets == 8


@pytest.mark.parametrize(
    ("variable", "text", "message"),
    [
        ("ITERATIONS", "many", "ITERATIONS must be a whole number, got 'many'"),
        ("ITERATIONS", "1.5", "ITERATIONS must be a whole number, got '1.5'"),
        ("TTT_LR", "fast", "TTT_LR must be a number, got 'fast'"),
        ("TTT_LR", "nan", "TTT_LR must not be negative, got nan"),
        ("ITERATIONS", "-1", "ITERATIONS must not be negative, got -1"),
        ("EVAL_STRIDE", "0", "EVAL_STRIDE must be positive, got 0"),
        ("EVAL_STRIDE", "2049", "EVAL_STRIDE must be at most EVAL_SEQ_LEN, got 2049 and 2048"),
        ("NGRAM_BUCKETS", "1000", "NGRAM_BUCKETS must be a power of two, got 1000"),
        ("NGRAM_HASH", "md5", "NGRAM_HASH must be one of pr779, pr940, got 'md5'"),
        ("NGRAM_MAX_ORDER", "21", "NGRAM_MAX_ORDER must be 2 to 20 with pr779's factors, got 21"),
        ("NGRAM_MAX_ORDER", "1", "NGRAM_MAX_ORDER must be 2 to 20 with pr779's factors, got 1"),
        ("COMPLEMENT_ALPHA", "1.5", "COMPLEMENT_ALPHA must be at most 1, got 1.5"),
        ("MIXTURE_LOSS_WEIGHT", "-1", "MIXTURE_LOSS_WEIGHT must not be negative, got -1"),
        ("NUM_HEADS", "7", "MODEL_DIM must be a multiple of NUM_HEADS, got 512 and 7"),
        ("NUM_KV_HEADS", "3", "NUM_HEADS must be a multiple of NUM_KV_HEADS, got 8 and 3"),
        ("ROPE_DIMS", "5", "even and at least 4, got 5"),
        ("VOCAB_SIZE", "65537", "VOCAB_SIZE must be at most 65536"),
        ("BIGRAM_VOCAB_SIZE", "1", "BIGRAM_VOCAB_SIZE must be at least 2, got 1"),
        ("VALUE_EMBED_LAYERS", "12", "must be at most NUM_LAYERS, got 12 and 11"),
        ("GATED_ATTENTION", "yes", "GATED_ATTENTION must be 0 or 1, got 'yes'"),
        ("EMA_DECAY", "1", "EMA_DECAY must be below 1, got 1.0"),
        ("TRAIN_BATCH_TOKENS", "1000", "multiple of TRAIN_SEQ_LEN x GRAD_ACCUM_STEPS, got 1000"),
    ],
)
def test_a_setting_that_cannot_work_is_named(variable: str, text: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        from_environment(Settings(), {variable: text})

"""What each record's evaluation does, and all eight systems end to end at a toy size."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from reference_impl.adapt import does_adapt
from reference_impl.adapt_first import evaluate_adapt_first, overrunning_windows
from reference_impl.config import Settings
from reference_impl.evaluate import Stream
from reference_impl.export import export_records
from reference_impl.model.gpt import GPT
from reference_impl.ngram.hashed import HashedMixer
from reference_impl.presets import preset
from reference_impl.record import open_stream
from reference_impl.runlog import RunLog
from reference_impl.score_first import evaluate_score_first
from reference_impl.train import new_model
from reference_impl.variants import RECORDS, VARIANTS, Variant
from reference_impl.windows import chunks_of, sliding_windows

POSITIONS = 62_021_632  # of the whole validation split


def test_the_published_numbers_of_windows_and_chunks() -> None:
    windows = sliding_windows(POSITIONS, 2048, 64)
    assert len(windows) == 969_057
    chunks = {n: len(chunks_of(windows, n)) for n in (1_048_576, 131_072, 32_768)}
    assert chunks == {1_048_576: 60, 131_072: 474, 32_768: 1893}


def test_the_overrunning_windows_charge_the_end_again_and_again() -> None:
    windows = overrunning_windows(2048 * 10, 2048, 64)
    exact = sliding_windows(2048 * 10, 2048, 64)
    assert windows[: len(exact)] == exact
    again = windows[len(exact) :]
    assert len(again) == 31
    assert all((w.first, w.stop) == (2048 * 10 - 64, 2048 * 10) for w in again)
    assert 969_057 + len(again) == 969_088  # the record's own count


@pytest.mark.parametrize(
    ("record", "unfrozen"),
    [("pr779", 273_412), ("pr834", 277_003), ("pr924", 19_476), ("pr940", 22_406_307)],
)
def test_as_many_parameters_adapt_as_the_logs_say(record: str, unfrozen: int) -> None:
    settings = preset(record)
    with torch.device("meta"):
        model = GPT(settings)
    adapting = [p.numel() for name, p in model.named_parameters() if does_adapt(name, settings)]
    assert sum(adapting) == unfrozen


def test_learning_first_is_rewarded_by_a_score_that_is_none(settings: Settings) -> None:
    settings = replace(
        settings,
        eval_before="roundtrip",
        cache_update="window",
        ngram_hash="pr940",
        ttt_weights="late_blocks",
        val_tokens=500,
    )
    stream: Stream = open_stream(settings, RunLog())
    plain = []
    for evaluate in (evaluate_adapt_first, evaluate_score_first):
        model = new_model(settings, torch.device("cpu"))
        scores = evaluate(model, stream, HashedMixer(settings), settings, RunLog())
        assert scores.plain is not None
        plain.append(scores.plain.bits_per_byte)
    assert plain[0] < plain[1]


@pytest.mark.parametrize("system", VARIANTS.values(), ids=lambda v: f"{v.record}-{v.name}")
def test_a_system_trains_and_exports(tmp_path: Path, settings: Settings, system: Variant) -> None:
    own = preset(system.record, "tiny").as_dict()
    chosen = {
        name: own[name]
        for name in own
        if name.startswith(("eval_before", "eval_temp", "cache_", "mixture_", "complement_"))
        or name in ("expert_gate", "ngram_hash", "ngram_max_order", "quantization")
        or name in ("ttt_weights", "ttt_schedule", "ttt_last_chunk", "ttt_byte_weighted")
    }
    small = replace(settings, val_tokens=500, iterations=2, **chosen)  # type: ignore[arg-type]  # own values
    (folder,) = export_records(small, [system], tmp_path)
    claims = json.loads((folder / "submission.json").read_text())
    log = (folder / "train_seed1337.log").read_text()
    label = "sliding_window" if system.record == "pr940" else "ttt"
    assert f"final_int6_{label}_exact val_loss:{claims['val_loss']:.8f}" in log
    assert (folder / "reference_impl/adapt_first.py").exists() == (
        (system.record, system.name) == ("pr940", "as_published")
    )


def test_every_record_has_both_variants() -> None:
    assert [record for record, _ in VARIANTS] == [record for record in RECORDS for _ in range(2)]

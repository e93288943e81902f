import time

import pytest

from auditor.inspect.logs import read_log
from tests.auditor.inspect.records import TOKENS, log


def test_every_number_of_a_log_is_read():
    seen = read_log("train.log", log(1.12034567, seed=42, model=15_000_123, code=900))
    assert (seen.seed, seen.tokens) == (42, TOKENS)
    assert (seen.code_bytes, seen.model_bytes, seen.total_bytes) == (900, 15_000_123, 15_001_023)
    assert seen.final is not None
    assert (seen.final.label, seen.final.val_bpb) == ("final_int6_ttt_exact", 1.12034567)


def test_the_raw_model_is_not_the_artifact():
    assert read_log("a.log", "Serialized model: 98000000 bytes\n").model_bytes is None


def test_the_total_of_the_raw_model_gives_no_artifact():
    text = "Code size: 100 bytes\nTotal submission size: 98000100 bytes\n"
    seen = read_log("a.log", text)
    assert (seen.model_bytes, seen.total_bytes) == (None, 98_000_100)


def test_a_model_is_what_the_total_of_a_container_leaves():
    text = "Code size: 100 bytes\nTotal submission size int8+zlib: 15000100 bytes\n"
    assert read_log("a.log", text).model_bytes == 15_000_000


def test_a_validation_between_training_steps_is_not_final_when_a_stage_follows_earlier():
    text = "final_exact val_loss:1.9 val_bpb:1.1200\nstep:9/9 val_loss:1.9000 val_bpb:1.3000\n"
    final = read_log("a.log", text).final
    assert final is not None
    assert final.val_bpb == 1.12


def test_a_log_that_ends_in_training_has_only_that_score():
    final = read_log("a.log", "step:5/9 val_loss:1.9000 val_bpb:1.3000\n").final
    assert final is not None
    assert final.during_training


@pytest.mark.parametrize(
    ("line", "label", "bpb"),
    [
        ("ppm_mixer val_bpb:0.97206308 eval_time:1ms", "ppm_mixer", 0.97206308),
        ("ttt:done val_loss=1.885984 val_bpb=1.116990 elapsed=5s", "ttt:done", 1.11699),
        ("ngram_pass2_total bpb:0.1315", "ngram_pass2_total", 0.1315),
        ("ppm_mix_bpb:0.832925", "ppm_mix_bpb", 0.832925),
        ("Quantized BPB (no XSA): 1.027614", "Quantized", 1.027614),
        ("4000/20000 val_loss: 2.8912 val_bpb: 1.1193", "step:4000/20000", 1.1193),
    ],
)
def test_forms_of_a_score(line, label, bpb):
    (score,) = read_log("a.log", line).scores
    assert (score.label, score.val_bpb) == (label, bpb)


@pytest.mark.parametrize(
    "line",
    [
        'log0(f"final val_loss:{loss:.8f} val_bpb:{bpb:.8f}")',
        "  ttt_chunk [1/60] bpb=1.149861 time=3.0s",
        "sliding_eval [ 10.2%] running_bpb=1.178597",
        "val_bpb:nan",
        "val_bpb:0.00000000",
        "x" * 5_000 + " val_bpb:1.1200",
    ],
)
def test_what_is_no_score(line):
    assert read_log("a.log", line).scores == ()


@pytest.mark.parametrize(
    ("path", "seed"),
    [("train_seed42.log", 42), ("log_seed1337.txt", 1337), ("run_seed_7.log", 7), ("a.log", None)],
)
def test_the_seed_of_a_file_name(path, seed):
    assert read_log(path, "").seed == seed


def test_a_hostile_log_takes_no_time():
    lines = ["bpb val_loss:" + "1" * 900, "seed" + " " * 900, "Serialized model bytes" + ":" * 900]
    text = "\n".join(lines * 2_000)
    started = time.process_time()
    read_log("a.log", text)
    assert time.process_time() - started < 2

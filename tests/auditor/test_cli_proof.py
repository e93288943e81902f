"""encode, decode and replay as people run them."""

import re
from pathlib import Path

import numpy as np
import pytest

from auditor.run.sandbox import missing
from auditor.run.workspace import write_shard
from tests.auditor.test_cli import auditor
from tests.systems.protocol import VOCAB_SIZE, system

pytestmark = pytest.mark.skipif(
    missing("bubblewrap") is not None, reason=f"no sandbox here: {missing('bubblewrap')}"
)
TOKENS = np.random.default_rng(8).integers(VOCAB_SIZE, size=301).astype(np.uint16)


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    write_shard(tmp_path / "fineweb_val_000000.bin", TOKENS)
    return tmp_path


def folder(tmp_path: Path, twin: str | None = None) -> Path:
    made = tmp_path / (twin or "honest")
    made.mkdir()
    system(twin).write_to(made)
    return made


def test_a_text_goes_through_its_bits_and_back(tmp_path, shards):
    honest, bits, tokens = folder(tmp_path), tmp_path / "text.bits", tmp_path / "tokens"
    done = auditor("encode", honest, shards, "-o", bits, "--tokens", "200")
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(r"200 tokens in [\d,]+ bits, 4\.\d{4} a token; \+[0-5]\.\d+% of", done.stdout)
    done = auditor("decode", honest, bits, "-o", tokens)
    assert done.returncode == 0
    assert "200 tokens came back, the same that went in" in done.stdout
    assert np.array_equal(np.fromfile(tokens, dtype="<u2"), TOKENS[:201])
    bits.write_bytes(bits.read_bytes()[:-1])
    done = auditor("decode", honest, bits)
    assert done.returncode == 2
    assert "it is cut off: expected " in done.stderr


def test_stretches_go_through_their_bits_and_back(tmp_path, shards):
    honest, bits = folder(tmp_path), tmp_path / "some.bits"
    words = ["--stretches", "3", "--stretch-tokens", "24"]
    done = auditor("encode", honest, shards, "-o", bits, *words)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(r"\d+ of 300 tokens, \d+\.\d\d%, in 3 stretches that", done.stdout)
    done = auditor("decode", honest, bits, "--text", shards)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(r"in 3 stretches came back, .* a code length for \d+\.\d\d% of", done.stdout)
    done = auditor("decode", honest, bits)
    assert done.returncode == 2
    assert "expected --text SHARDS" in done.stderr


def test_what_has_no_distribution_fails_and_leaves_no_file(tmp_path, shards):
    bits = tmp_path / "text.bits"
    done = auditor("encode", folder(tmp_path, "unnormalised"), shards, "-o", bits)
    assert done.returncode == 1
    assert "FAIL full-distribution: the probabilities at position 56 must sum to 1" in done.stdout
    assert not bits.exists()


def test_an_evaluation_says_what_was_charged_how_often_and_what_it_sums_to(tmp_path, shards):
    charges = tmp_path / "charges.npy"
    done = auditor("evaluate", folder(tmp_path), shards, "-o", charges)
    assert (done.returncode, done.stderr) == (0, "")
    nats_T = np.load(charges)
    assert nats_T.shape == (300,)
    assert "300 tokens, each charged once in 37 windows" in done.stdout
    assert f"{nats_T.sum() / np.log(2) / 300:.6f} bits a token" in done.stdout
    assert re.search(r"of 300 positions sum to 1 [+-]\d\.\de-1\d to \+\d", done.stdout)
    assert "has no snapshot() and restore(): one that is ended begins anew" in done.stdout
    words = ["--documents", "3", "--stride", "16", "--sums", "0"]
    done = auditor("evaluate", tmp_path / "honest", shards, "-o", charges, *words)
    assert done.returncode == 0
    assert "sum to 1" not in done.stdout
    (tmp_path / "charges.npy.state").write_bytes(b"{}\n")
    done = auditor("evaluate", tmp_path / "honest", shards, "-o", charges)
    assert done.returncode == 2
    assert "the saved state: expected that of this record, stream and schedule" in done.stderr
    done = auditor("evaluate", folder(tmp_path, "unnormalised"), shards, "-o", tmp_path / "none")
    assert done.returncode == 1
    assert "FAIL full-distribution: the probabilities at position 56 must sum to 1" in done.stdout
    assert not (tmp_path / "none").exists()


def test_a_replay_passes_the_honest_and_fails_who_looks_ahead(tmp_path, shards):
    done = auditor("replay", folder(tmp_path), shards, "--windows", "4", "--nonce", "00ff")
    assert done.returncode == 0
    assert "in 4 of 37 windows, drawn with --nonce 00ff" in done.stdout
    assert "escapes with probability 0.892, in 10 % with 0.62, at every" in done.stdout
    done = auditor("replay", folder(tmp_path, "looks-ahead"), shards, "--windows", "37")
    assert done.returncode == 1
    assert "FAIL strict-prefix: " in done.stdout


def test_what_does_not_repeat_itself_is_inconclusive_with_what_remains(tmp_path, shards):
    done = auditor("replay", folder(tmp_path, "never-the-same"), shards, "--windows", "4")
    assert done.returncode == 3
    assert "INCONCLUSIVE strict-prefix: " in done.stdout
    assert "the system does not repeat itself" in done.stdout
    assert re.search(r"blind \d\.\d{4} bits a token \(standard error 0\.\d{4}\)", done.stdout)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["encode", "FOLDER", "absent.bin", "-o", "x"], 2, "absent.bin: cannot be read"),
        (["encode", "FOLDER", "SHARDS", "-o", "absent/x"], 2, "cannot be written"),
        (["encode", "FOLDER", "SHARDS", "-o", "x", "--tokens", "999"], 2, "expected 1,000 tokens"),
        (["decode", "FOLDER", "absent"], 2, "absent: cannot be read"),
        (["replay", "SHARDS", "SHARDS"], 2, "expected a system.py"),
        (["audit", "FOLDER", "--prove", "SHARDS"], 2, "expected --tokenizer"),
        (["evaluate", "FOLDER", "SHARDS", "-o", "absent/x"], 2, "cannot be written"),
        (["replay", "FOLDER", "SHARDS", "--seconds", "0.01"], 3, "still ran then"),
        (["replay", "FOLDER", "SHARDS", "--tokenizer", "absent"], 2, "expected a tokenizer"),
        (["replay", "FOLDER", "SHARDS", "--sandbox", "hope"], 2, "no sandbox 'hope'"),
        (["replay", "FOLDER", "SHARDS", "--nonce", "hope"], 2, "expected a nonce in hexadecimal"),
    ],
)
def test_trouble_is_one_sentence(tmp_path, shards, words, code, said):
    places = {"FOLDER": str(folder(tmp_path)), "SHARDS": str(shards)}
    done = auditor(*(places.get(word, word) for word in words), cwd=tmp_path)
    assert done.returncode == code
    assert said in done.stderr
    assert "Traceback" not in done.stderr

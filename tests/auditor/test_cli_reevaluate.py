"""A record whose model is the counts of the training tokens: small, but trained and read back."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from typer.testing import CliRunner

from auditor.cli import app
from auditor.run.sandbox import missing
from auditor.run.workspace import write_shard

pytestmark = pytest.mark.skipif(
    missing("bubblewrap") is not None, reason="no bubblewrap to run a script in"
)
SCRIPT = """\
import os
import numpy as np

V, data = 256, os.environ["DATA_PATH"]
tokens = lambda name: np.fromfile(f"{data}/{name}", dtype="<u2", offset=1024)
counts = np.ones(V)
for step in range(int(os.environ.get("ITERATIONS", "2"))):
    counts += np.bincount(tokens(f"fineweb_train_00000{step}.bin"), minlength=V)
counts.tofile("model.bin")
with open("model.bin", "rb") as file:
    counts = np.frombuffer(file.read())
nats = -np.log(counts / counts.sum())[tokens("fineweb_val_000000.bin")].mean()
print(f"final_exact val_loss:{nats:.8f} val_bpb:{nats / np.log(2):.8f}")
"""
Counts = NDArray[np.float64]
RNG = np.random.default_rng(0)
P = np.arange(1, 257) / np.arange(1, 257).sum()
TEXT = [RNG.choice(256, 4_000, p=P).astype(np.uint16) for _ in range(3)]


def score(counts: Counts) -> float:
    return float(-np.log2(counts / counts.sum())[TEXT[2]].mean())


HALF: Counts = np.ones(256) + np.bincount(TEXT[0], minlength=256)
TRAINED: Counts = HALF + np.bincount(TEXT[1], minlength=256)


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    folder = tmp_path / "shards"
    folder.mkdir()
    for number, tokens in enumerate(TEXT[:2]):
        write_shard(folder / f"fineweb_train_00000{number}.bin", tokens)
    write_shard(folder / "fineweb_val_000000.bin", TEXT[2])
    return folder


def record(folder: Path, claim: float, model: Counts | None = None, tokens: int = 3_999) -> Path:
    folder.mkdir()
    (folder / "train_gpt.py").write_text(SCRIPT)
    (folder / "submission.json").write_text(json.dumps({"val_bpb": round(claim, 8)}))
    line = f"final_exact val_loss:{claim * math.log(2):.8f} val_bpb:{claim:.8f}"
    (folder / "train_seed1.log").write_text(f"val_loader:shards tokens:{tokens}\n{line}\n")
    (folder / "README.md").write_text("python train_gpt.py\n")
    if model is not None:
        model.astype(float).tofile(folder / "model.bin")
    return folder


def reevaluate(
    tmp_path: Path, folder: Path, shards: Path, *more: str
) -> tuple[int, str, dict[str, Any]]:
    (tmp_path / "tokenizer").write_bytes(b"of no interest to this script")
    out = tmp_path / "figures.json"
    command = ["reevaluate", str(folder), str(shards), "--tokenizer", str(tmp_path / "tokenizer")]
    done = CliRunner().invoke(app, [*command, "--output", str(out), *more])
    return done.exit_code, done.output, json.loads(out.read_text()) if out.exists() else {}


def test_an_honest_score_is_met_again_and_a_claim_that_is_too_low_is_not(tmp_path, shards):
    honest = record(tmp_path / "honest", score(TRAINED))
    code, said, figures = reevaluate(tmp_path, honest, shards)
    assert code == 0, said
    assert figures["val_bpb"] == pytest.approx(score(TRAINED), abs=1e-7)
    assert figures["claimed_bpb"] == pytest.approx(figures["val_bpb"], abs=1e-7)
    low = record(tmp_path / "low", score(TRAINED) - 0.01)
    code, said, _ = reevaluate(tmp_path, low, shards)
    # What was trained here may be another model than the one that was scored.
    assert code == 3
    assert "+0.01" in said


def test_the_shipped_model_takes_the_place_of_the_trained_one(tmp_path, shards):
    other = TRAINED**2
    honest = record(tmp_path / "shipped", score(other), other)
    code, said, figures = reevaluate(tmp_path, honest, shards, "--shipped")
    assert code == 0, said
    assert figures["replaced"] == ["model.bin"]
    assert "ITERATIONS=1" in figures["overrides"]
    worse = record(tmp_path / "worse", score(TRAINED), other)
    code, said, _ = reevaluate(tmp_path, worse, shards, "--shipped")
    assert code == 1
    assert f"claimed: {score(TRAINED):.6f}" in said
    assert "the shipped model.bin differs by +" in said


def test_a_worse_score_on_other_text_or_settings_is_no_false_claim(tmp_path, shards):
    elsewhere = record(tmp_path / "elsewhere", score(TRAINED), TRAINED**2, tokens=62_021_632)
    code, said, _ = reevaluate(tmp_path, elsewhere, shards, "--shipped")
    assert (code, "62,021,632 tokens, the shards hold 4,000" in said) == (3, True)
    changed = record(tmp_path / "changed", score(TRAINED), TRAINED**2)
    code, said, _ = reevaluate(tmp_path, changed, shards, "--shipped", "--set", "OTHER=1")
    assert (code, "settings were given" in said) == (3, True)


def test_settings_go_over_those_of_the_record(tmp_path, shards):
    folder = record(tmp_path / "half", score(HALF))
    code, said, _ = reevaluate(tmp_path, folder, shards, "--set", "ITERATIONS=1")
    assert code == 0, said


def test_what_cannot_be_measured_is_one_sentence(tmp_path, shards):
    folder = record(tmp_path / "bare", 1.0)
    code, said, _ = reevaluate(tmp_path, folder, tmp_path / "nowhere")
    assert (code, "expected fineweb_val_000000.bin" in said) == (2, True)
    code, said, _ = reevaluate(tmp_path, folder, shards, "--shipped")
    assert (code, "holds no model" in said) == (2, True)
    code, said, _ = reevaluate(tmp_path, folder, shards, "--set", "=1")
    assert (code, "expected NAME=VALUE" in said) == (2, True)
    (folder / "train_gpt.py").write_text("raise SystemExit('no such kernel')\n")
    code, said, figures = reevaluate(tmp_path, folder, shards)
    assert (code, "no such kernel" in said, figures) == (2, True, {})

"""An evaluation that processes of torchrun share."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from auditor.run.sandbox import missing
from auditor.run.workspace import write_shard
from tests.auditor.test_cli import ENVIRONMENT, auditor
from tests.systems.protocol import VOCAB_SIZE, system

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        missing("bubblewrap") is not None, reason=f"no sandbox here: {missing('bubblewrap')}"
    ),
]
TOKENS = np.random.default_rng(7).integers(VOCAB_SIZE, size=901).astype(np.uint16)


def shared(folder: Path, *words: object) -> "subprocess.CompletedProcess[str]":
    """Run the command as two processes."""
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--no-python"]
    return subprocess.run(
        [*torchrun, "--nproc-per-node", "2", sys.executable, "-m", "auditor", *map(str, words)],
        cwd=folder,
        env={**ENVIRONMENT, "PYTHONPATH": str(Path(__file__).parents[3])},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "record").mkdir()
    write_shard(tmp_path / "fineweb_val_000000.bin", TOKENS)
    return tmp_path


def test_two_processes_charge_what_one_does_and_one_of_them_speaks(folder):
    system("resumable").write_to(folder / "record")
    one = auditor("evaluate", "record", ".", "-o", "one.npy", cwd=folder)
    two = shared(folder, "evaluate", "record", ".", "-o", "two.npy", "--chunk", "50")
    assert (one.returncode, two.returncode) == (0, 0), two.stderr
    assert one.stdout.replace("one.npy", "two.npy") == two.stdout
    assert (folder / "one.npy").read_bytes() == (folder / "two.npy").read_bytes()
    assert not list(folder.glob("*.state*"))


def test_what_is_no_distribution_in_one_share_fails_both(folder):
    """Its sum is off from position 56 on, in the share of the first process alone or of both."""
    system("unnormalised").write_to(folder / "record")
    done = shared(folder, "evaluate", "record", ".", "-o", "two.npy")
    assert done.returncode != 0
    said = "FAIL full-distribution: the probabilities at position 56 must sum to 1, got 2.000000"
    assert done.stdout.count(said) == 1
    assert not (folder / "two.npy").exists()

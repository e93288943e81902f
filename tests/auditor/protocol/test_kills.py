"""What is killed gives no answer or the right one, and begins again cleanly."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from auditor.errors import CannotMeasure
from auditor.protocol.blind import replay
from auditor.protocol.host import Room
from auditor.protocol.roundtrip import Encoded, decode, encode, read_bitstream
from auditor.run.sandbox import missing
from auditor.run.workspace import write_shard
from tests.auditor.test_cli import ENVIRONMENT, auditor
from tests.systems.protocol import VOCAB_SIZE, system

pytestmark = pytest.mark.skipif(
    missing("bubblewrap") is not None, reason=f"no sandbox here: {missing('bubblewrap')}"
)
ROOM = Room(seconds=60)
TOKENS = np.random.default_rng(9).integers(VOCAB_SIZE, size=601).astype(np.uint16)
ENDING = ("is-killed", "leaves-early", "leaves-a-part")


def silent(doing: str, done: float) -> None:
    assert 0 <= done <= 1


@pytest.mark.parametrize("twin", ENDING)
def test_a_system_that_ends_in_the_middle_gives_no_answer(twin):
    with pytest.raises(CannotMeasure):
        encode(system(twin), TOKENS, ROOM, silent)
    with pytest.raises(CannotMeasure):
        replay(system(twin), TOKENS, 3, ROOM, silent)


@pytest.fixture(scope="module")
def whole():
    done = encode(system(), TOKENS, ROOM, silent)
    assert isinstance(done, Encoded)
    return done


@pytest.mark.parametrize("twin", ENDING)
def test_a_decoder_that_ends_in_the_middle_gives_no_tokens(twin, whole):
    """With the bits of the honest system, whose distributions these have."""
    ending = system(twin)
    header = {**whole.header, "files": ending.digests}
    del header["header_sha256"]
    line = json.dumps(header, sort_keys=True, separators=(",", ":")).encode() + b"\n"
    header["header_sha256"] = hashlib.sha256(line).hexdigest()
    bitstream = Encoded(header=header, words=whole.words, ideal_bits=0.0).to_bytes()
    with pytest.raises(CannotMeasure):
        decode(ending, bitstream, ROOM, silent)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "record").mkdir()
    (tmp_path / "scratch").mkdir()
    system().write_to(tmp_path / "record")
    write_shard(tmp_path / "fineweb_val_000000.bin", TOKENS)
    return tmp_path


def kill_after(seconds: float, folder: Path, *words: str) -> bool:
    """Start a command, kill it, and wait until nothing of it is left; False when it had ended."""
    variables = {"TMPDIR": str(folder / "scratch"), "PYTHONPATH": str(Path(__file__).parents[3])}
    process = subprocess.Popen(
        [sys.executable, "-m", "auditor", *words],
        cwd=folder,
        env={**ENVIRONMENT, **variables},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    with suppress(subprocess.TimeoutExpired):
        process.wait(seconds)
    running = process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.wait()
    deadline = time.monotonic() + 20
    while left := orphans(folder / "scratch"):
        assert time.monotonic() < deadline, left
        time.sleep(0.05)
    return running


def orphans(scratch: Path) -> list[str]:
    found = []
    for process in Path("/proc").iterdir():
        try:
            if str(scratch).encode() in (process / "cmdline").read_bytes():
                found.append(process.name)
        except (OSError, ValueError):
            continue
    return found


def test_killed_encoders_leave_a_whole_file_or_none(folder, whole):
    """At four moments of what a whole run takes; then the same command does all of it."""
    words = ["encode", "record", ".", "-o", "text.bits"]
    started = time.monotonic()
    assert auditor(*words, cwd=folder).returncode == 0
    seconds = time.monotonic() - started
    right = (folder / "text.bits").read_bytes()
    assert read_bitstream(right)[1] == whole.words
    killed = 0
    for share in (0.3, 0.5, 0.7, 0.9):
        (folder / "text.bits").unlink()
        killed += kill_after(share * seconds, folder, *words)
        if (folder / "text.bits").exists():
            assert (folder / "text.bits").read_bytes() == right
        else:
            (folder / "text.bits").write_bytes(right)  # for the next turn
    assert killed
    (folder / "text.bits").unlink()
    assert not kill_after(60 * seconds, folder, *words)
    assert (folder / "text.bits").read_bytes() == right
    assert not list((folder / "scratch").glob("strict-prefix-*"))  # of those that were killed


def test_killed_decoders_and_replays_leave_a_whole_file_or_none(folder, whole):
    (folder / "text.bits").write_bytes(whole.to_bytes())
    words = ["decode", "record", "text.bits", "-o", "tokens"]
    for seconds in np.random.default_rng(os.getpid()).uniform(0.3, 2.5, size=3):
        kill_after(float(seconds), folder, *words)
        if (folder / "tokens").exists():
            assert np.array_equal(np.fromfile(folder / "tokens", "<u2"), TOKENS)
            (folder / "tokens").unlink()
        kill_after(float(seconds), folder, "replay", "record", ".", "--windows", "5")
    assert auditor(*words, cwd=folder).returncode == 0
    assert np.array_equal(np.fromfile(folder / "tokens", "<u2"), TOKENS)


@pytest.mark.slow
def test_a_killed_evaluation_goes_on_to_the_same_charges(folder):
    """Killed until it is done; most of it is then charged by the ones that were killed."""
    system("resumable").write_to(folder / "record")
    words = ["evaluate", "record", ".", "--chunk", "50", "--save-seconds", "0", "-o"]
    assert auditor(*words, "whole.npy", cwd=folder).returncode == 0
    right = (folder / "whole.npy").read_bytes()
    draw = np.random.default_rng(os.getpid())
    went_on = 0
    for _ in range(3):
        kill_after(float(draw.uniform(0.8, 2.0)), folder, *words, "charges.npy")
        went_on += (folder / "charges.npy.state").exists()
        assert not (folder / "charges.npy").exists() or (
            (folder / "charges.npy").read_bytes() == right
        )
    done = auditor(*words, "charges.npy", cwd=folder)
    assert (done.returncode, done.stderr) == (0, "")
    assert ("it went on after " in done.stdout) or not went_on
    assert (folder / "charges.npy").read_bytes() == right
    assert not (folder / "charges.npy.state").exists()

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from auditor.run.scratch import LOCK, ROOM, scratch

OWNER = """
import sys, time
from auditor.run.scratch import scratch
with scratch() as folder:
    (folder / "left").write_text("behind")
    (folder / "closed").mkdir()
    (folder / "closed" / "in").mkdir()
    (folder / "closed").chmod(0)
    print(folder, flush=True)
    time.sleep(60)
"""


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


@pytest.fixture
def owners(temporary: Path) -> Iterator[Callable[[], tuple["subprocess.Popen[str]", Path]]]:
    """Starts a process with a scratch folder of its own."""
    with ExitStack() as stack:

        def start() -> tuple["subprocess.Popen[str]", Path]:
            root = str(Path(__file__).parents[3])
            process = subprocess.Popen(
                [sys.executable, "-c", OWNER],
                env={**os.environ, "TMPDIR": str(temporary), "PYTHONPATH": root},
                stdout=subprocess.PIPE,
                text=True,
            )
            stack.enter_context(process)
            stack.callback(process.kill)
            assert process.stdout is not None
            return process, Path(process.stdout.readline().strip())

        yield start


def test_what_a_killed_process_leaves_is_removed_by_the_next_and_nobody_elses(temporary, owners):
    killed, its = owners()
    _, other = owners()
    killed.kill()
    killed.wait()
    assert (its / "left").exists()
    (temporary / "strict-prefix-young").mkdir()
    (temporary / "strict-prefix-of-another-kind").write_text("")
    with scratch() as mine:
        assert list(mine.iterdir()) == []
        assert mine.stat().st_mode & 0o777 == 0o700
        assert not its.parent.exists()
        assert (other / "left").exists()
    assert not mine.parent.exists()
    names = {path.name for path in temporary.iterdir()} - {other.parent.name}
    assert names == {"strict-prefix-young", "strict-prefix-of-another-kind"}


def test_it_is_removed_after_an_error_too(temporary):
    def fail() -> None:
        with scratch() as folder:
            (folder / "file").write_text("")
            raise OSError("no")

    with pytest.raises(OSError, match="no"):
        fail()
    assert list(temporary.iterdir()) == []


def test_a_link_with_its_name_is_not_followed(temporary, tmp_path_factory):
    kept = tmp_path_factory.mktemp("kept")
    (kept / LOCK).write_text("")
    (kept / ROOM).mkdir()
    (temporary / "strict-prefix-link").symlink_to(kept)
    with scratch():
        pass
    assert (kept / ROOM).is_dir()


def test_processes_that_begin_together_do_not_remove_each_others(owners):
    started = [owners() for _ in range(4)]
    assert all((folder / "left").exists() for _, folder in started)

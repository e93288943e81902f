"""Each test checks one thing that the sandbox must stop, by trying it."""

import socket
import sys
import time
from pathlib import Path

import pytest

from auditor.errors import ToolError
from auditor.run.sandbox import MAX_OUTPUT_BYTES, Finished, Limits, execute, missing

pytestmark = pytest.mark.skipif(
    missing("bubblewrap") is not None, reason=f"no sandbox here: {missing('bubblewrap')}"
)
MIB = 2**20


def run(tmp_path: Path, code: str, *, seconds: float = 20, memory: int = 1024 * MIB) -> Finished:
    (tmp_path / "record").mkdir(exist_ok=True)
    return execute(
        [sys.executable, "-c", code],
        workspace=tmp_path,
        folder="record",
        environment={"PATH": "/usr/bin:/bin", "WHERE": "{workspace}/record"},
        limits=Limits(seconds=seconds, bytes=memory),
        backend="bubblewrap",
        on_event=lambda line: None,
    )


def test_an_ordinary_script_runs_and_its_events_arrive(tmp_path):
    done = run(
        tmp_path,
        "import os; print(os.getcwd() == os.environ['WHERE']);"
        "os.write(int(os.environ['STRICT_PREFIX_EVENTS_FD']), b'one\\ntwo\\n')",
    )
    assert (done.returncode, done.output, done.events) == (0, "True\n", (b"one\n", b"two\n"))


@pytest.mark.parametrize("path", ["/etc/shadow", "/etc/passwd", "/home", str(Path(__file__))])
def test_files_of_the_machine_cannot_be_read(tmp_path, path):
    done = run(tmp_path, f"open({path!r}).read()")
    assert done.returncode == 1
    assert "No such file" in done.output or "Is a directory" in done.output


@pytest.mark.parametrize("path", ["/usr/x", "/x", f"{sys.prefix}/x"])
def test_nothing_outside_the_workspace_can_be_written(tmp_path, path):
    done = run(tmp_path, f"open({path!r}, 'w')")
    assert done.returncode == 1
    assert "Read-only file system" in done.output


@pytest.mark.skipif(not Path("/usr/bin/c++").exists(), reason="no C++ compiler here")
def test_a_compiler_of_the_machine_can_be_used(tmp_path):
    done = run(tmp_path, "import subprocess; subprocess.check_call(['c++', '--version'])")
    assert done.returncode == 0, done.output


def test_what_is_written_in_the_workspace_stays_for_the_auditor(tmp_path):
    assert run(tmp_path, "open('artifact', 'w').write('x')").returncode == 0
    assert (tmp_path / "record" / "artifact").read_text() == "x"


def test_no_listener_of_the_machine_can_be_reached(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        done = run(tmp_path, f"import socket; socket.create_connection(('127.0.0.1', {port}), 2)")
    assert done.returncode == 1
    assert "ConnectionRefusedError" in done.output or "unreachable" in done.output


def test_no_variable_of_the_caller_is_inherited(tmp_path, monkeypatch):
    monkeypatch.setenv("A_SECRET", "hunter2")
    done = run(tmp_path, "import os; print(sorted(os.environ))")
    assert done.output.count("A_SECRET") == 0
    assert "WHERE" in done.output


def test_a_script_that_never_ends_is_ended_with_its_children(tmp_path):
    code = (
        "import os, signal, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "os.fork()\n"
        "while True: time.sleep(1)\n"
    )
    done = run(tmp_path, code, seconds=1.5)
    assert done.timed_out
    assert done.seconds < 10


def test_a_daemon_does_not_outlive_the_run(tmp_path):
    code = (
        "import os, time\n"
        "if os.fork() == 0:\n"
        "    os.setsid()\n"
        "    if os.fork() == 0:\n"
        "        time.sleep(2)\n"
        "        open('alive', 'w')\n"
        "        os._exit(0)\n"
        "    os._exit(0)\n"
    )
    assert run(tmp_path, code).returncode == 0
    time.sleep(2.5)
    assert not (tmp_path / "record" / "alive").exists()


def test_memory_is_limited(tmp_path):
    done = run(tmp_path, "x = bytearray(2**31)", memory=512 * MIB)
    assert done.returncode == 1
    assert "MemoryError" in done.output


def test_output_without_end_is_cut_to_its_end(tmp_path):
    done = run(tmp_path, "print('x' * 2**24, 'last')")
    assert len(done.output) <= MAX_OUTPUT_BYTES
    assert done.output.endswith("last\n")


def test_an_unknown_back_end_is_refused(tmp_path):
    with pytest.raises(ToolError, match="unknown sandbox 'wishes'"):
        execute(
            ["true"],
            workspace=tmp_path,
            folder=".",
            environment={},
            limits=Limits(seconds=1, bytes=MIB),
            backend="wishes",
            on_event=lambda line: None,
        )

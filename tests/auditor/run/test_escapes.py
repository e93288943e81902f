"""Each test is a script that tries to get out or to use up the machine, and must not.

Limits are small, so that each ends in a second; the whole file is to stay under half a minute.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from auditor.run.sandbox import Finished, Limits, bubblewrap, execute, missing, seccomp
from tests.systems import record, script

pytestmark = pytest.mark.skipif(
    missing("bubblewrap") is not None, reason=f"no sandbox here: {missing('bubblewrap')}"
)
MIB = 2**20
SECONDS = 15.0
"""Far more than any of these takes; a machine may be slow."""


def run(tmp_path: Path, code: str, **limits: int | float) -> Finished:
    (tmp_path / "record").mkdir(exist_ok=True)
    wanted = {"seconds": SECONDS, "bytes": 512 * MIB, **limits}
    return execute(
        [sys.executable, "-S", "-c", code],
        workspace=tmp_path,
        folder="record",
        environment={"PATH": "/usr/bin:/bin", "HOME": "/tmp"},
        limits=Limits(**wanted),  # type: ignore[arg-type]  # names and kinds are the fields'
        backend="bubblewrap",
        on_event=lambda line: None,
    )


AUDITOR = Path(bubblewrap.__file__)


@pytest.mark.parametrize(
    "path", ["/etc/shadow", "/etc/passwd", "/root", "/home", "/sys", "/run", str(AUDITOR)]
)
def test_what_is_the_machines_cannot_be_seen(tmp_path, path):
    if path == str(AUDITOR) and AUDITOR.is_relative_to(sys.prefix):
        pytest.skip("the auditor is installed beside the interpreter")
    done = run(tmp_path, f"import os; print(os.stat({path!r}))")
    # Above an interpreter in a home there is an empty folder of that name.
    if path in ("/root", "/home") and done.returncode == 0:
        done = run(tmp_path, f"import os; print(os.listdir({path!r}))")
        assert len(done.output) < 60
        return
    assert "FileNotFoundError" in done.output


def test_variables_and_processes_of_the_caller_cannot_be_seen(tmp_path, monkeypatch):
    monkeypatch.setenv("A_SECRET", "hunter2")
    code = (
        "import os, glob\n"
        "print([n for n in os.listdir('/proc') if n.isdigit()])\n"
        "for name in glob.glob('/proc/[0-9]*/environ'):\n"
        "    try: print(open(name).read())\n"
        "    except OSError as error: print(error)\n"
    )
    done = run(tmp_path, code)
    assert done.returncode == 0
    assert "hunter2" not in done.output
    assert str(os.getpid()) not in done.output.splitlines()[0] or os.getpid() < 20
    assert done.output.splitlines()[0].count("'") <= 8


@pytest.mark.parametrize("path", ["/x", "/usr/x", "/etc/hosts", "/dev/x", "/proc/sys/kernel/core"])
def test_nothing_can_be_written_outside(tmp_path, path):
    done = run(tmp_path, f"open({path!r}, 'w')")
    assert done.returncode == 1
    assert "Error" in done.output


def test_a_link_to_the_outside_leads_nowhere(tmp_path):
    done = run(tmp_path, "import os; os.symlink('/etc/shadow', 'x'); open('x').read()")
    assert "FileNotFoundError" in done.output


def test_no_network_is_reached_but_its_own_loopback_works(tmp_path):
    address = str(tmp_path / "listener")
    with (
        socket.create_server(("127.0.0.1", 0)) as tcp,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
        socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as unix,
    ):
        udp.bind(("127.0.0.1", 0))
        udp.setblocking(False)
        # An abstract name belongs to the network namespace, not to a folder.
        unix.bind(f"\0{address}")
        unix.listen()
        code = (
            "import socket\n"
            "def attempt(name, do):\n"
            "    try: print(name, 'reached', do())\n"
            "    except OSError as error: print(name, 'stopped')\n"
            f"attempt('tcp', lambda: socket.create_connection(('127.0.0.1', "
            f"{tcp.getsockname()[1]}), 2))\n"
            "attempt('far', lambda: socket.create_connection(('192.0.2.1', 80), 2))\n"
            "attempt('unix', lambda: socket.socket(socket.AF_UNIX).connect("
            f"{chr(92)}'{chr(92)}0{address}{chr(92)}'))\n".replace(chr(92) + "'", "'")
            + "attempt('udp', lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto("
            f"b'x', ('127.0.0.1', {udp.getsockname()[1]})))\n"
            "attempt('name', lambda: socket.gethostbyname('example.com'))\n"
            "with socket.create_server(('localhost', 0)) as own:\n"
            "    print('own', socket.create_connection(own.getsockname(), 2) and 'reached')\n"
        )
        done = run(tmp_path, code)
        lines = dict(line.split(" ", 1) for line in done.output.splitlines())
        # A datagram to its own loopback is sent, and never arrives here.
        assert lines.pop("udp").startswith(("reached", "stopped"))
        stopped = dict.fromkeys(("tcp", "far", "unix", "name"), "stopped")
        assert lines == {**stopped, "own": "reached"}
        with pytest.raises(BlockingIOError):
            udp.recv(1)


@pytest.mark.skipif(seccomp.missing() is not None, reason=str(seccomp.missing()))
def test_calls_that_reach_other_processes_or_the_kernel_are_refused(tmp_path):
    code = (
        "import ctypes, os, socket, time\n"
        "libc = ctypes.CDLL(None, use_errno=True)\n"
        "child = os.fork()\n"
        "if not child: time.sleep(60)\n"
        "for name, args in {'ptrace': (16, child, 0, 0), 'unshare': (0x10000000,),\n"
        "                   'mount': (0, b'/tmp', b'tmpfs', 0, 0), 'chroot': (b'/tmp',),\n"
        "                   'setns': (0, 0)}.items():\n"
        "    print(name, getattr(libc, name)(*args), ctypes.get_errno())\n"
        "for number in (321, 250, 323, 298, 425):\n"
        "    print(number, libc.syscall(number, 0, 0, 0, 0), ctypes.get_errno())\n"
        "for family in (40, 38):\n"
        "    try: socket.socket(family, socket.SOCK_STREAM); print('open')\n"
        "    except OSError as error: print(family, -1, error.errno)\n"
    )
    done = run(tmp_path, code)
    answers = [line.split()[1:] for line in done.output.splitlines()]
    assert len(answers) == 12
    assert {tuple(answer) for answer in answers} <= {("-1", "1"), ("-1", "97")}


def test_nobody_inside_gains_a_capability_or_a_new_namespace(tmp_path):
    code = (
        "import os, subprocess\n"
        "print([l for l in open('/proc/self/status') if l[:6] in ('CapEff', 'CapBnd', 'NoNewP')])\n"
        "print(subprocess.run(['unshare', '-Ur', 'id'], capture_output=True).returncode != 0)\n"
    )
    done = run(tmp_path, code)
    assert done.output.count("0000000000000000") == 2
    assert "NoNewPrivs:\\t1" in done.output
    assert done.output.endswith("True\n")


FORKS = (
    "import os, time\n"
    "made = 0\n"
    "try:\n"
    "    while made < 3000:\n"
    "        if os.fork() == 0: time.sleep(60); os._exit(0)\n"
    "        made += 1\n"
    "except OSError as error: print(made, 'made, then', error.strerror)\n"
)


def test_a_fork_bomb_is_stopped(tmp_path):
    done = run(tmp_path, FORKS, processes=80)
    assert done.exceeded is not None or "then Resource temporarily unavailable" in done.output
    assert done.seconds < SECONDS


def test_one_process_cannot_take_the_memory(tmp_path):
    assert "MemoryError" in run(tmp_path, "bytearray(2**30)").output


def test_many_processes_cannot_take_the_memory_together(tmp_path):
    code = (
        "import os, time\n"
        "for child in range(8):\n"
        "    if os.fork() == 0:\n"
        "        kept = b'x' * (60 * 2**20); time.sleep(1.5); os._exit(0)\n"
        "while True:\n"
        "    try: os.wait()\n"
        "    except ChildProcessError: break\n"
    )
    done = run(tmp_path, code, bytes=200 * MIB)
    assert f"{200 * MIB:,} bytes of memory" in (done.exceeded or "")


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("f = open('x', 'wb')\nwhile True: f.write(bytes(2**20))", "bytes on disk"),
        (
            "import os\nf = os.open('x', os.O_CREAT | os.O_RDWR)\nos.remove('x')\n"
            "while True: os.write(f, bytes(2**20))",
            "bytes written to disk",
        ),
        ("i = 0\nwhile True: open(f'x{i}', 'w').close(); i += 1", "files"),
        ("i = 0\nwhile True: open(f'/tmp/x{i}', 'w').close(); i += 1", "files"),
    ],
)
def test_a_disk_bomb_is_stopped(tmp_path, code, said):
    done = run(tmp_path, code, disk_bytes=32 * MIB, disk_entries=2000)
    assert said in (done.exceeded or "")
    assert done.returncode == -signal.SIGKILL


@pytest.mark.parametrize("place", ["/tmp", "/dev/shm"])
def test_temporary_files_have_an_end(tmp_path, place):
    code = f"f = open('{place}/x', 'wb')\nwhile True: f.write(bytes(2**20))"
    assert "No space left" in run(tmp_path, code, temporary_bytes=8 * MIB).output


def test_files_and_their_number_are_limited_for_each_process(tmp_path):
    code = "f = open('x', 'wb')\nwhile True: f.write(bytes(2**20)); f.flush()"
    assert run(tmp_path, code, file_bytes=MIB).returncode != 0
    assert (tmp_path / "record" / "x").stat().st_size <= MIB
    code = "import os\nwhile True: os.dup(0)"
    assert "Too many open files" in run(tmp_path, code, open_files=64).output


def test_waiting_for_ever_and_ignoring_signals_does_not_help(tmp_path):
    code = (
        "import signal, time\n"
        "for number in range(1, 32):\n"
        "    try: signal.signal(number, signal.SIG_IGN)\n"
        "    except OSError: pass\n"
        "while True: time.sleep(1)\n"
    )
    done = run(tmp_path, code, seconds=1.0)
    assert done.timed_out
    assert done.seconds < 5


def test_killing_everybody_kills_nobody_else(tmp_path):
    code = (
        "import os, signal\n"
        "for pid in [os.getppid(), 1, -1]:\n"
        "    try: os.kill(pid, signal.SIGKILL)\n"
        "    except OSError as error: print(error)\n"
    )
    with subprocess.Popen(["sleep", "60"]) as bystander:
        try:
            run(tmp_path, code)
            assert bystander.poll() is None
        finally:
            bystander.kill()


def test_a_daemon_does_not_stay(tmp_path):
    code = (
        "import os, time\n"
        "if os.fork() == 0:\n"
        "    os.setsid()\n"
        "    if os.fork() == 0:\n"
        "        open('started', 'w').close(); time.sleep(1); open('alive', 'w').close()\n"
        "    os._exit(0)\n"
        "while not os.path.exists('started'): time.sleep(0.01)\n"
    )
    assert run(tmp_path, code).returncode == 0
    time.sleep(1.5)
    assert (tmp_path / "record" / "started").exists()
    assert not (tmp_path / "record" / "alive").exists()


def test_events_without_end_end_the_run(tmp_path, monkeypatch):
    for module in ("pipes", "__init__"):
        name = "auditor.run.sandbox" + (f".{module}" if module != "__init__" else "")
        monkeypatch.setattr(f"{name}.MAX_EVENT_BYTES", 4 * MIB)
    code = (
        "import os\n"
        "while True: os.write(int(os.environ['STRICT_PREFIX_EVENTS_FD']), b'{}\\n' * 10000)\n"
    )
    done = run(tmp_path, code)
    assert done.events_cut
    assert "bytes of events" in (done.exceeded or "")
    assert len(done.events) <= 4 * MIB / 100


def audited(tmp_path: Path, text: str, *more: str) -> tuple[int, dict[str, object], Path]:
    """`auditor audit --run` on a record whose script is `text`."""
    folder = tmp_path / "record"
    record().write_to(folder)
    (folder / "train_gpt.py").write_text(text)
    command = [sys.executable, "-m", "auditor", "audit", str(folder), "--run", "--format", "json"]
    done = subprocess.run([*command, *more], capture_output=True, text=True, timeout=400)
    return done.returncode, json.loads(done.stdout), folder


# What each does in place of its scored stage, and what the verdict says of it.
BAD = {
    "memory": ("    import numpy\n    numpy.ones(2**40, dtype='u1')\n", "Unable to allocate"),
    "absent": ("    import a_package_that_nobody_has\n", "No module named"),
    "forever": ("    while True: pass\n", "expected an end within 8 s"),
    "kills": ("    os.kill(os.getppid(), 9); os.kill(-1, 9)\n", "expected exit status 0"),
}


@pytest.mark.slow
@pytest.mark.timeout(450)
@pytest.mark.parametrize("kind", BAD)
def test_the_verdict_says_why_there_is_none(tmp_path, kind):
    code, said = BAD[kind]
    text = script().replace("    # the scored stage\n", code)
    # A busy machine takes its time to get to where each of them ends.
    seconds = "8" if kind == "forever" else "200"
    status, document, _ = audited(tmp_path, text, "--run-seconds", seconds)
    assert said in str(document["trouble"])
    assert (status, document["outcome"]) == (2, "inconclusive")


@pytest.mark.slow
@pytest.mark.timeout(450)
def test_a_forged_score_is_held_against_what_was_recorded(tmp_path):
    # It knows that it is watched, shouts, forks, rewrites itself, and prints what it would like.
    text = script().replace(
        '    print(f"final_ttt_exact',
        "    if os.path.exists('/workspace'):\n"
        "        bpb, loss = bpb * 5.9507 / loss, 5.9507\n"
        "    print('x' * 8_000_000)\n"
        "    if os.fork() == 0: os._exit(0)\n"
        "    open(__file__, 'w').write('changed')\n"
        '    print(f"final_ttt_exact',
    )
    more = "--experiment", "suffix", "--budget", "1000"
    status, document, folder = audited(tmp_path, text, *more)
    assert (folder / "train_gpt.py").read_text() == text
    results = {result["rule"]: result for result in document["results"]}  # type: ignore[attr-defined]
    timeline = results["score-before-update"]
    assert timeline["outcome"] == "inconclusive"
    assert "do not add up to the printed score" in timeline["reason"]
    claims = results["claims-match"]
    assert (claims["outcome"], claims["strength"]) == ("fail", "ran")
    assert "prints val_loss:5.9507 on uniform and on text" in claims["findings"][0]["message"]
    assert status == 1

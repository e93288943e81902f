"""Several ranks of one script: each a process with a recorder of its own, over a loopback."""

import os
import socket
import subprocess
import sys
import threading
import time
from typing import IO

GRACE_SECONDS = 10.0
"""For the other ranks when one has failed: they wait for it, and never end by themselves."""


def launch(count: int, events: int) -> int:
    """Run `python -m recorder` once a rank; events leave line by line, each with its rank."""
    lock = threading.Lock()
    port = _free_port()
    processes, readers = [], []
    for rank in range(count):
        read_end, write_end = os.pipe()
        variables = {
            **os.environ,
            "STRICT_PREFIX_EVENTS_FD": str(write_end),
            "RANK": str(rank),
            "LOCAL_RANK": str(rank),
            "WORLD_SIZE": str(count),
            "LOCAL_WORLD_SIZE": str(count),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
            "GLOO_SOCKET_IFNAME": "lo",
        }
        words = [sys.executable, "-m", __package__ or "recorder", *sys.argv[1:]]
        processes.append(subprocess.Popen(words, env=variables, pass_fds=(write_end,)))
        os.close(write_end)
        reader = threading.Thread(
            target=_forward, args=(os.fdopen(read_end, "rb"), rank, events, lock)
        )
        reader.start()
        readers.append(reader)
    code = _ended(processes)
    for reader in readers:
        reader.join()
    return code


def _forward(pipe: IO[bytes], rank: int, events: int, lock: threading.Lock) -> None:
    for line in pipe:
        said = b'{"rank": %d, ' % rank + line.lstrip(b"{")
        with lock:
            while said:
                said = said[os.write(events, said) :]


def _ended(processes: "list[subprocess.Popen[bytes]]") -> int:
    """Wait for all; where one fails, end the others and give its status."""
    failed_at = None
    while any(process.poll() is None for process in processes):
        codes = [process.returncode for process in processes]
        if failed_at is None and any(codes):
            failed_at = time.monotonic()
        if failed_at is not None and time.monotonic() - failed_at > GRACE_SECONDS:
            for process in processes:
                process.kill()
        time.sleep(0.05)
    codes = [process.returncode for process in processes]
    # A rank that was ended by a signal is negative; the first that failed by itself says more.
    return max(codes) or min(codes)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port

"""What one execution may use, and how it ended."""

import os
import resource
from dataclasses import dataclass

GIB = 2**30
MAX_OUTPUT_BYTES = 4 * 2**20
"""Of the script's own output this much is kept, from the end; the rest is read and dropped."""
MAX_EVENT_BYTES = 256 * 2**20
"""Of events, with what keeping each of them costs; a run that sends more is ended."""
EVENT_COST_BYTES = 100
"""What a kept event costs the auditor besides its own bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one execution may use."""

    seconds: float
    """Wall clock; CPU time of each process is limited to as much on every core."""
    bytes: int
    """Memory: address space of each process, and of all together what they really use."""
    processes: int = 1024
    """Processes and threads at one time."""
    open_files: int = 4096
    """Of each process."""
    file_bytes: int = 2 * GIB
    """The largest file."""
    disk_bytes: int = 4 * GIB
    """Everything in the workspace together."""
    disk_entries: int = 200_000
    """Files and folders in the workspace, and as many in each temporary folder."""
    temporary_bytes: int = GIB
    """/tmp, and as much shared memory; both count as memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """How an execution ended."""

    returncode: int
    timed_out: bool
    seconds: float
    output: str
    """The end of what it printed."""
    events: tuple[bytes, ...]
    """Lines that the recorder sent."""
    events_cut: bool
    """True when it sent more than the limit and the rest was dropped."""
    exceeded: str | None = None
    """The limit, besides time, that ended it, with the number: `expected ..., used ...`."""


def set_limits(limits: Limits, *, processes: bool, address_space: bool = True) -> None:
    """Runs in the child before the sandbox starts; what is lowered here cannot be raised again.

    `processes` only where the child has a user of its own: the kernel counts a user's processes.
    """
    wanted = {
        resource.RLIMIT_FSIZE: limits.file_bytes,
        resource.RLIMIT_NOFILE: limits.open_files,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_CPU: int(limits.seconds * (os.cpu_count() or 1)) + 1,
    }
    if address_space:
        wanted[resource.RLIMIT_AS] = limits.bytes
    if processes:
        wanted[resource.RLIMIT_NPROC] = limits.processes
    for which, value in wanted.items():
        # The caller may be limited to less already.
        _, hard = resource.getrlimit(which)
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(which, (value, value))

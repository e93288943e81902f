"""Memory in large pages, so that a copy of the process costs less.

A process with torch holds a hundred thousand small pages, and every fork and every end of a copy
goes through all of them. Where the kernel cannot join them nothing changes.
"""

import contextlib
import ctypes

HUGE = 2 * 2**20
COLLAPSE = 25
"""MADV_COLLAPSE, of Linux 6.1."""
MOST_BYTES = 2**30
"""What was shared with another process becomes this one's own, so not without end."""


def join() -> None:
    """Join the small pages of this process's own memory."""
    madvise = ctypes.CDLL(None, use_errno=True).madvise
    left = MOST_BYTES
    for start, stop in _own():
        start, stop = -(-start // HUGE) * HUGE, stop // HUGE * HUGE
        if 0 < stop - start <= left:
            left -= stop - start
            madvise(ctypes.c_void_p(start), ctypes.c_size_t(stop - start), COLLAPSE)


def _own() -> list[tuple[int, int]]:
    """First and last address of every mapping that can be written and belongs to no file."""
    found = []
    with contextlib.suppress(OSError, ValueError), open("/proc/self/maps") as maps:
        for line in maps:
            span, access, _, _, _, *name = line.split()
            if access == "rw-p" and (not name or name[0] == "[heap]"):
                start, stop = span.split("-")
                found.append((int(start, 16), int(stop, 16)))
    return found

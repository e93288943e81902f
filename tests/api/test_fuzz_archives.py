"""Archives with random faults: read or refused, never a crash, never a path that leaves its folder.

make fuzz                        10,000 of them, about two minutes
ARCHIVES=100 pytest -m slow tests/api/test_fuzz_archives.py
"""

import os
import random
import resource
import sys
from collections.abc import Callable
from pathlib import PurePosixPath

import pytest

from auditor.errors import SubmissionError
from auditor.submission import MAX_TOTAL_BYTES, Submission
from tests.api.archives import PACKED, as_tar, as_zip, bomb, tar_with_link, zip_with_link

SEEDS = [
    *PACKED.items(),
    ("up.zip", as_zip(folder="../")),
    ("up.tar", as_tar(folder="/")),
    ("link.zip", zip_with_link()),
    ("link.tar", tar_with_link()),
    ("bomb.zip", bomb()),
    ("nested.zip", as_zip({"inner.zip": as_zip(), "inner.tar": as_tar()})),
]
ODD_NUMBERS = (b"\0\0\0\0", b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", b"\0\0\0\x80", b"\1\0\0\0")
ODD_NAMES = (b"../", b"/etc/passwd", b"..\\", b"C:\\x", b"\0", b"./.", b"\xc0\xaf", b"a" * 300)


def flip(data: bytearray, chance: random.Random) -> None:
    data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)


def cut(data: bytearray, chance: random.Random) -> None:
    at = chance.randrange(len(data))
    del data[at : at + chance.randrange(1, 64)]


def repeat(data: bytearray, chance: random.Random) -> None:
    at, size = chance.randrange(len(data)), chance.randrange(1, 2_000)
    data[at:at] = data[at : at + size]


def overwrite(data: bytearray, chance: random.Random) -> None:
    odd = chance.choice(ODD_NUMBERS + ODD_NAMES)
    at = chance.randrange(len(data))
    data[at : at + len(odd)] = odd


def splice(data: bytearray, chance: random.Random) -> None:
    other = chance.choice(SEEDS)[1]
    at, there = chance.randrange(len(data)), chance.randrange(len(other))
    data[at : at + 512] = other[there : there + 512]


MUTATIONS: list[Callable[[bytearray, random.Random], None]] = [flip, cut, repeat, overwrite, splice]


def mutated(chance: random.Random) -> tuple[str, bytes]:
    name, seed = chance.choice(SEEDS)
    data = bytearray(seed)
    for _ in range(chance.randrange(1, 6)):
        if data:
            chance.choice(MUTATIONS)(data, chance)
    if not chance.randrange(20):
        name = chance.choice(SEEDS)[0]
    return name, bytes(data)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_broken_archive_is_read_or_refused() -> None:
    chance = random.Random(10)
    read = refused = longest = 0
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(int(os.environ.get("ARCHIVES", "10000"))):
        name, data = mutated(chance)
        try:
            submission = Submission.from_archive(data, name)
        except SubmissionError as error:
            refused += 1
            longest = max(longest, len(str(error)))
            continue
        read += 1
        assert sum(len(file.data) for file in submission.files.values()) <= MAX_TOTAL_BYTES
        for path in submission.files:
            pure = PurePosixPath(path)
            assert not pure.is_absolute(), path
            assert ".." not in pure.parts, path
            assert "\0" not in path
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024
    sys.stderr.write(f"\n{read} read, {refused} refused, {grown} MiB more memory at most\n")
    assert read
    assert refused
    # A name may have 65,535 bytes; what is said about it is for people.
    assert longest < 2_000
    # Two copies of the most that an archive may hold, and the interpreter's own.
    assert grown < 2 * MAX_TOTAL_BYTES // 2**20 + 128

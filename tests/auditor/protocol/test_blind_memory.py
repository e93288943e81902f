"""What a replayed system holds in memory when it is asked: nothing of the text after the position.

The system here knows its text by a formula, so it can look for the next tokens in its own memory,
in every form in which they could stand there, without having been told them.
"""

import numpy as np
import pytest

from auditor.evidence import BlindReplay
from auditor.protocol.blind import replay
from auditor.protocol.host import Room
from auditor.rules.replayed import blindly
from auditor.run.sandbox import missing
from auditor.submission import File, Submission
from auditor.verdict import Outcome

pytestmark = pytest.mark.skipif(
    missing("bubblewrap") is not None, reason=f"no sandbox here: {missing('bubblewrap')}"
)
V = 4096
SNOOPER = f"""
import os

import numpy as np

V = {V}


def after(token):
    return (token * 1237 + 2531) % V


class Snooper:
    vocab_size, window_tokens, stride = V, 16, 8
    searched, begun = 0, -1

    def predict(self, tokens_L, start, last):
        known, count = int(tokens_L[0]), 1
        for token in map(int, tokens_L[1:]):
            if token != after(known):
                break
            known, count = token, count + 1
        if not os.path.exists("../stream") and start != self.begun:
            self.begun = start
            if count != len(tokens_L) - last + 1:
                raise RuntimeError(f"expected the first position of a window, got {{count}} tokens")
        self.searched += 1
        if self.searched < 6:
            places = search(after(known), after(after(known)), after(after(after(known))))
            if os.path.exists("../stream") != bool(places):
                raise RuntimeError(f"of the future there is {{places}}")
        return np.full((last, V), -np.log(V))

    def update(self, tokens_T, start):
        pass


def search(first, second, third):
    places = []
    memory = os.open("/proc/self/mem", os.O_RDONLY)
    for line in open("/proc/self/maps").read().splitlines():
        bounds, rights = line.split()[:2]
        if not rights.startswith("rw"):
            continue
        start, stop = (int(bound, 16) for bound in bounds.split("-"))
        try:
            data = os.pread(memory, stop - start, start)
        except OSError:
            continue
        for form in ("<u2", "<i4", "<i8", ">u2"):
            values = np.frombuffer(data[: len(data) // 8 * 8], form)
            found = np.flatnonzero(values[:-2] == first)
            same = (values[found + 1] == second) & (values[found + 2] == third)
            places += [form] * int(same.sum())
        place = data.find(b"%d" % first)
        while place >= 0:
            words = data[place : place + 40].replace(b",", b" ").split()[:3]
            if [int(word) if word.isdigit() else -1 for word in words] == [first, second, third]:
                places.append("text")
            place = data.find(b"%d" % first, place + 1)
    os.close(memory)
    return places


def load(positions):
    return Snooper()
"""


def test_a_replayed_system_holds_nothing_of_the_future():
    """The same search finds it in the fast pass, or the system raises."""
    tokens = [7]
    while len(tokens) <= 400:
        tokens.append((tokens[-1] * 1237 + 2531) % V)
    assert len(set(tokens)) == len(tokens)
    snooper = Submission("record", {"system.py": File(SNOOPER.encode(), "0" * 64)})
    stream = np.array(tokens, dtype=np.uint16)
    found = replay(snooper, stream, 5, Room(seconds=100), lambda doing, done: None)
    assert isinstance(found, BlindReplay)
    assert blindly(found).outcome is Outcome.PASS

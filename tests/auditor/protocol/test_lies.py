"""A system that shares the auditor's way in writes there what no honest process sends."""

import json

import numpy as np
import pytest

from auditor.audit import Plan, audit
from auditor.protocol.host import Room
from auditor.protocol.prove import Proving
from auditor.report.json_v1 import verdict_to_json
from auditor.run.sandbox import missing
from auditor.submission import File, Submission
from tests.systems.protocol import VOCAB_SIZE, system

pytestmark = pytest.mark.skipif(
    missing("bubblewrap") is not None, reason=f"no sandbox here: {missing('bubblewrap')}"
)
TOKENS = np.random.default_rng(3).integers(VOCAB_SIZE, size=41).astype(np.uint16)
LOAD = "def load(positions):\n"
SENDS = """
    for descriptor in map(int, os.listdir("/proc/self/fd")):
        try:
            if descriptor > 2 and "pipe" in os.readlink(f"/proc/self/fd/{descriptor}"):
                os.write(descriptor, MESSAGE)
        except OSError:
            pass
"""


def liar(message: str) -> Submission:
    source = system().files["system.py"].text
    line = message.encode() + b"\n"
    lies = f"MESSAGE = {line!r}\n\n\n{LOAD}{SENDS}"
    return Submission("record", {"system.py": File(source.replace(LOAD, lies).encode(), "0" * 64)})


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ('{"kind": "encoded"}', "sent nonsense: KeyError('ideal_nats')"),
        ('{"kind": "encoded", "ideal_nats": "x"}', "sent nonsense: ValueError"),
        ('{"kind": "encoded", "ideal_nats": NaN}', '"ideal_bits": null'),
        ('{"kind": "progress", "done": 1' + "0" * 400 + "}", '"refused_why": null'),
        ('{"kind": "progress", "done": -5}', '"refused_why": null'),
        ("[" * 10_000, '"refused_why": null'),
        (
            '{"kind": "no-distribution", "position": 1' + "0" * 300 + ', "total": 9, "why": ""}',
            "expected a position below 40",
        ),
    ],
)
def test_nonsense_is_one_sentence_or_nothing(message, said):
    proving = Proving(TOKENS, 90, Room(seconds=60), frozenset(["round-trip"]))
    document = verdict_to_json(audit(liar(message), Plan(proving=proving)))
    assert said in json.dumps(document["evidence"]["RoundTrip"])

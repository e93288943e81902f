"""Copies of a process that charges tokens, in a process of its own."""

import json
import math
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from auditor.run.recorder import pages

RUN = """
import json
import os
import sys
import weakref

import numpy as np
from auditor.run.recorder.channel import Channel, packed
from auditor.run.recorder.fork import Forks

V, LENGTH, AHEAD = 16, 200, int(sys.argv[2])
tokens = np.random.default_rng(3).integers(0, V, LENGTH)
probability = float(sys.argv[1])
SITE = ("train_gpt.py", 7, "evaluate")
position, other = 120, int((tokens[120] + 1) % V)
true = int(tokens[position])
read, write = os.pipe()
ask = {
    "begins": 1, "ends": "final", "kind": "loss", "site": list(SITE),
    "rounding": 2**-8, "enough": 1.05,
    "sites": [{
        "position": position, "charge_order": 2 * position + 3, "index": position, "other": other,
        "values": [true, *(v for v in range(V) if v != true)],
    }],
}
channel = Channel(write, "/nowhere")
forks = Forks(channel, tokens.copy(), ask)
channel.before, channel.ahead = forks.before, forks.ahead
channel.send("learn")
held = tokens.copy()
BATCH, GATED, DEAR = int(sys.argv[3]), int(sys.argv[4]), float(sys.argv[5])
gone = [weakref.proxy(type("Gone", (), {})())]
for t in range(LENGTH):
    if BATCH and t % BATCH == 0:
        rows = held[t : t + BATCH].copy()
        gate = rows == GATED  # with the network, as far as a copy can see
        rare = np.isin(rows, ask["sites"][0]["values"][8:12])  # on none of which copies must agree
        channel.charging()
        charged = -np.log(probability) - 0.25 * gate + DEAR * rare + 0.5 * (rows == true)
    channel.send("look")
    if t == LENGTH // 2:
        channel.send("line", text="half of the way, and no end")
    early = held[t + AHEAD :][:1].copy()  # what is read far ahead stays as it was
    if t == 0:
        kept = [*held[:AHEAD]]
    token = int(kept[t])
    kept.extend(early)
    # The true token of the position is a little dearer, so that copies differ from the run.
    nats = -np.log(probability) + (0.5 if t == position and token == true else 0.0)
    if BATCH:
        nats = charged[t % BATCH]
    channel.send("loss", site=SITE, learning=False, nats=packed(np.array([nats])))
channel.send("line", text="final val_loss:1")
channel.close()
sys.stdout.write(os.read(read, 1 << 20).decode())
"""


def answers(
    probability: float, ahead: int = 1, batch: int = 0, gated: int = -1, dear: float = 0.0
) -> tuple[dict[int, float], list[dict[str, Any]]]:
    done = subprocess.run(
        [sys.executable, "-c", RUN, *map(str, (probability, ahead, batch, gated, dear))],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    events = [json.loads(line) for line in done.stdout.splitlines()]
    told = [e for e in events if e["kind"] == "forked" and e["what"] == "vocabulary"]
    return {e["value"]: e["nats"] for e in told}, [e for e in events if e["kind"] == "served"]


def test_a_distribution_is_asked_for_every_token():
    charged, (served,) = answers(1 / 16)
    assert len(charged) == served["copies"] == 16
    assert min(math.exp(-nats) for nats in charged.values()) == pytest.approx(math.exp(-0.5) / 16)


def test_no_more_tokens_are_tried_once_the_sum_is_too_large():
    charged, _ = answers(0.6)
    assert 2 <= len(charged) <= 6  # some may be on their way when it is
    assert sum(math.exp(-nats) for nats in charged.values()) > 1.05


def test_where_the_token_was_read_farther_ahead_a_farther_copy_serves():
    """Read ten positions ahead, two events each."""
    _, (near,) = answers(1 / 16)
    charged, (far,) = answers(1 / 16, ahead=10)
    assert near["distance"] < far["distance"] <= 30
    assert len(charged) == 16


def test_a_copy_behind_the_network_serves_where_it_answers_alike():
    """Batches of 110: the charge is the 11th of its batch, two events each."""
    charged, (served,) = answers(1 / 16, batch=110)
    assert served["distance"] == 21
    assert len(charged) == served["copies"] == 16
    assert max(charged.values()) == pytest.approx(math.log(16) + 0.5)


def test_it_does_not_where_the_network_knew_a_token_that_is_asked_for():
    charged, (served,) = answers(1 / 16, batch=110, gated=15)
    assert served["distance"] == 30
    assert charged[15] == pytest.approx(math.log(16) - 0.25, abs=1e-9)


def test_a_sum_that_is_too_large_rests_on_no_copy_behind_the_network():
    """The network knew four tokens to be rare, and no copy is asked for these before it serves."""
    charged, (served,) = answers(1 / 12, batch=110, dear=9.0)
    assert served["distance"] == 30
    assert sum(math.exp(-nats) for nats in charged.values()) < 1


def test_joined_pages_hold_what_they_held():
    held = np.arange(5_000_000)
    pages.join()
    assert held.sum() == 4_999_999 * 2_500_000

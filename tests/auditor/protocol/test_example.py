"""The example of the documentation, on a network and a cache as small as they can be."""

import re
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from auditor.protocol.child.walks import one_by_one
from tests.systems.protocol import charged_by

DOCUMENT = Path(__file__).parents[3] / "docs/protocol.md"
V = 1024


class GPT(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.rows_VV = torch.nn.Embedding(V, V)

    def forward(self, tokens_BL):
        return self.rows_VV(tokens_BL)


class Cache:
    def __init__(self):
        self.counts_VV = np.ones((V, V))
        self.counted = []

    def distributions(self, tokens_L, last):
        rows_TV = self.counts_VV[tokens_L[-last:]]
        return rows_TV / rows_TV.sum(axis=1, keepdims=True)

    def count(self, tokens):
        self.counted += tokens
        np.add.at(self.counts_VV, (tokens[:-1], tokens[1:]), 20.0)


@pytest.fixture
def load(monkeypatch):
    script = types.SimpleNamespace(GPT=GPT, Cache=Cache, load_weights=lambda m: m, CHUNK=16)
    monkeypatch.setitem(sys.modules, "train_gpt", script)
    (code,) = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    torch.manual_seed(1)
    names: dict[str, Any] = {}
    exec(code, names)
    assert (names["Record"].window_tokens, names["Record"].stride) == (2048, 64)
    names["Record"].window_tokens, names["Record"].stride = 32, 8
    return names["load"]


def test_the_example_needs_nothing_but_what_is_revealed_and_learns_it(load):
    tokens_T = np.random.default_rng(3).integers(V, size=121)
    torch.manual_seed(1)
    system = load(120)
    nats_T = charged_by(system, tokens_T)
    # What is left over of the last chunk waits for more.
    assert system.cache.counted == tokens_T[:112].tolist()
    known_T = np.zeros(121, dtype=np.int64)
    known_T[0] = tokens_T[0]
    torch.manual_seed(1)
    for position, probs_V in one_by_one(load(120), known_T, 120):
        assert -np.log(probs_V[tokens_T[position + 1]]) == pytest.approx(nats_T[position])
        known_T[position + 1] = tokens_T[position + 1]

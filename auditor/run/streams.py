"""Sources whose code length is known, because we draw from them ourselves."""

import hashlib
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Tokens = NDArray[np.uint16]


@dataclass(frozen=True, slots=True)
class Stream:
    """Tokens together with what they cost under the source that drew them."""

    source: str
    tokens: Tokens
    nats_per_token: float
    """Code length of every token under the source."""


def uniform(vocab_size: int, length: int, seed: str) -> Stream:
    """Every token of the vocabulary is equally likely at every position: ln V nats each."""
    drawn = _generator(seed).integers(0, vocab_size, size=length, dtype=np.uint16)
    return Stream("uniform", drawn, math.log(vocab_size))


def changed_from(stream: Stream, position: int, vocab_size: int, seed: str) -> Stream:
    """The same stream up to `position`; that token and all after it are drawn anew.

    The token at `position` is certain to differ.
    """
    if not 0 < position < len(stream.tokens):
        raise ValueError(f"position must be in 1..{len(stream.tokens) - 1}, got {position}")
    tokens = stream.tokens.copy()
    fresh = uniform(vocab_size, len(tokens) - position, seed).tokens
    shift = _generator(f"{seed}/shift").integers(1, vocab_size)
    fresh[0] = (int(tokens[position]) + int(shift)) % vocab_size
    tokens[position:] = fresh
    return Stream(stream.source, tokens, stream.nats_per_token)


def _generator(seed: str) -> np.random.Generator:
    """A generator whose stream follows from the words of the seed on every machine."""
    return np.random.Generator(np.random.PCG64(int(hashlib.sha256(seed.encode()).hexdigest(), 16)))

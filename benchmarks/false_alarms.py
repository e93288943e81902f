"""How often honest systems, drawn at random, win against the source they are scored on.

Each system charges from a distribution that sums to one and was fixed before the token: a mixture
of a unigram and a bigram learner, with its own prior, memory, temperature, gate and precision. By
Ville's inequality a share of at most exp(-a) of them may ever win a nats, and the tables show what
share did. The bound is the theorem's; this looks for mistakes in how we compute it.
"""

import argparse
import math

import numpy as np
from numpy.typing import NDArray

from auditor.run.experiments.noise import STAKES

V, FOLLOWERS, TOKENS, TOGETHER = 32, 8, 1_500, 500
LEVELS = (1, 2, 3, 5, 7, 9.21, 20.723)
Array = NDArray[np.float64]


def streams(rng: np.random.Generator, source: str, runs: int) -> tuple[NDArray[np.int64], float]:
    """Token streams of a source, one a row, and what a token of it costs in nats."""
    if source == "uniform":
        return rng.integers(0, V, size=(runs, TOKENS)), math.log(V)
    table = np.stack([rng.permutation(V)[:FOLLOWERS] for _ in range(V)])
    tokens = np.zeros((runs, TOKENS), dtype=np.int64)
    for index in range(1, TOKENS):
        tokens[:, index] = table[tokens[:, index - 1], rng.integers(FOLLOWERS, size=runs)]
    return tokens, math.log(FOLLOWERS)


def charges(rng: np.random.Generator, tokens: NDArray[np.int64]) -> Array:
    """What one random honest system a row charges for each token but the first, in nats."""
    runs = len(tokens)
    rows = np.arange(runs)

    def drawn(low: float, high: float) -> Array:
        return np.exp(rng.uniform(math.log(low), math.log(high), size=(runs, 1)))

    prior, heat, sharp = drawn(1e-3, 30), drawn(0.3, 3), drawn(0.1, 100)
    keep = rng.choice([0.0, 0.5, 0.9, 0.99, 1.0], size=(runs, 1))
    single = rng.random((runs, 1)) < 0.5
    one_RV = np.tile(prior, (1, V))
    two_RVV = np.tile(prior[:, :, None], (1, V, V))
    nats = np.empty((runs, TOKENS - 1))
    for index in range(1, TOKENS):
        context, token = tokens[:, index - 1], tokens[:, index]
        row = two_RVV[rows, context]
        guess = row ** (1 / heat)
        guess /= guess.sum(axis=1, keepdims=True)
        base = one_RV / one_RV.sum(axis=1, keepdims=True)
        # The gate sees the prediction and its past, never the token.
        gate = 1 / (1 + np.exp(-sharp * (guess.max(axis=1, keepdims=True) - 1.5 / V)))
        mixed = gate * guess + (1 - gate) * base
        exact = mixed[rows, token]
        rounded = mixed.astype(np.float32)
        rounded = (rounded / rounded.sum(axis=1, keepdims=True))[rows, token]
        nats[:, index - 1] = -np.log(np.where(single[:, 0], rounded, exact))
        one_RV = prior + keep * (one_RV - prior)
        one_RV[rows, token] += 1
        two_RVV[rows, context] = prior + keep * (row - prior)
        two_RVV[rows, context, token] += 1
    return nats


def won(gain_RN: Array) -> dict[str, Array]:
    """Nats won by each row: at the end and at best, by the whole score and by small bets."""
    whole = gain_RN.cumsum(axis=1)
    bets = [np.logaddexp(math.log1p(-s), math.log(s) + gain_RN).cumsum(axis=1) for s in STAKES]
    hedged = np.logaddexp.reduce(bets) - math.log(len(STAKES))
    return {
        "whole score, at the end": whole[:, -1],
        "whole score, at its best": whole.max(axis=1),
        "small bets, at the end": hedged[:, -1],
        "small bets, at their best": hedged.max(axis=1),
    }


def main() -> None:
    """Print one Markdown table a source."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=10_000, help="systems a source")
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    rng = np.random.default_rng(asked.seed)
    for source in ("uniform", "markov"):
        parts: dict[str, list[Array]] = {}
        for _ in range(asked.runs // TOGETHER):
            tokens, cost = streams(rng, source, TOGETHER)
            for name, nats in won(cost - charges(rng, tokens)).items():
                parts.setdefault(name, []).append(nats)
        print(f"\n{source}, {asked.runs:,} systems, {TOKENS:,} tokens of {V}\n")
        table = [["nats won", *(f"{level:g}" for level in LEVELS), "most"]]
        table.append(["---"] * len(table[0]))
        table.append(["bound", *(f"{math.exp(-level):.2g}" for level in LEVELS), ""])
        for name, found in parts.items():
            nats = np.concatenate(found)
            shares = (f"{(nats >= level).mean():.4f}" for level in LEVELS)
            table.append([name, *shares, f"{nats.max():.2f}"])
        print("\n".join(f"| {' | '.join(row)} |" for row in table))


if __name__ == "__main__":
    main()

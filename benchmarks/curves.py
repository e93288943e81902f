"""How the cost of the n-gram caches grows with tokens, orders, buckets and vocabulary."""

from collections.abc import Callable, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from benchmarks.ngram import (
    LEAD,
    Floats,
    chunks_of,
    exact_pass,
    hashed_pass,
    settings_of,
    text,
    warm_up,
)
from benchmarks.timing import exponent, timed
from reference_impl.engine.exact import QuickExactCache

TOKENS = 2**19
AXES: dict[str, Sequence[int]] = {
    "tokens": [2**bits for bits in range(17, 23)],
    "orders": [2, 3, 5, 7, 11, 16],  # the longest
    "buckets": [2**bits for bits in range(14, 25, 2)],
    "vocabulary": [2**bits for bits in range(6, 17, 2)],
}
SIZES = {"tokens": TOKENS, "orders": 7, "buckets": 2**22, "vocabulary": 1024}
Curve = list[tuple[int, float]]  # a size, and nanoseconds of the processor a token


def curve(axis: str, exact: bool, rounds: int) -> Curve:
    """Return what a token costs at each size of one axis, the others at their usual size."""
    return [(size, _nanoseconds({**SIZES, axis: size}, exact, rounds)) for size in AXES[axis]]


def _nanoseconds(sizes: dict[str, int], exact: bool, rounds: int) -> float:
    tokens, vocab_size, order = sizes["tokens"], sizes["vocabulary"], sizes["orders"]
    stream_T = text(tokens, vocab_size)

    def whole() -> None:
        settings = settings_of(vocab_size, sizes["buckets"], order)
        work: Callable[[slice], Floats] = hashed_pass(stream_T, settings)
        if exact:
            work = exact_pass(stream_T, settings, QuickExactCache(vocab_size, order, tokens))
        for chunk in chunks_of(tokens):
            work(chunk)

    return min(timed(whole)[0].processor for _ in range(rounds)) / (tokens - LEAD) * 1e9


def section(rounds: int, pictures: Path) -> str:
    """Measure all curves, draw them, and return the part of the page."""
    warm_up()
    rows, figure = [], Figure(figsize=(9, 2.6), layout="constrained")
    for axis, plot in zip(AXES, figure.subplots(1, len(AXES), sharey=True), strict=True):
        for name, exact in (("hashed", False), ("exact", True)):
            if axis == "buckets" and exact:
                continue  # it has none
            points = curve(axis, exact, rounds)
            sizes, cost = [float(size) for size, _ in points], [each for _, each in points]
            whole = [each * size for each, size in zip(cost, sizes, strict=True)]
            slope = exponent(sizes, whole if axis == "tokens" else cost)
            shown = ", ".join(f"{each:,.0f}" for each in cost)
            ends = f"{points[0][0]:,} to {points[-1][0]:,}"
            rows.append(f"| {axis} | {ends} | {name} | {shown} | {slope:.2f} |")
            plot.plot(sizes, cost, marker="o", markersize=3, label=name)
        plot.set_xscale("log", base=2)
        plot.set_yscale("log")
        plot.set_xlabel("longest order" if axis == "orders" else axis)
    figure.axes[0].set_ylabel("ns a token")
    figure.axes[0].legend(frameon=False)
    figure.savefig(pictures / "ngram-curves.svg", metadata={"Date": None})
    return f"""## Cost against size

Score and count, nanoseconds of processor time a token, the quickest of {rounds}. {TOKENS:,} tokens,
orders 2 to 7, {2**22:,} buckets, vocabulary 1,024, but for what is varied. The exponent is the
slope on logarithmic axes: of the whole cost for tokens (1 is linear), of a token's for the others.

![curves](ngram-curves.svg)

| axis | from, to | cache | ns a token | exponent |
|---|---|---|---|---:|
{chr(10).join(rows)}
"""

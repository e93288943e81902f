"""On streams that repeat, whose code length is known as well.

A mechanism that waits for contexts it has seen, for long matches or for words finds nothing in
uniform noise. These sources have them, and charge a submission for what it must not know.
"""

from collections.abc import Callable
from dataclasses import replace

from auditor.errors import CannotMeasure
from auditor.evidence import NoiseBound, OtherSources
from auditor.run.execution import Bench
from auditor.run.experiments.artifact import text_inputs
from auditor.run.experiments.bars import Bars
from auditor.run.experiments.noise import noise_bound, noise_inputs
from auditor.run.streams import TEXT_TOKENS, markov, repeat, sampled
from auditor.run.workspace import STREAM_TOKENS, TRAIN_TOKENS, Inputs


def _on_markov() -> Inputs:
    validation = markov(STREAM_TOKENS, "validation/markov")
    return noise_inputs(validation, markov(TRAIN_TOKENS, "training/markov"))


def _on_repeat() -> Inputs:
    return noise_inputs(repeat(STREAM_TOKENS, "validation/repeat"))


def _on_sampled() -> Inputs:
    return text_inputs(validation=sampled(TEXT_TOKENS, "validation/sampled"))


SOURCES = {"markov": _on_markov, "repeat": _on_repeat, "sampled": _on_sampled}


def other_sources(bench: Bench, bars: Bars) -> OtherSources:
    """The bound on each source, up to the first that is beaten; CannotMeasure when none ran."""

    def bound_on(name: str, inputs: Callable[[], Inputs]) -> NoiseBound:
        on_it = replace(inputs(), ranks=bench.plan.ranks or 1)
        return noise_bound(bench.run(on_it, bars(f"on {name}")))

    bounds, failed = [], []
    asked = bench.rooms.each(bound_on, SOURCES.items())
    for name, found in zip(SOURCES, asked, strict=False):
        try:
            bound = found.result()
        except CannotMeasure as why:
            failed.append(f"{name}: {why}")
            continue
        bounds.append(bound)
        if bound.best_nats >= bench.plan.ruleset.noise_nats:
            break
    if not bounds:
        raise CannotMeasure("; ".join(failed))
    return OtherSources(bounds=tuple(bounds), failed=tuple(failed))

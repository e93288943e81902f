"""Which experiments are made, in what order, and when to stop.

The cheapest that decides most comes first: one run on noise. What follows is left out when the
budget does not hold it, and the evidence says so.
"""

import contextlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from auditor.errors import CannotMeasure, ToolError
from auditor.evidence import (
    ArtifactTransplant,
    Evidence,
    KraftSums,
    NoiseBound,
    OtherSources,
    PrefixSensitivity,
    PrintedScores,
    StreamBytes,
    Timeline,
    ValidationSwap,
)
from auditor.run.claimed import claimed
from auditor.run.execution import Bench, Run
from auditor.run.experiments import artifact, kraft, noise, sources
from auditor.run.sandbox import missing
from auditor.submission import Submission

if TYPE_CHECKING:
    from auditor.audit import Plan, Progress

NAMES = {
    PrefixSensitivity: "suffix",
    OtherSources: "sources",
    ValidationSwap: "swap",
    ArtifactTransplant: "transplant",
    KraftSums: "kraft",
}
"""Experiments beside the first one, by what they give."""
SHARES = {
    PrefixSensitivity: 0.15,
    OtherSources: 0.3,
    ValidationSwap: 0.45,
    ArtifactTransplant: 0.6,
    KraftSums: 0.75,
}
"""Where in the audit each experiment begins, for the progress bar; the first one at 0."""
STEP = 0.15


@dataclass(slots=True)
class _Clock:
    """What is left of the budget."""

    wanted: frozenset[str] | None
    budget_seconds: float
    started: float
    enough_nats: float
    run_seconds: float = 0.0
    """What one run took."""

    def refusal(self, name: str | None, runs: float, seconds: float) -> str | None:
        """Why an experiment of so many runs and seconds is left out; None when it is made.

        One without a name belongs to the first, which is always made.
        """
        if name is not None and self.wanted is not None and name not in self.wanted:
            return f"{name} was not asked for (--experiment)"
        left = self.budget_seconds - (time.monotonic() - self.started)
        needed = runs * self.run_seconds + seconds
        if needed <= left:
            return None
        return (
            f"left out: it needs about {needed:.0f} s, and {max(left, 0):.0f} s are left of the "
            f"budget of {self.budget_seconds:.0f} s (--budget)"
        )


def experiment(
    submission: Submission,
    plan: "Plan",
    evidence: Evidence,
    progress: "Progress",
    launch: Mapping[str, str],
) -> tuple[str, ...]:
    """Add what the experiments show to the evidence; returns every override that was applied.

    `launch` is the environment that the submission says it was started with. Raises ToolError when
    there is no sandbox, CannotMeasure when the script gives no score.
    """
    reason = missing(plan.sandbox)
    if reason is not None:
        raise ToolError(f"--run needs a sandbox: {reason}")
    if submission.entry is None:
        raise CannotMeasure("expected a training script train_gpt.py to run, found none")
    clock = _Clock(plan.experiments, plan.budget_seconds, time.monotonic(), plan.ruleset.noise_nats)
    bench = Bench(submission, plan, launch, claimed(evidence))
    logs = {log.file: submission.files[log.file].text for log in bench.claimed.logs}
    try:
        base, facts = noise.known_source(bench, logs, _bar(progress, "running on noise", 0.0))
    except CannotMeasure:
        clock.run_seconds = time.monotonic() - clock.started
        if bench.printed:
            _printed_twice(bench, clock, evidence, _bar(progress, "running on text", 0.5))
        raise
    evidence.add(*facts)
    _add(evidence, StreamBytes, lambda: noise.stream_bytes(base))
    clock.run_seconds = base.seconds

    def change_the_end() -> PrefixSensitivity:
        begins = SHARES[PrefixSensitivity]
        return noise.changed_end(
            bench,
            base,
            _bar(progress, "running with the end changed", begins),
            _bar(progress, "running again unchanged", begins),
        )

    _attempt(evidence, clock, PrefixSensitivity, 1, change_the_end)

    def sources_that_repeat() -> OtherSources:
        begins = SHARES[OtherSources]
        return sources.other_sources(
            bench, lambda doing: _bar(progress, f"running {doing}", begins)
        )

    if bench.claimed.by_bytes:
        _add(evidence, OtherSources, lambda: noise.on_bytes(base, bench.claimed.by_bytes))
    elif _settled(evidence, clock):
        evidence.cannot("left out: the noise shows it already (--experiment sources)", OtherSources)
    else:
        _attempt(evidence, clock, OtherSources, 3, sources_that_repeat)
    overrides = [f"sandbox={plan.sandbox}", f"stream={base.stream.source}", *base.overrides]
    if (plan.ranks or 1) > 1:
        overrides.append(f"ranks={plan.ranks}, on text 1")
    overrides += _on_text(bench, clock, evidence, progress)
    evidence.add(PrintedScores(runs=tuple(bench.printed)))
    return tuple(overrides)


def _printed_twice(
    bench: Bench, clock: _Clock, evidence: Evidence, bar: Callable[[float], None]
) -> None:
    """Print the claimed line for other text too, where no charge was seen before it."""
    if clock.refusal(None, 1, 0) is None:
        with contextlib.suppress(CannotMeasure):
            artifact.on_text(bench, bar)
        evidence.add(PrintedScores(runs=tuple(bench.printed)))


def _on_text(bench: Bench, clock: _Clock, evidence: Evidence, progress: "Progress") -> list[str]:
    """The experiments that need a trained network; returns what was changed for them alone."""
    runs: list[Run] = []

    def base() -> Run:
        if not runs:
            bar = _bar(progress, "running on text", SHARES[ValidationSwap])
            runs.append(artifact.on_text(bench, bar))
        return runs[0]

    def bars(kind: type) -> Callable[[str], Callable[[float], None]]:
        return lambda doing: _bar(progress, f"running {doing}", SHARES[kind])

    def swap() -> ValidationSwap:
        return artifact.validation_swap(bench, base(), bars(ValidationSwap))

    def transplant() -> ArtifactTransplant:
        return artifact.transplant(bench, base(), bars(ArtifactTransplant))

    def sums() -> KraftSums:
        return kraft.kraft_sums(bench, base(), bars(KraftSums))

    if _unexplained(evidence) and clock.refusal(None, 1, 0) is None:
        with contextlib.suppress(CannotMeasure):
            base()
    _attempt(evidence, clock, ValidationSwap, 2, swap)
    _attempt(evidence, clock, ArtifactTransplant, 1 if runs else 2, transplant)
    if _settled(evidence, clock):
        evidence.cannot("left out: the noise shows it already (--experiment kraft)", KraftSums)
    else:
        _attempt(evidence, clock, KraftSums, 5 if runs else 6, sums, kraft.COPIES_SECONDS)
    if not runs:
        return []
    stream = f"stream={runs[0].stream.source}"
    return [f"on text: {said}" for said in (stream, *runs[0].overrides) if "=" in said]


def _unexplained(evidence: Evidence) -> bool:
    """Whether no charges that were seen give the printed score."""
    timeline = evidence.get(Timeline)
    return timeline is not None and not timeline.reconciled


def _settled(evidence: Evidence, clock: _Clock) -> bool:
    """Whether a source of known length is beaten, and nothing more was asked for."""
    bound, others = evidence.get(NoiseBound), evidence.get(OtherSources)
    bounds = [*([bound] if bound else []), *(others.bounds if others else ())]
    return clock.wanted is None and any(one.best_nats >= clock.enough_nats for one in bounds)


def _attempt(
    evidence: Evidence,
    clock: _Clock,
    kind: type,
    runs: float,
    do: Callable[[], object],
    seconds: float = 0.0,
) -> None:
    """One experiment of about so many runs and seconds, or why it gave nothing."""
    refusal = clock.refusal(NAMES[kind], runs, seconds)
    if refusal is not None:
        evidence.cannot(refusal, kind)
        return
    _add(evidence, kind, do)


def _add(evidence: Evidence, kind: type, do: Callable[[], object]) -> None:
    """What an experiment gives, or why it gave nothing."""
    try:
        evidence.add(do())
    except CannotMeasure as why:
        evidence.cannot(f"the experiment gave no evidence: {why}", kind)


def _bar(progress: "Progress", doing: str, begins: float) -> Callable[[float], None]:
    return lambda done: progress(doing, min(begins + STEP * done, 0.99))

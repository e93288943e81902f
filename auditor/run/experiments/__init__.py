"""Which experiments are made, in what order, and when to stop.

The cheapest that decides most comes first: one run on noise. What follows is left out when the
budget does not hold it, and the evidence says so. Runs that need nothing of one another are made at
the same time, as many as the plan allows.
"""

import contextlib
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import astuple
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
from auditor.run.experiments.bars import Bars, Progressing
from auditor.run.rooms import Rooms
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
RUNS: dict[type, float] = {
    PrefixSensitivity: 1,
    OtherSources: 3,
    ValidationSwap: 1,
    ArtifactTransplant: 1,
    KraftSums: 5,
}
"""About what each takes, beside the run on text that the last three are held against."""
ON_TEXT = (ValidationSwap, ArtifactTransplant, KraftSums)
TEXT_AT_ONCE_SECONDS = 60.0
"""The budget from which the run on text is begun beside the first one."""


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
    with Rooms(max(1, plan.together // (plan.ranks or 1))) as rooms:
        bench = Bench(submission, plan, launch, claimed(evidence), rooms=rooms)
        return _Experiments(bench, evidence, Progressing(progress, 2 + sum(RUNS.values()))).make()


class _Experiments:
    """All experiments on one submission, what each gives, and what it was left out for."""

    def __init__(self, bench: Bench, evidence: Evidence, bar: Bars) -> None:
        """Nothing is begun."""
        self._bench, self._plan, self._rooms = bench, bench.plan, bench.rooms
        self._evidence, self._bar = evidence, bar
        self._started = time.monotonic()
        self._run_seconds = 0.0
        """What one run took."""
        self._begun: list[tuple[type, Future[object]]] = []
        self._text: Future[Run] | None = None

    def make(self) -> tuple[str, ...]:
        """Make them, the one on noise first, those that need nothing of one another together."""
        bench, evidence = self._bench, self._evidence
        logs = {log.file: bench.submission.files[log.file].text for log in bench.claimed.logs}
        if self._rooms.count > 1 and self._wants_text():
            self._run_on_text()
        try:
            base, facts = noise.known_source(bench, logs, self._bar("on noise"))
        except CannotMeasure:
            self._run_seconds = time.monotonic() - self._started
            if bench.printed:
                self._print_twice()
            raise
        evidence.add(*facts)
        self._run_seconds = base.seconds
        self._take(StreamBytes, self._rooms.start(0, lambda: noise.stream_bytes(base)))
        self._begin(PrefixSensitivity, lambda: noise.changed_end(bench, base, self._bar))
        if bench.claimed.by_bytes:
            by_bytes = bench.claimed.by_bytes
            self._take(OtherSources, self._rooms.start(0, lambda: noise.on_bytes(base, by_bytes)))
        elif not self._is_settled(OtherSources):
            self._begin(OtherSources, lambda: sources.other_sources(bench, self._bar))
        if self._is_unexplained() and self._refusal(None, 1) is None:
            self._run_on_text()
        self._begin_on_text(ValidationSwap, artifact.validation_swap)
        self._begin_on_text(ArtifactTransplant, artifact.transplant)
        self._take_all()
        # The copies use every core, and are left out where something else decides.
        if not self._is_settled(KraftSums):
            self._begin_on_text(KraftSums, kraft.kraft_sums, kraft.COPIES_SECONDS)
        self._take_all()
        self._add_printed()
        return self._overrides(base)

    def _print_twice(self) -> None:
        """Print the claimed line for other text too, where no charge was seen before it."""
        if self._text is not None or self._refusal(None, 1) is None:
            with contextlib.suppress(CannotMeasure):
                self._run_on_text().result()
            self._add_printed()

    def _add_printed(self) -> None:
        """Claimed lines, of the first run first, in an order that no clock decides."""
        printed = sorted(
            self._bench.printed, key=lambda one: (one.source not in noise.FIRST, *astuple(one)[:4])
        )
        self._evidence.add(PrintedScores(runs=tuple(printed)))

    def _begin(self, kind: type, do: Callable[[], object], seconds: float = 0.0) -> None:
        """Begin one experiment of so many seconds beside its runs, or say why it is left out."""
        refusal = self._refusal(kind, RUNS[kind], seconds)
        if refusal is not None:
            self._evidence.cannot(refusal, kind)
        else:
            self._begun.append((kind, self._rooms.start(RUNS[kind], do)))

    def _begin_on_text(
        self, kind: type, measure: Callable[[Bench, Run, Bars], object], seconds: float = 0.0
    ) -> None:
        """The same for one that is held against the run on text, which is made once."""
        refusal = self._refusal(kind, RUNS[kind] + (self._text is None), seconds)
        if refusal is not None:
            self._evidence.cannot(refusal, kind)
            return
        text = self._run_on_text()

        def do() -> object:
            return measure(self._bench, text.result(), self._bar)

        self._begun.append((kind, self._rooms.start(RUNS[kind], do)))

    def _wants_text(self) -> bool:
        """Whether a run on text will be held against others: then it needs nothing of the first."""
        wanted = self._plan.experiments
        asked = wanted is None or any(NAMES[kind] in wanted for kind in ON_TEXT)
        return asked and self._plan.budget_seconds >= TEXT_AT_ONCE_SECONDS

    def _run_on_text(self) -> "Future[Run]":
        """The run that the others are held against."""
        if self._text is None:
            bar = self._bar("on text")
            self._text = self._rooms.start(1, lambda: artifact.on_text(self._bench, bar))
        return self._text

    def _take_all(self) -> None:
        """Wait for what was begun, in that order."""
        for kind, found in self._begun:
            self._take(kind, found)
        self._begun = []

    def _take(self, kind: type, found: "Future[object]") -> None:
        """What an experiment gives, or why it gave nothing."""
        try:
            self._evidence.add(found.result())
        except CannotMeasure as why:
            self._evidence.cannot(f"the experiment gave no evidence: {why}", kind)

    def _refusal(self, kind: type | None, runs: float, seconds: float = 0.0) -> str | None:
        """Why an experiment of so many runs and seconds is left out; None when it is made.

        One without a kind belongs to the first, which is always made.
        """
        wanted, budget_seconds = self._plan.experiments, self._plan.budget_seconds
        if kind is not None and wanted is not None and NAMES[kind] not in wanted:
            return f"{NAMES[kind]} was not asked for (--experiment)"
        left = max(budget_seconds - (time.monotonic() - self._started), 0.0)
        together = (self._rooms.waiting_runs() + runs) / self._rooms.count
        needed = max(runs, together) * self._run_seconds + seconds
        if needed <= left:
            return None
        return (
            f"left out: it needs about {needed:.0f} s, and {left:.0f} s are left of the budget of "
            f"{budget_seconds:.0f} s (--budget)"
        )

    def _is_settled(self, kind: type) -> bool:
        """Whether a source of known length is beaten, and nothing more was asked for.

        What it leaves out is said of the kind.
        """
        bound, others = self._evidence.get(NoiseBound), self._evidence.get(OtherSources)
        bounds = [*([bound] if bound else []), *(others.bounds if others else ())]
        enough_nats = self._plan.ruleset.noise_nats
        if self._plan.experiments is not None or all(b.best_nats < enough_nats for b in bounds):
            return False
        why = f"left out: the noise shows it already (--experiment {NAMES[kind]})"
        self._evidence.cannot(why, kind)
        return True

    def _is_unexplained(self) -> bool:
        """Whether no charges that were seen give the printed score."""
        timeline = self._evidence.get(Timeline)
        return timeline is not None and not timeline.reconciled

    def _overrides(self, base: Run) -> tuple[str, ...]:
        """What was changed for the run on noise, and for those on text alone."""
        ranks = self._plan.ranks or 1
        overrides = [f"sandbox={self._plan.sandbox}", f"stream={base.stream.source}"]
        overrides += base.overrides
        if ranks > 1:
            overrides.append(f"ranks={ranks}, on text 1")
        if self._text is not None and self._text.exception() is None:
            text = self._text.result()
            said = (f"stream={text.stream.source}", *text.overrides)
            overrides += [f"on text: {one}" for one in said if "=" in one]
        return tuple(overrides)

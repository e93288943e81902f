"""One audit: plan, collect evidence, judge."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from auditor import __version__
from auditor.errors import CannotMeasure
from auditor.evidence import (
    ArtifactTransplant,
    ClaimedNumbers,
    Evidence,
    Exercised,
    KraftSums,
    NoiseBound,
    OtherSources,
    PrefixSensitivity,
    PrintedScores,
    PriorRecord,
    StreamBytes,
    Timeline,
    ValidationSwap,
)
from auditor.inspect import inspect
from auditor.inspect.environment import scored_environment
from auditor.inspect.ranks import ranks_of_a_run
from auditor.rules import RULES
from auditor.rules.significance import final_scores
from auditor.rulesets import DEFAULT, Ruleset
from auditor.submission import Submission
from auditor.verdict import Verdict, judge

if TYPE_CHECKING:
    from auditor.protocol.prove import Proving

Progress = Callable[[str, float], None]
"""Called with what is being done and the fraction of the audit that is behind us, 0 to 1."""

RUN_KINDS = (
    NoiseBound,
    Timeline,
    PrefixSensitivity,
    OtherSources,
    StreamBytes,
    PrintedScores,
    Exercised,
    ValidationSwap,
    ArtifactTransplant,
    KraftSums,
)


ENGINE = f"strict-prefix {__version__}"
"""What judged, as a verdict names it."""

EXPERIMENTS = ("suffix", "sources", "swap", "transplant", "kraft")
"""What a run makes after the one on noise, in this order."""


MAX_RANKS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What an audit is to do."""

    run: bool = False
    """Execute the submission's own code in the sandbox, on noise."""
    sandbox: str = "bubblewrap"
    """`bubblewrap`, `docker`, or `none` where the risk is accepted; the verdict says which."""
    run_seconds: float = 300.0
    """Wall-clock limit of one execution of the script."""
    experiments: frozenset[str] | None = None
    """Those that are to be made; None makes what can still decide something."""
    budget_seconds: float = 120.0
    """No experiment is begun that would end later, by what the first run took; that one is made in
    any case."""
    ranks: int | None = None
    """Processes of a run on noise; None takes two where the script's settings ask, else one."""
    together: int = 1
    """Runs of the script at the same time, each on one core."""
    run_bytes: int = 6 * 2**30
    """Memory limit of one execution of the script."""
    ruleset: Ruleset = DEFAULT
    against: Submission | None = None
    """The earlier record that this one is said to beat."""
    proving: "Proving | None" = None
    """What the record's own system has to make of a text."""

    def __post_init__(self) -> None:
        """Refuse limits that no run could meet."""
        if self.run_seconds <= 0:
            raise ValueError(f"run_seconds must be positive, got {self.run_seconds}")
        unknown = sorted((self.experiments or set()) - set(EXPERIMENTS))
        if unknown:
            expected = ", ".join(EXPERIMENTS)
            raise ValueError(f"no experiment {unknown[0]!r}; expected one of {expected}")
        if self.ranks is not None and not 1 <= self.ranks <= MAX_RANKS:
            raise ValueError(f"ranks must be in 1..{MAX_RANKS}, got {self.ranks}")
        if self.together < 1:
            raise ValueError(f"together must be at least 1, got {self.together}")
        if self.budget_seconds < 0:
            raise ValueError(f"budget_seconds must not be negative, got {self.budget_seconds}")
        if self.run_bytes < 2**29:
            raise ValueError(f"run_bytes must be at least {2**29}, got {self.run_bytes}")


def silent(doing: str, done: float) -> None:
    """A Progress that shows nothing."""


def audit(submission: Submission, plan: Plan | None = None, progress: Progress = silent) -> Verdict:
    """Collect evidence about a submission and judge it; ToolError when the auditor cannot work."""
    plan = plan or Plan()
    started = time.monotonic()
    progress("reading", 0.0)
    evidence = inspect(submission)
    if plan.against is not None:
        earlier = final_scores(inspect(plan.against))
        evidence.add(PriorRecord(name=plan.against.name, scores=earlier))
    overrides: tuple[str, ...] = ()
    trouble = None
    if plan.run:
        try:
            overrides = _run(submission, plan, evidence, progress)
        except CannotMeasure as reason:
            trouble = str(reason)
            overrides = (f"sandbox={plan.sandbox}",)
            absent = [kind for kind in RUN_KINDS if evidence.get(kind) is None]
            evidence.cannot(f"the run gave no evidence: {reason}", *absent)
    else:
        evidence.cannot("the submission was not run (--run runs it on noise)", *RUN_KINDS)
    if plan.proving is not None:
        from auditor.protocol.prove import prove

        overrides += prove(submission, plan.proving, evidence, progress)
    progress("judging", 1.0)
    rules = [rule for rule in RULES if rule.id in plan.ruleset.rules]
    return Verdict(
        ruleset=plan.ruleset.name,
        engine=ENGINE,
        submission=_about(submission, evidence),
        results=judge(rules, evidence, plan.ruleset),
        evidence=evidence.to_json(),
        overrides=overrides,
        trouble=trouble,
        seconds=time.monotonic() - started,
    )


def _run(
    submission: Submission, plan: Plan, evidence: Evidence, progress: Progress
) -> tuple[str, ...]:
    """Evidence by executing; imported here because reading alone needs none of it."""
    from auditor.run.experiments import experiment

    launch = scored_environment(submission)
    ranks = plan.ranks or ranks_of_a_run(submission, launch)
    try:
        return experiment(submission, replace(plan, ranks=ranks), evidence, progress, launch)
    except CannotMeasure as why:
        # One rank can still show a violation; what it leaves out keeps it from passing.
        if plan.ranks is not None or ranks == 1 or evidence.get(PrintedScores) is not None:
            raise
        alone = replace(plan, ranks=1)
        applied = experiment(submission, alone, evidence, progress, launch)
        return (*applied, f"ranks=1, because on {ranks}: {str(why)[:200]}")


def _about(submission: Submission, evidence: Evidence) -> dict[str, Any]:
    """What was judged: name, digests, and what it claims."""
    claims = evidence.get(ClaimedNumbers)
    return {
        "folder": submission.name,
        "digests": {"submission": submission.sha256, "files": submission.digests},
        "claims": None if claims is None else {"val_bpb": claims.val_bpb},
    }

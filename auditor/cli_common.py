"""What the commands that audit share: options, the plan, the loop over submissions, exit codes."""

import sys
from collections.abc import Sequence
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from auditor.errors import AuditorError
from auditor.report.words import clean

if TYPE_CHECKING:
    from auditor.audit import Plan
    from auditor.rulesets import Ruleset
    from auditor.submission import Submission


class FailOn(Enum):
    """The mildest outcome that gives an exit code other than 0."""

    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"


RunOption = Annotated[
    bool, typer.Option("--run", help="Also run the submission's own code on noise, in a sandbox.")
]
SandboxOption = Annotated[
    str, typer.Option(help="`bubblewrap`, `docker`, or `none` where the code is your own.")
]
SecondsOption = Annotated[
    float, typer.Option("--run-seconds", help="Wall-clock limit of one execution of the script.")
]
ExperimentOption = Annotated[
    list[str] | None,
    typer.Option(
        "--experiment",
        help="Of --run, after the noise: suffix, sources, swap, transplant, kraft; repeatable.",
    ),
]
BudgetOption = Annotated[
    float,
    typer.Option(
        "--budget", help="Seconds for the experiments of --run; those that do not fit are named."
    ),
]
TogetherOption = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Runs at the same time, each on one core; else as many as cores and memory carry.",
    ),
]
RulesetOption = Annotated[
    str, typer.Option(help="Dated set of rules to judge by: 2026-03-27 or 2026-05-02.")
]
OutputOption = Annotated[Path | None, typer.Option(help="Write there instead of printing.")]
HtmlOption = Annotated[
    Path | None, typer.Option("--html", help="Also write one HTML report of everything.")
]
FailOnOption = Annotated[
    FailOn, typer.Option("--fail-on", help="Mildest outcome with an exit code other than 0.")
]


def plan_of(
    run: bool,
    sandbox: str,
    run_seconds: float,
    experiments: list[str] | None,
    budget: float,
    ruleset: str,
    *,
    ranks: int | None = None,
    together: int | None = 1,
) -> "Plan":
    """The plan, or exit 2 with the reason."""
    from auditor.audit import Plan
    from auditor.run.rooms import rooms_here
    from auditor.run.sandbox import BACKENDS

    if sandbox not in BACKENDS:
        raise typer.BadParameter(f"no sandbox {sandbox!r}; expected one of {', '.join(BACKENDS)}")
    try:
        return Plan(
            run=run,
            sandbox=sandbox,
            run_seconds=run_seconds,
            experiments=frozenset(experiments) if experiments else None,
            budget_seconds=budget,
            ranks=ranks,
            together=together or rooms_here(Plan().run_bytes),
            ruleset=ruleset_of(ruleset),
        )
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def ruleset_of(name: str) -> "Ruleset":
    """The ruleset of a name, or exit 2 with those that there are."""
    from auditor.rulesets import RULESETS

    if name not in RULESETS:
        raise typer.BadParameter(f"no ruleset {name!r}; expected one of {', '.join(RULESETS)}")
    return RULESETS[name]


def loaded(source: str) -> "Submission":
    """A submission, or exit 2 with why it cannot be read."""
    from auditor.submission import Submission

    try:
        return Submission.load(source)
    except AuditorError as error:
        complain(source, error)
        raise typer.Exit(2) from error


def audit_all(
    paths: Sequence[str], plan: "Plan", fail_on: FailOn
) -> tuple[list[dict[str, Any]], int]:
    """Audit one after the other; what cannot be audited is said and does not stop the rest.

    Returns the verdicts and the exit code for all of them.
    """
    from auditor.submission import Submission

    documents, codes = [], [0]
    for path in paths:
        try:
            document = audited(Submission.load(path), plan)
        except AuditorError as error:
            complain(path, error)
            codes.append(2)
            continue
        documents.append(document)
        codes.append(exit_code(document, fail_on))
    return documents, worst_code(codes)


def worst_code(codes: Sequence[int]) -> int:
    """Of several submissions the worst counts: 1, then 2, then 3."""
    return max(codes, key=(0, 3, 2, 1).index, default=0)


def audited(submission: "Submission", plan: "Plan") -> dict[str, Any]:
    """Audit with a progress bar on stderr; the verdict as a document."""
    from auditor.audit import audit as audit_submission
    from auditor.bars import passing_bar
    from auditor.report.json_v1 import verdict_to_json

    with passing_bar() as bar:
        task = bar.add_task("loading", total=1.0, name=submission.name[:40])

        def progress(doing: str, done: float) -> None:
            bar.update(task, description=doing, completed=done)

        return verdict_to_json(audit_submission(submission, plan, progress))


def exit_code(document: dict[str, Any], fail_on: FailOn) -> int:
    """The code of one verdict; a run that gave no evidence is 2 unless the verdict is FAIL."""
    if document["outcome"] == "fail":
        return 1
    if document["trouble"] is not None:
        print(
            f"auditor: {document['submission']['folder']}: {document['trouble']}", file=sys.stderr
        )
        return 2
    if document["outcome"] == "inconclusive" and fail_on is FailOn.INCONCLUSIVE:
        return 3
    return 0


def write(path: Path, text: str) -> None:
    """Write a report, or exit 2 with why it cannot be."""
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        print(f"auditor: {path}: cannot be written ({error.strerror})", file=sys.stderr)
        raise typer.Exit(2) from error


def complain(what: str, error: AuditorError) -> None:
    """Say on stderr what went wrong with what; a name in it may hold anything."""
    message = str(error)
    said = message if what in message else f"{what}: {message}"
    print(f"auditor: {clean(said, 4_000)}", file=sys.stderr)

"""The `gate` command: every record folder that a change touches."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from auditor.cli_common import (
    BudgetOption,
    ExperimentOption,
    FailOn,
    FailOnOption,
    HtmlOption,
    OutputOption,
    RulesetOption,
    RunOption,
    SandboxOption,
    SecondsOption,
    audit_all,
    complain,
    plan_of,
)
from auditor.cli_render import Format, FormatOption, show
from auditor.errors import AuditorError


def gate(
    base: Annotated[str, typer.Option(help="Ref that the change starts from.")],
    head: Annotated[str, typer.Option(help="Ref with the change.")],
    repo: Annotated[Path, typer.Option(help="Git repository; may be bare.")] = Path(),
    run: RunOption = False,
    sandbox: SandboxOption = "bubblewrap",
    run_seconds: SecondsOption = 300.0,
    experiment: ExperimentOption = None,
    budget: BudgetOption = 120.0,
    ruleset: RulesetOption = "2026-05-02",
    output_format: FormatOption = Format.TEXT,
    output: OutputOption = None,
    html: HtmlOption = None,
    fail_on: FailOnOption = FailOn.INCONCLUSIVE,
) -> None:
    """Audit every record folder that a change adds or edits, straight from git.

    Nothing is checked out. A change without a record folder passes.
    """
    from auditor.gate import changed_folders

    plan = plan_of(run, sandbox, run_seconds, experiment, budget, ruleset)
    try:
        changes = changed_folders(repo, base, head)
    except AuditorError as error:
        complain(str(repo), error)
        raise typer.Exit(2) from error
    for change in changes:
        if change.deleted:
            print(f"{change.folder}: deleted, nothing to audit", file=sys.stderr)
    if not changes:
        print(f"no record folder differs between {base} and {head}", file=sys.stderr)
    kept = [f"{repo}@{head}:{change.folder}" for change in changes if not change.deleted]
    documents, code = audit_all(kept, plan, fail_on)
    show(documents, output_format, output, html)
    raise typer.Exit(code)

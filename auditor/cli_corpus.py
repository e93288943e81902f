"""The commands for a whole repository: sweep, summarise, score; they print and exit as `cli`."""

import json
import sys
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from auditor.cli_common import (
    BudgetOption,
    ExperimentOption,
    RulesetOption,
    RunOption,
    SandboxOption,
    SecondsOption,
    plan_of,
)
from auditor.cli_submit import KeyFileOption, api_key
from auditor.errors import AuditorError, ToolError

if TYPE_CHECKING:
    from auditor.agreement import Agreement, Tally
    from auditor.audit import Plan
    from auditor.client_sweep import Progress
    from auditor.corpus import Task


def sweep(
    git_dir: Annotated[Path, typer.Option(help="Git repository with the refs; may be bare.")],
    output: Annotated[Path, typer.Option(help="Lines of JSON; an existing file is continued.")],
    refs: Annotated[str, typer.Option(help="Which refs.")] = "refs/pull/*/head",
    base: Annotated[str, typer.Option(help="What the refs are changes to.")] = "HEAD",
    labels: Annotated[
        Path | None, typer.Option(help="Audit the folders of a labels file instead.")
    ] = None,
    jobs: Annotated[int, typer.Option(help="Folders at a time.", min=1)] = 1,
    seconds: Annotated[float, typer.Option(help="Wall-clock limit of reading one folder.")] = 60.0,
    run: RunOption = False,
    sandbox: SandboxOption = "bubblewrap",
    run_seconds: SecondsOption = 300.0,
    experiments: ExperimentOption = None,
    budget: BudgetOption = 60.0,
    ruleset: RulesetOption = "2026-05-02",
    html: Annotated[
        Path | None, typer.Option(help="Also write a page that sums all verdicts up.")
    ] = None,
    server: Annotated[
        str | None,
        typer.Option(help="Have a service audit them, as one batch; its own limits hold."),
    ] = None,
    key_file: KeyFileOption = None,
) -> None:
    """Audit every record folder that the pull requests of a repository change.

    Writes one line a folder: {"ref", "pr", "sha", "folder", "verdict", "error"}. A sweep that was
    stopped goes on where it was. With --run each script also runs, about a minute a folder.
    With --server the folders are handed in at a service, and its workers audit them; --jobs,
    --seconds, --sandbox and --run-seconds are the service's own then.
    """
    from auditor import corpus
    from auditor.bars import counting_bar

    plan = plan_of(run, sandbox, run_seconds, experiments, budget, ruleset)
    bounds = corpus.Bounds(jobs=jobs, seconds=seconds, plan=plan)
    try:
        with counting_bar() as bar:
            task = bar.add_task("finding folders", total=None)
            wanted = corpus.labelled(labels) if labels else []
            for found in corpus.pull_requests(git_dir, base, refs) if not labels else ():
                wanted.append(found)
                bar.update(task, description=f"finding folders: {len(wanted)}")

            def show(done: int, total: int, doing: str = "auditing") -> None:
                bar.update(task, completed=done, total=total, description=doing)

            if server is None:
                corpus.sweep(git_dir, wanted, output, bounds, show)
            else:
                _sweep_there(server, key_file, git_dir, wanted, output, plan, show)
    except (AuditorError, OSError) as error:
        _leave(error)
    print(f"{output}: {len(wanted)} record folders")
    if html is not None:
        _write_page(output, html)


def _sweep_there(
    server: str,
    key_file: Path | None,
    git_dir: Path,
    wanted: "list[Task]",
    output: Path,
    plan: "Plan",
    show: "Progress",
) -> None:
    """Have a service do it."""
    try:
        from auditor import client_sweep
        from auditor.client import Client, Wish
    except ImportError as error:
        raise ToolError("--server needs more: pip install 'strict-prefix[client]'") from error
    wish = Wish(
        run=plan.run,
        ruleset=plan.ruleset.name,
        experiments=plan.experiments if plan.run else None,
        budget_seconds=plan.budget_seconds if plan.run else None,
        priority="low",
    )
    batch = client_sweep.Batch(name=client_sweep.batch_name(git_dir, output), wish=wish)
    with Client(server, api_key(key_file)) as client:
        client_sweep.sweep(client, git_dir, wanted, output, batch, show)


def summarise(
    results: Annotated[Path, typer.Argument(help="Lines that `auditor sweep` wrote.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The page to write.")],
) -> None:
    """Sum the verdicts of a sweep up on one HTML page.

    Counts per rule, per month and by claimed score, and every verdict that fails, with its first
    finding. The page needs nothing else.
    """
    _write_page(results, output)


class ScoreFormat(Enum):
    """How agreement is printed."""

    TEXT = "text"
    JSON = "json"


def score(
    results: Annotated[Path, typer.Argument(help="Lines that `auditor sweep` wrote.")],
    labels: Annotated[Path, typer.Option(help="Labels file: what people said of which folder.")],
    output_format: Annotated[
        ScoreFormat, typer.Option("--format", help="How to print.")
    ] = ScoreFormat.TEXT,
) -> None:
    """Compare verdicts with what people said: precision and recall, and every disagreement.

    A fault is found when a rule that can show it fails the folder; a failure of a folder that
    people called clean is a false alarm. Example:

        auditor sweep --git-dir parameter-golf.git --labels labels.jsonl --output labelled.jsonl

        auditor score labelled.jsonl --labels labels.jsonl
    """
    from auditor.agreement import agreement

    try:
        found = agreement(labels, results)
    except AuditorError as error:
        _leave(error)
    if output_format is ScoreFormat.JSON:
        print(json.dumps(found.to_json(), indent=1, ensure_ascii=False))
    else:
        _print_agreement(found)


def _print_agreement(found: "Agreement") -> None:
    """Tables of both directions, and the disagreements."""
    from rich.console import Console
    from rich.table import Table

    from auditor.report.words import clean

    console = Console()
    kinds = Table("kind of fault", "labelled", "found", "open", "recall", title="What people found")
    for kind, tally in found.kinds.items():
        shares = (str(tally.labelled), str(tally.found), str(tally.open), _share(tally.recall))
        kinds.add_row(kind, *shares)
    rules = Table(
        "rule", "spoken for", "false alarms", "not labelled", "precision", title="What rules fail"
    )
    for rule, tally in found.rules.items():
        rules.add_row(rule, *_figures(tally))
    console.print(kinds, rules)
    for one in found.disagreements:
        folder = clean(one.folder.rsplit("/", 1)[-1], 60)
        line = f"{one.what} #{one.pr} {folder} {one.kind}: {clean(one.said, 240)}"
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    print(
        f"{found.rows} labelled folders, {found.without_verdict} without a verdict; violations of "
        f"validity caught: {found.caught} of {found.violations}; clean folders failed: "
        f"{found.clean_failed} of {found.clean}"
    )


def _figures(tally: "Tally") -> tuple[str, str, str, str]:
    counts = (tally.found, tally.false_alarms, tally.not_labelled)
    return (*map(str, counts), _share(tally.precision))  # type: ignore[return-value]  # four of them


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _write_page(results: Path, output: Path) -> None:
    from auditor.report.overview import render_overview

    try:
        with results.open(encoding="utf-8") as lines:
            page = render_overview(json.loads(line) for line in lines)
        output.write_text(page, encoding="utf-8")
    except (AuditorError, OSError, ValueError, KeyError, TypeError) as error:
        _leave(error)
    print(f"{output}: written")


def _leave(error: Exception) -> NoReturn:
    print(f"auditor: {error}", file=sys.stderr)
    raise typer.Exit(2) from error

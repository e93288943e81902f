"""The `gate` command: every record folder that a change touches, and the change itself."""

import datetime
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from auditor.cli_common import (
    BudgetOption,
    ExperimentOption,
    FailOn,
    HtmlOption,
    OutputOption,
    RulesetOption,
    RunOption,
    SandboxOption,
    SecondsOption,
    TogetherOption,
    complain,
    plan_of,
    worst_code,
)
from auditor.cli_render import Format, FormatOption, show_gate
from auditor.errors import AuditorError, SubmissionError

if TYPE_CHECKING:
    from auditor.gate_config import GateConfig

MAX_BYTES = 64 * 2**20
"""Of a file that is read beside the repository."""


def gate(
    base: Annotated[str, typer.Option(help="Ref that the change is to be merged into.")],
    head: Annotated[str, typer.Option(help="Ref with the change.")],
    repo: Annotated[Path, typer.Option(help="Git repository; may be bare.")] = Path(),
    run: RunOption = False,
    sandbox: SandboxOption = "bubblewrap",
    run_seconds: SecondsOption = 300.0,
    experiment: ExperimentOption = None,
    budget: BudgetOption = 120.0,
    together: TogetherOption = None,
    ruleset: RulesetOption = "",
    jobs: Annotated[int, typer.Option(help="Records at a time.", min=1)] = 1,
    seconds: Annotated[float, typer.Option(help="Wall-clock limit of reading one record.")] = 60.0,
    config: Annotated[
        Path | None,
        typer.Option(help="Settings; by default .strict-prefix.toml as it stands at the base."),
    ] = None,
    leaderboard: Annotated[
        Path | None, typer.Option(help="Leaderboard (JSON); else the one that the settings name.")
    ] = None,
    expect: Annotated[
        Path | None, typer.Option(help="JSON of an earlier gate; exit 2 where it says otherwise.")
    ] = None,
    output_format: FormatOption = Format.TEXT,
    output: OutputOption = None,
    html: HtmlOption = None,
    fail_on: Annotated[
        FailOn | None,
        typer.Option(
            "--fail-on",
            help="Mildest outcome with an exit code other than 0; inconclusive by default.",
        ),
    ] = None,
) -> None:
    """Audit every record folder that a change adds, edits or moves, straight from git.

    Nothing is checked out, and settings come from the base: a change cannot edit what judges it.
    A change without a record folder passes.

    Examples:

        auditor gate --base origin/main --head HEAD

        auditor gate --base main --head topic --fail-on fail --format markdown --output comment.md
    """
    from auditor.bars import passing_bar
    from auditor.corpus import Bounds
    from auditor.gate import change_set
    from auditor.gate_audit import Asked, audit_change, read_leaders
    from auditor.gate_config import parse_leaderboard
    from auditor.git_trees import commit_of

    try:
        change = change_set(repo, base, head)
        tip = commit_of(repo, base)
        settings = _settings(repo, tip, config)
        chosen = ruleset or settings.ruleset or "2026-05-02"
        if jobs > 1:
            together = together or 1
        plan = plan_of(run, sandbox, run_seconds, experiment, budget, chosen, together=together)
        leaders = (
            read_leaders(repo, tip, settings)
            if leaderboard is None
            else parse_leaderboard(_read(leaderboard), str(leaderboard))
        )
        asked = Asked(
            bounds=Bounds(jobs=jobs, seconds=seconds, plan=plan),
            config=settings,
            leaders=leaders,
            today=datetime.date.today(),
        )
        with passing_bar() as bar:
            task = bar.add_task("loading", total=1.0, name=head[:40])
            document = audit_change(
                repo,
                tip,
                change,
                asked,
                lambda doing, done: bar.update(task, description=doing, completed=done),
            )
        problem = None if expect is None else _differs(document, expect)
    except AuditorError as error:
        _leave(str(repo), error)
    if not change.records:
        print(f"no record folder differs between {base} and {head}", file=sys.stderr)
    show_gate(document, output_format, output, html)
    strict = fail_on or FailOn(settings.fail_on or "inconclusive")
    codes = [_code(document, strict)]
    if problem is not None:
        print(f"auditor: {problem}", file=sys.stderr)
        codes.append(2)
    raise typer.Exit(worst_code(codes))


def _settings(repo: Path, base: str, config: Path | None) -> "GateConfig":
    from auditor.gate_config import parse_config, read_config

    if config is None:
        return read_config(repo, base)
    return parse_config(_read(config), str(config))


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise SubmissionError(f"{path}: cannot be read ({error.strerror})") from error
    if len(data) > MAX_BYTES:
        raise SubmissionError(f"{path}: expected at most {MAX_BYTES:,} bytes, found more")
    return data


def _code(document: dict[str, Any], fail_on: FailOn) -> int:
    """The exit code of a change; what could not be audited is 2 unless something fails."""
    codes = [0]
    for record in document["records"]:
        trouble = record["error"]
        if trouble is None and record["verdict"] is not None:
            trouble = record["verdict"]["trouble"]
        if trouble is not None:
            complain(record["folder"], SubmissionError(trouble))
            codes.append(2)
    if document["outcome"] == "fail":
        codes.append(1)
    if document["outcome"] == "inconclusive" and fail_on is FailOn.INCONCLUSIVE:
        codes.append(3)
    return worst_code(codes)


def _differs(document: dict[str, Any], expect: Path) -> str | None:
    """Where an earlier document of the same change says something else; None where it does not."""
    from auditor.report.entries import is_gate

    try:
        earlier = json.loads(_read(expect))
        if not is_gate(earlier):
            return f"{expect}: expected an unchanged document of a gate"
        said = [(one["folder"], _digest(one)) for one in earlier["records"]]
    except SubmissionError as error:
        return str(error)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        return f"{expect}: expected the document of a gate, but {error!r}"
    found = [(one["folder"], _digest(one)) for one in document["records"]]
    for key in ("base", "head", "outcome"):
        if earlier[key] != document[key]:
            return f"{expect}: {key} is {earlier[key]!r} there, and {document[key]!r} here"
    if said != found:
        return f"{expect}: verdicts are {said} there, and {found} here"
    return None


def _digest(record: dict[str, Any]) -> str | None:
    return None if record["verdict"] is None else record["verdict"]["digest"]


def _leave(what: str, error: AuditorError) -> NoReturn:
    complain(what, error)
    raise typer.Exit(2) from error

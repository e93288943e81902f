"""The `auditor` command: parse, call, print, exit; with `cli_*` all that prints or exits."""

import json
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import replace
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)

from auditor import __version__, cli_attest, cli_corpus, cli_proof
from auditor.errors import AuditorError, SubmissionError

if TYPE_CHECKING:
    from auditor.audit import Plan
    from auditor.rulesets import Ruleset
    from auditor.submission import Submission

EXIT_CODES = """\
Exit codes: 0 pass, 1 fail, 2 could not audit (bad arguments, unreadable input, a run that did not
come to an end), 3 inconclusive. Of several submissions the worst counts: 1, then 2, then 3."""

app = typer.Typer(
    help="Prove whether a language model's score is a real code length.\n\n" + EXIT_CODES,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


class Format(Enum):
    """How a verdict is printed."""

    TEXT = "text"
    JSON = "json"
    HTML = "html"


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
        help="Of --run, after the noise: suffix, swap, transplant; repeatable. All by default.",
    ),
]
BudgetOption = Annotated[
    float,
    typer.Option(
        "--budget", help="Seconds for the experiments of --run; those that do not fit are named."
    ),
]
RulesetOption = Annotated[
    str, typer.Option(help="Dated set of rules to judge by: 2026-03-27 or 2026-05-02.")
]
FormatOption = Annotated[Format, typer.Option("--format", help="How to print the verdict.")]
OutputOption = Annotated[Path | None, typer.Option(help="Write there instead of printing.")]
HtmlOption = Annotated[
    Path | None, typer.Option("--html", help="Also write one HTML report of everything.")
]
FailOnOption = Annotated[
    FailOn, typer.Option("--fail-on", help="Mildest outcome with an exit code other than 0.")
]


@app.command()
def audit(
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="PATH...",
            help="Record folders, archives, or GITDIR@REF:FOLDER; several compare.",
        ),
    ],
    run: RunOption = False,
    sandbox: SandboxOption = "bubblewrap",
    run_seconds: SecondsOption = 300.0,
    experiment: ExperimentOption = None,
    budget: BudgetOption = 120.0,
    ruleset: RulesetOption = "2026-05-02",
    against: Annotated[
        str | None, typer.Option(help="The earlier record that these are said to beat.")
    ] = None,
    output_format: FormatOption = Format.TEXT,
    output: OutputOption = None,
    html: HtmlOption = None,
    attest: cli_attest.AttestOption = None,
    key: cli_attest.KeyOption = None,
    fail_on: FailOnOption = FailOn.INCONCLUSIVE,
) -> None:
    """Audit record folders; nothing of them is executed unless --run is given.

    Examples:

        auditor audit records/track_10min_16mb/my_record

        auditor audit my_record --run --html report.html

        auditor audit parameter-golf.git@refs/pull/779/head:records/track_10min_16mb/some_record
    """
    plan = _plan(run, sandbox, run_seconds, experiment, budget, ruleset)
    signer = cli_attest.signer(attest, key, len(paths))
    if against is not None:
        plan = replace(plan, against=_loaded(against))
    documents, code = _audit_all(paths, plan, fail_on)
    _show(documents, output_format, output, html)
    if attest is not None and documents:
        cli_attest.write_envelope(attest, documents[0], signer)
    raise typer.Exit(code)


@app.command()
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

    plan = _plan(run, sandbox, run_seconds, experiment, budget, ruleset)
    try:
        changes = changed_folders(repo, base, head)
    except AuditorError as error:
        _complain(str(repo), error)
        raise typer.Exit(2) from error
    for change in changes:
        if change.deleted:
            print(f"{change.folder}: deleted, nothing to audit", file=sys.stderr)
    if not changes:
        print(f"no record folder differs between {base} and {head}", file=sys.stderr)
    kept = [f"{repo}@{head}:{change.folder}" for change in changes if not change.deleted]
    documents, code = _audit_all(kept, plan, fail_on)
    _show(documents, output_format, output, html)
    raise typer.Exit(code)


@app.command()
def render(
    verdicts: Annotated[list[Path], typer.Argument(help="Stored verdicts (JSON).")],
    output_format: FormatOption = Format.TEXT,
    output: OutputOption = None,
) -> None:
    """Show stored verdicts in another format."""
    from auditor.report.json_v1 import SCHEMA, digest_of

    documents: list[dict[str, Any]] = []
    for path in verdicts:
        try:
            loaded = json.loads(path.read_bytes())
            for document in loaded if isinstance(loaded, list) else [loaded]:
                if document["schema"] != SCHEMA or document["digest"] != digest_of(document):
                    raise SubmissionError(
                        f"{path}: expected an unchanged {SCHEMA} document whose digest fits"
                    )
                documents.append(document)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            _complain(str(path), SubmissionError(f"{path}: expected a verdict, but {error}"))
            raise typer.Exit(2) from error
        except AuditorError as error:
            _complain(str(path), error)
            raise typer.Exit(2) from error
    _show(documents, output_format, output, None)


@app.command()
def rules() -> None:
    """List the rules, and what each can be judged by."""
    from rich.table import Table

    from auditor.rules import RULES

    table = Table("rule", "property", "authority", "judged by, strongest first")
    for rule in RULES:
        kinds = ", ".join(kind.__name__ for kind in rule.needs)
        table.add_row(rule.id, rule.title, rule.authority, kinds)
    Console().print(table)


@app.command()
def explain(
    rule: Annotated[str, typer.Argument(help="Rule id, as `auditor rules` lists.")],
) -> None:
    """Print what a rule asks, how it is judged and how it can be wrong."""
    from auditor.rules import RULES

    for known in RULES:
        if known.id == rule:
            print(f"{known.id}: {known.title} ({known.authority})\n")
            print(textwrap.dedent(known.documentation).strip())
            return
    ids = ", ".join(known.id for known in RULES)
    print(f"auditor: no rule {rule!r}; expected one of {ids}", file=sys.stderr)
    raise typer.Exit(2)


@app.command()
def doctor() -> None:
    """Say what works on this machine, how to get what does not, and what each sandbox stops."""
    from auditor.doctor import examine

    checks = examine()
    for check in checks:
        print(f"{check.state:<8} {check.what}{f': {check.detail}' if check.detail else ''}")
    raise typer.Exit(2 if any(check.state == "missing" for check in checks) else 0)


for command in (
    cli_corpus.sweep,
    cli_corpus.summarise,
    cli_corpus.score,
    cli_proof.encode,
    cli_proof.decode,
    cli_proof.replay,
    cli_attest.keygen,
    cli_attest.verify,
):
    app.command()(command)


@app.callback(invoke_without_command=True)
def _version(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        print(f"strict-prefix {__version__}")
        raise typer.Exit


def main() -> None:
    """Entry point of the command."""
    app()


def _plan(
    run: bool,
    sandbox: str,
    run_seconds: float,
    experiments: list[str] | None,
    budget: float,
    ruleset: str,
) -> "Plan":
    """The plan, or exit 2 with the reason."""
    from auditor.audit import EXPERIMENTS, Plan
    from auditor.run.sandbox import BACKENDS

    if sandbox not in BACKENDS:
        raise typer.BadParameter(f"no sandbox {sandbox!r}; expected one of {', '.join(BACKENDS)}")
    try:
        return Plan(
            run=run,
            sandbox=sandbox,
            run_seconds=run_seconds,
            experiments=frozenset(experiments or EXPERIMENTS),
            budget_seconds=budget,
            ruleset=_ruleset(ruleset),
        )
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def _loaded(source: str) -> "Submission":
    """A submission, or exit 2 with why it cannot be read."""
    from auditor.submission import Submission

    try:
        return Submission.load(source)
    except AuditorError as error:
        _complain(source, error)
        raise typer.Exit(2) from error


def _ruleset(name: str) -> "Ruleset":
    """The ruleset of a name, or exit 2 with those that there are."""
    from auditor.rulesets import RULESETS

    if name not in RULESETS:
        raise typer.BadParameter(f"no ruleset {name!r}; expected one of {', '.join(RULESETS)}")
    return RULESETS[name]


def _audit_all(
    paths: Sequence[str], plan: "Plan", fail_on: FailOn
) -> tuple[list[dict[str, Any]], int]:
    """Audit one after the other; what cannot be audited is said and does not stop the rest.

    Returns the verdicts and the exit code for all of them.
    """
    from auditor.submission import Submission

    documents, codes = [], [0]
    for path in paths:
        try:
            document = _audited(Submission.load(path), plan)
        except AuditorError as error:
            _complain(path, error)
            codes.append(2)
            continue
        documents.append(document)
        codes.append(_exit_code(document, fail_on))
    return documents, max(codes, key=(0, 3, 2, 1).index)


def _audited(submission: "Submission", plan: "Plan") -> dict[str, Any]:
    """Audit with a progress bar on stderr; the verdict as a document."""
    from auditor.audit import audit as audit_submission
    from auditor.report.json_v1 import verdict_to_json

    columns = (
        SpinnerColumn(),
        TextColumn("{task.fields[name]}", markup=False),
        BarColumn(),
        TextColumn("{task.description}", markup=False),
        TimeElapsedColumn(),
    )
    console = Console(stderr=True)
    quiet = not console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=quiet) as bar:
        task = bar.add_task("loading", total=1.0, name=submission.name[:40])

        def progress(doing: str, done: float) -> None:
            bar.update(task, description=doing, completed=done)

        return verdict_to_json(audit_submission(submission, plan, progress))


def _show(
    documents: Sequence[dict[str, Any]],
    output_format: Format,
    output: Path | None,
    html: Path | None,
) -> None:
    """Print or write the documents; several JSON documents make an array."""
    if html is not None:
        from auditor.report.html import render_html

        _write(html, render_html(documents))
    if not documents:
        return
    if output_format is Format.JSON:
        shown: Any = documents[0] if len(documents) == 1 else list(documents)
        text = json.dumps(shown, indent=1, ensure_ascii=False) + "\n"
    elif output_format is Format.HTML:
        from auditor.report.html import render_html

        text = render_html(documents)
    else:
        from auditor.report.text import render_text

        if output is None:
            render_text(documents, Console())
            return
        with output.open("w", encoding="utf-8") as file:
            render_text(documents, Console(file=file, width=100))
        return
    if output is None:
        sys.stdout.write(text)
    else:
        _write(output, text)


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        print(f"auditor: {path}: cannot be written ({error.strerror})", file=sys.stderr)
        raise typer.Exit(2) from error


def _exit_code(document: dict[str, Any], fail_on: FailOn) -> int:
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


def _complain(what: str, error: AuditorError) -> None:
    message = str(error)
    print(f"auditor: {message if what in message else f'{what}: {message}'}", file=sys.stderr)

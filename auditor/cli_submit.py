"""The `submit` command: an audit by a service, told and answered as one here."""

import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from auditor.cli_common import (
    FailOn,
    FailOnOption,
    HtmlOption,
    OutputOption,
    complain,
    exit_code,
)
from auditor.cli_render import Format, FormatOption, show
from auditor.errors import AuditorError, ToolError

if TYPE_CHECKING:
    from auditor.client import Audit, Client

KEY_VARIABLE = "STRICT_PREFIX_API_KEY"
"""Not the variable of the key that signs: that one must never be sent anywhere."""
REMOTE = re.compile(r"(?P<git>[a-z]+://.+)@(?P<ref>[^@:]+):(?P<folder>[^:]*)")
"""A folder at a commit of a repository that is somewhere else."""
KeyFileOption = Annotated[
    Path | None, typer.Option(help=f"File with the API key; else ${KEY_VARIABLE}.")
]


def submit(
    path: Annotated[
        str,
        typer.Argument(
            metavar="PATH",
            help="Record folder, archive, GITDIR@REF:FOLDER, or https://REPOSITORY@REF:FOLDER, "
            "which the service fetches.",
        ),
    ],
    server: Annotated[str, typer.Option(help="Address of the service.")] = "http://127.0.0.1:8000",
    wait: Annotated[
        bool, typer.Option("--wait", help="Follow it and print the verdict, as `audit` would.")
    ] = False,
    run: Annotated[
        bool, typer.Option("--run/--no-run", help="Run the script on noise, in its sandbox.")
    ] = True,
    ruleset: Annotated[str | None, typer.Option(help="Dated set of rules; else its own.")] = None,
    again: Annotated[
        bool, typer.Option("--again", help="Another audit even if there is a verdict already.")
    ] = False,
    key_file: KeyFileOption = None,
    output_format: FormatOption = Format.TEXT,
    output: OutputOption = None,
    html: HtmlOption = None,
    fail_on: FailOnOption = FailOn.INCONCLUSIVE,
) -> None:
    """Hand a record in at a service (`python -m api`); with --wait the exit codes are audit's.

    Examples:

        auditor submit my_record --server https://audit.example.org --wait

        auditor submit my_record --no-run --wait --format sarif --output verdict.sarif

        auditor submit https://github.com/me/golf@refs/pull/7/head:records/mine --wait
    """
    try:
        document = _submitted(path, server, api_key(key_file), run, ruleset, again, wait)
    except AuditorError as error:
        complain(path, error)
        raise typer.Exit(2) from error
    if document is not None:
        show([document], output_format, output, html)
        raise typer.Exit(exit_code(document, fail_on))


def api_key(file: Path | None) -> str | None:
    """The API key; an option with the key itself would be seen in the list of processes."""
    if file is None:
        return os.environ.get(KEY_VARIABLE)
    try:
        return file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeError) as error:
        raise ToolError(f"{file}: expected a file with an API key, but {error}") from error


def _submitted(
    path: str,
    server: str,
    key: str | None,
    run: bool,
    ruleset: str | None,
    again: bool,
    wait: bool,
) -> dict[str, Any] | None:
    """The verdict, or nothing yet."""
    try:
        from auditor.client import Client, Wish, pack
    except ImportError as error:
        raise ToolError("handing in needs more: pip install 'strict-prefix[client]'") from error
    wish = Wish(run=run, ruleset=ruleset, again=again)
    with Client(server, key) as client:
        if remote := REMOTE.fullmatch(path):
            name = path
            audit = client.submit_from_git(**remote.groupdict(), wish=wish)
        else:
            archive, name = pack(path)
            audit = client.submit(archive, name, wish)
        print(f"{server.rstrip('/')}/v1/audits/{audit.id}", file=sys.stderr)
        if not wait:
            print(audit.id)
            return None
        return client.verdict(_followed(client, audit, name))


def _followed(client: "Client", audit: "Audit", name: str) -> "Audit":
    """Wait with a progress bar on stderr."""
    from auditor.bars import passing_bar

    with passing_bar() as bar:
        task = bar.add_task("waiting", total=1.0, name=name[:40])

        def show_progress(now: "Audit") -> None:
            ahead = f", {now.ahead} ahead" if now.ahead else ""
            bar.update(task, description=f"{now.doing}{ahead}", completed=now.done)

        return client.wait(audit.id, show_progress)

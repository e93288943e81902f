"""Commands that set things up: `init` for a repository, `man` for a reader."""

import re
import sys
from importlib.resources import files
from pathlib import Path
from typing import Annotated

import typer
from typer.core import TyperGroup

from auditor import __version__
from auditor.errors import AuditorError, SubmissionError, ToolError

ACTION = re.compile(r"(?P<repository>[\w.-]{1,39}/[\w.-]{1,100})@(?P<commit>[0-9a-f]{40})")
WRITTEN = {
    "github": (
        ("audit.yml", ".github/workflows/strict-prefix-audit.yml"),
        ("comment.yml", ".github/workflows/strict-prefix-comment.yml"),
    ),
    "gitlab": (("gitlab.yml", ".gitlab/strict-prefix.yml"),),
    "pre-commit": (("pre-commit.yaml", ".pre-commit-config.yaml"),),
    "shell": (("gate.sh", "strict-prefix-gate.sh"),),
}
SETTINGS = ("strict-prefix.toml", ".strict-prefix.toml")
"""Our file, and where it goes."""


def init(
    folder: Annotated[Path, typer.Argument(help="Top of the repository.")] = Path(),
    ci: Annotated[
        str, typer.Option(help="Where changes are gated: github, gitlab, pre-commit or shell.")
    ] = "github",
    action: Annotated[
        str | None,
        typer.Option(
            metavar="OWNER/REPO@COMMIT",
            help="Repository and commit of the auditor that the workflows use; for github.",
        ),
    ] = None,
) -> None:
    """Write settings and a gate for pull requests into a repository; nothing is overwritten.

    Examples:

        auditor init --action OWNER/strict-prefix@0123456789abcdef0123456789abcdef01234567

        auditor init --ci gitlab
    """
    if ci not in WRITTEN:
        raise typer.BadParameter(f"no CI {ci!r}; expected one of {', '.join(WRITTEN)}")
    pinned = ACTION.fullmatch(action or "")
    if ci == "github" and pinned is None:
        raise typer.BadParameter(
            f"--action must be OWNER/REPO@COMMIT with all 40 digits of the commit, got {action!r}: "
            "a branch or a tag can be moved"
        )
    uses = (
        "" if pinned is None else f"{pinned['repository']}/.github/actions/gate@{pinned['commit']}"
    )
    try:
        wanted = [
            (folder / place, template(name, uses)) for name, place in (SETTINGS, *WRITTEN[ci])
        ]
        for path, _ in wanted:
            if path.exists():
                raise SubmissionError(f"{path}: is there already, and nothing was written")
        for path, text in wanted:
            _write(path, text)
    except AuditorError as error:
        print(f"auditor: {error}", file=sys.stderr)
        raise typer.Exit(2) from error
    for path, _ in wanted:
        print(path)


def template(name: str, uses: str = "") -> str:
    """A file that `init` writes; `uses` is the pinned action of a workflow."""
    text = files("auditor").joinpath("ci", name).read_text(encoding="utf-8")
    return text.replace("uses: ACTION\n", f"uses: {uses} # v{__version__}\n")


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        if path.suffix == ".sh":
            path.chmod(0o755)
    except OSError as error:
        raise ToolError(f"{path}: cannot be written ({error.strerror})") from error


def man(context: typer.Context) -> None:
    """Print the manual page of all commands.

    Example:

        auditor man | man -l -
    """
    root = context.find_root().command
    assert isinstance(root, TyperGroup)
    print(manual_page(root))


def manual_page(group: TyperGroup) -> str:
    """The commands of a group as a page in the language of man(7)."""
    lines = [
        f'.TH AUDITOR 1 "" "strict-prefix {__version__}"',
        ".SH NAME",
        r"auditor \- prove whether a language model's score is a real code length",
        ".SH SYNOPSIS",
        ".B auditor",
        ".I command",
        "[options]",
        ".SH DESCRIPTION",
        *_paragraphs(group.help or ""),
        ".SH COMMANDS",
    ]
    for name, command in sorted(group.commands.items()):
        context = typer.Context(command, info_name=f"auditor {name}")
        usage = " ".join(command.collect_usage_pieces(context))
        lines += [f".SS {_roff(f'{name} {usage}')}", *_paragraphs(command.help or "")]
        for parameter in command.params:
            record = parameter.get_help_record(context)
            if record is not None:
                lines += [".TP", f".B {_roff(record[0])}", _roff(record[1])]
    return "\n".join(lines)


def _paragraphs(text: str) -> list[str]:
    """Help as paragraphs; examples keep their lines."""
    lines: list[str] = []
    for part in text.split("\n\n"):
        words = " ".join(part.split())
        if part.startswith("    "):
            lines += [".RS", ".EX", _roff(words), ".EE", ".RE"]
        elif words:
            lines += [".PP", _roff(words)]
    return lines


def _roff(text: str) -> str:
    """Words that are shown as they are."""
    words = " ".join(text.split()).replace("\\", r"\e").replace("-", r"\-")
    return rf"\&{words}" if words[:1] in ("", ".", "'") else words

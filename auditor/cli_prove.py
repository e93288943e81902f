"""The options of `audit` that ask the record's own system for a proof."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from auditor.cli_proof import room_of
from auditor.errors import AuditorError
from auditor.report.words import clean

if TYPE_CHECKING:
    from auditor.protocol.prove import Proving

ProveOption = Annotated[
    Path | None,
    typer.Option(
        metavar="SHARDS",
        help="Also let the record's system.py code this text, decode it, and charge some windows "
        "of it again blindly (with --tokenizer); proves the claim where that reaches it.",
    ),
]
ProveTokensOption = Annotated[
    int | None, typer.Option(help="Of --prove: only the first so many tokens.", min=1)
]
ProofOption = Annotated[
    list[str] | None,
    typer.Option("--proof", help="Of --prove: round-trip or replay, which is quicker; else both."),
]
WindowsOption = Annotated[
    int,
    typer.Option("--prove-windows", help="Of --prove: windows to replay; few pass no rule.", min=1),
]


def proving(
    shards: Path,
    tokens: int | None,
    proofs: list[str] | None,
    windows: int,
    tokenizer: Path | None,
    sandbox: str,
    seconds: float = 36_000,
) -> "Proving":
    """What `audit --prove` asks for, or exit 2 with why it cannot be had."""
    from auditor.protocol.prove import PROOFS, Proving
    from auditor.protocol.shards import read_stream
    from auditor.protocol.text_bytes import text_bytes

    if tokenizer is None:
        raise typer.BadParameter("--prove is about bits a byte; expected --tokenizer too")
    try:
        stream = read_stream(shards, tokens)
        size_bytes = text_bytes(tokenizer, stream)
    except AuditorError as error:
        print(f"auditor: {clean(error)}", file=sys.stderr)
        raise typer.Exit(2) from error
    if not size_bytes:
        raise typer.BadParameter(f"{shards}: expected tokens of a text, found none that has bytes")
    room = room_of(tokenizer, sandbox, seconds)
    try:
        return Proving(stream, size_bytes, room, frozenset(proofs or PROOFS), windows)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error

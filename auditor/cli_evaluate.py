"""The command `evaluate`: the auditor drives a system over a stream."""

import io
import math
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from auditor.cli_proof import (
    DataArgument,
    FolderArgument,
    SandboxOption,
    SecondsOption,
    TokenizerOption,
    TokensOption,
    refuse,
    room_of,
    telling,
    write_whole,
)
from auditor.errors import SubmissionError, ToolError

if TYPE_CHECKING:
    from auditor.protocol.evaluation import Evaluation


def evaluate(
    folder: FolderArgument,
    shards: DataArgument,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Nats of each position, as a .npy file.")
    ],
    tokens: TokensOption = None,
    tokenizer: TokenizerOption = None,
    stride: Annotated[
        int | None,
        typer.Option(
            help="Positions charged in each window but the first; as many as the window has are "
            "windows side by side. By default the system's own.",
            min=1,
        ),
    ] = None,
    documents: Annotated[
        int | None,
        typer.Option(
            help="Token that begins a document: no window then reaches over it.", min=0, max=65_535
        ),
    ] = None,
    sums: Annotated[
        float,
        typer.Option(
            help="Share of windows whose distributions are added up over the whole vocabulary.",
            min=0,
            max=1,
        ),
    ] = 1.0,
    chunk: Annotated[
        int, typer.Option(help="Tokens between two moments at which it can be saved.", min=1)
    ] = 32_768,
    save_seconds: Annotated[
        float, typer.Option(help="How old the saved state gets before the next.", min=0)
    ] = 60.0,
    sandbox: SandboxOption = "bubblewrap",
    seconds: SecondsOption = 36_000.0,
) -> None:
    """Charge every token of a stream once, and add up.

    The state is kept in OUTPUT.state, next to the output; a command that was ended goes on from
    there with the same score when it is given again, if the system has snapshot() and restore().
    The score is a claim, since windows hold what comes next: `auditor replay` and `auditor encode`
    are the proof. Exit 1 where a charge is that of no distribution. Processes of `torchrun` share
    the windows; each of them learns everything.
    """
    from auditor.protocol.evaluation import Keeping, Schedule
    from auditor.protocol.evaluation import evaluate as evaluate_stream
    from auditor.protocol.host import NoDistribution
    from auditor.protocol.ranks import joined
    from auditor.protocol.shards import read_stream
    from auditor.protocol.text_bytes import text_bytes
    from auditor.submission import Submission

    trouble: list[str] = []
    with telling() as report, joined() as ranks:
        stream = read_stream(shards, tokens)
        room = replace(room_of(tokenizer, sandbox, seconds), local_rank=ranks.local)
        size_bytes = text_bytes(tokenizer, stream) if tokenizer else 0
        share = "" if ranks.count == 1 else f".{ranks.rank}-of-{ranks.count}"
        place = output.with_name(f"{output.name}.state{share}")

        def save(state: bytes) -> None:
            try:
                write_whole(place, state)
            except ToolError as error:
                trouble[:] = [str(error)]

        done = evaluate_stream(
            Submission.load(folder),
            stream,
            room,
            report,
            Schedule(stride=stride, boundary=documents, chunk_tokens=chunk, sums=sums),
            Keeping(save=save, saved=_saved(place), seconds=save_seconds),
            ranks,
        )
        if isinstance(done, NoDistribution):
            refuse(done, is_heard=not ranks.rank)
        if ranks.rank:
            place.unlink(missing_ok=True)
            raise typer.Exit
        _write_charges(output, done)
        place.unlink(missing_ok=True)
    for why in trouble:
        print(f"auditor: no state was kept on the way: {why}", file=sys.stderr)
    _describe(output, done, size_bytes)


def _describe(output: Path, done: "Evaluation", size_bytes: int) -> None:
    count = len(done.nats_T)
    bits = done.nats / math.log(2)
    print(
        f"{output}: {count:,} tokens, each charged once in {done.windows:,} windows; "
        f"{bits / count:.6f} bits a token"
    )
    if size_bytes:
        print(f"{bits / size_bytes:.8f} bits a byte over {size_bytes:,} bytes of text")
    if done.sums_checked:
        print(
            f"the probabilities of {done.sums_checked:,} positions sum to 1 "
            f"{done.lowest_sum - 1:+.1e} to {done.highest_sum - 1:+.1e}"
        )
    if done.resumed_at:
        print(f"it went on after {done.resumed_at:,} tokens that were charged before")
    if not done.resumable:
        print("the system has no snapshot() and restore(): one that is ended begins anew")


def _saved(place: Path) -> bytes | None:
    try:
        return place.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise SubmissionError(f"{place}: cannot be read ({error.strerror})") from error


def _write_charges(output: Path, done: "Evaluation") -> None:
    import numpy as np

    buffer = io.BytesIO()
    np.save(buffer, done.nats_T)
    write_whole(output, buffer.getvalue())

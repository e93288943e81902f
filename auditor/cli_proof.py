"""The commands that drive a system: encode, decode, replay. They print and exit as `cli` does."""

import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from auditor import cli_partial
from auditor.errors import AuditorError, CannotMeasure
from auditor.report.words import clean

if TYPE_CHECKING:
    from auditor.evidence import BlindReplay
    from auditor.protocol.host import NoDistribution, Room
    from auditor.protocol.host import Progress as Report

FolderArgument = Annotated[
    str,
    typer.Argument(
        metavar="FOLDER", help="Record folder, archive or GITDIR@REF:FOLDER with a system.py."
    ),
]
DataArgument = Annotated[
    Path, typer.Argument(metavar="SHARDS", help="A shard, or a folder with validation shards.")
]
TokensOption = Annotated[
    int | None, typer.Option("--tokens", help="Only the first so many tokens.", min=1)
]
TokenizerOption = Annotated[
    Path | None, typer.Option(help="Sentencepiece model, for systems that count bytes.")
]
SandboxOption = Annotated[
    str, typer.Option(help="`bubblewrap`, or `none` where the code is your own.")
]
SecondsOption = Annotated[float, typer.Option("--seconds", help="Wall-clock limit of one pass.")]


def encode(
    folder: FolderArgument,
    shards: DataArgument,
    output: Annotated[Path, typer.Option("--output", "-o", help="The bitstream to write.")],
    tokens: TokensOption = None,
    tokenizer: TokenizerOption = None,
    stretches: Annotated[
        int | None, typer.Option(help="Code only so many stretches, which the digests draw.", min=1)
    ] = None,
    stretch_tokens: Annotated[
        int, typer.Option(help="Tokens of a stretch, rounded up to whole windows.", min=1)
    ] = 1024,
    sandbox: SandboxOption = "bubblewrap",
    seconds: SecondsOption = 36_000.0,
) -> None:
    """Write a text as bits, with a system's own distributions.

    The length of the bits is a score that needs no trust: `auditor decode` gets the text back from
    them. A system whose probabilities do not sum to one cannot be encoded, and fails (exit 1).
    """
    from auditor.protocol import partial
    from auditor.protocol.host import NoDistribution
    from auditor.protocol.roundtrip import encode as encode_stream
    from auditor.protocol.shards import read_stream
    from auditor.protocol.text_bytes import text_bytes
    from auditor.submission import Submission

    with telling() as report:
        stream = read_stream(shards, tokens)
        room = room_of(tokenizer, sandbox, seconds)
        record = Submission.load(folder)
        if stretches is not None:
            part = partial.encode(record, stream, stretches, stretch_tokens, room, report)
            if isinstance(part, NoDistribution):
                refuse(part)
            write_whole(output, part.to_bytes())
            cli_partial.describe_encoded(output, part)
            return
        size_bytes = text_bytes(tokenizer, stream) if tokenizer else 0
        encoded = encode_stream(record, stream, room, report)
        if isinstance(encoded, NoDistribution):
            refuse(encoded)
        write_whole(output, encoded.to_bytes())
    count = len(stream) - 1
    excess = encoded.bits / encoded.ideal_bits - 1 if encoded.ideal_bits else math.nan
    print(
        f"{output}: {count:,} tokens in {encoded.bits:,} bits, {encoded.bits / count:.4f} a token; "
        f"{excess:+.3%} of the {encoded.ideal_bits:,.0f} bits that its probabilities come to"
    )
    if size_bytes:
        ideal = encoded.ideal_bits / size_bytes
        print(
            f"{encoded.bits / size_bytes:.6f} bits a byte over {size_bytes:,} bytes of text "
            f"(ideal {ideal:.6f})"
        )


def decode(
    folder: FolderArgument,
    bitstream: Annotated[Path, typer.Argument(help="What `auditor encode` wrote.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write the tokens there, 16 bits each.")
    ] = None,
    text: Annotated[
        Path | None,
        typer.Option(metavar="SHARDS", help="For bits of stretches: the text, to be told in turn."),
    ] = None,
    tokenizer: TokenizerOption = None,
    sandbox: SandboxOption = "bubblewrap",
    seconds: SecondsOption = 36_000.0,
) -> None:
    """Get the text back from its bits, in a sandbox that holds the system and the bits alone.

    Of stretches the decoder is told what comes before each, and nothing after it before it is done.
    """
    from auditor.errors import SubmissionError
    from auditor.protocol.host import NoDistribution
    from auditor.protocol.partial import is_partial
    from auditor.protocol.roundtrip import decode as decode_stream
    from auditor.submission import Submission

    with telling() as report:
        try:
            data = bitstream.read_bytes()
        except OSError as error:
            raise SubmissionError(f"{bitstream}: cannot be read ({error.strerror})") from error
        room = room_of(tokenizer, sandbox, seconds)
        record = Submission.load(folder)
        if is_partial(data):
            part = cli_partial.decode(record, data, text, room, report)
            if isinstance(part, NoDistribution):
                refuse(part)
            cli_partial.describe_decoded(bitstream, part)
            return
        decoded = decode_stream(record, data, room, report)
        if isinstance(decoded, NoDistribution):
            refuse(decoded)
        if output is not None:
            write_whole(output, decoded.astype("<u2").tobytes())
    print(
        f"{bitstream}: {len(decoded) - 1:,} tokens came back, the same that went in; "
        "the bits are a code length"
    )


def replay(
    folder: FolderArgument,
    shards: DataArgument,
    count: Annotated[int, typer.Option("--windows", help="Windows to replay.", min=1)] = 16,
    nonce: Annotated[
        str | None, typer.Option(help="Draw as an earlier replay did; by default nobody knows how.")
    ] = None,
    tokens: TokensOption = None,
    tokenizer: TokenizerOption = None,
    sandbox: SandboxOption = "bubblewrap",
    seconds: SecondsOption = 36_000.0,
) -> None:
    """Predict some windows again, token by token, in a process that does not hold the future.

    Exit 1 when the charges are others than those of the fast pass, each time, or are of no
    distribution; 3 when the system does not repeat itself.
    """
    from auditor.protocol.blind import replay as replay_stream
    from auditor.protocol.host import NoDistribution
    from auditor.protocol.shards import read_stream
    from auditor.rules.replayed import blindly
    from auditor.submission import Submission
    from auditor.verdict import Outcome

    with telling() as report:
        stream = read_stream(shards, tokens)
        drawn_with = None if nonce is None else _nonce(nonce)
        room = room_of(tokenizer, sandbox, seconds)
        found = replay_stream(Submission.load(folder), stream, count, room, report, drawn_with)
        if isinstance(found, NoDistribution):
            refuse(found)
    _describe(found)
    judged = blindly(found)
    if judged.outcome is Outcome.FAIL:
        print(f"FAIL strict-prefix: {judged.findings[0].message}")
        raise typer.Exit(1)
    if judged.outcome is Outcome.INCONCLUSIVE:
        print(f"INCONCLUSIVE strict-prefix: {judged.reason}")
        raise typer.Exit(3)


def _describe(found: "BlindReplay") -> None:
    def bits(nats: float | None, positions: int) -> str:
        return "infinite" if nats is None else f"{nats / math.log(2) / positions:.4f}"

    error = ""
    if found.blind_error_nats is not None:
        error = f" (standard error {bits(found.blind_error_nats, 1)})"
    print(
        f"fast pass: {bits(found.fast_nats, found.positions)} bits a token over "
        f"{found.positions:,}\n"
        f"replayed: {found.replayed:,} positions in {found.replayed_windows:,} of "
        f"{found.windows:,} windows, drawn with --nonce {found.nonce}\n"
        f"there: fast {bits(found.fast_there_nats, found.replayed)}, blind "
        f"{bits(found.blind_nats, found.replayed)} bits a token{error}\n"
        f"largest difference: {found.worst_nats:.2e} nats at position {found.worst_position:,} "
        f"(tolerance {found.tolerance_nats:.0e}; noise {found.noise_nats:.2e})\n"
        f"a leak in 1 % of the windows escapes with probability {found.miss_hundredth:.3g}, in "
        f"10 % with {found.miss_tenth:.3g}, at every 1,000th position with "
        f"{found.miss_position:.3g}"
    )


def _nonce(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError as error:
        raise typer.BadParameter(f"expected a nonce in hexadecimal, got {text[:80]!r}") from error


def room_of(tokenizer: Path | None, sandbox: str, seconds: float) -> "Room":
    """Where the system is to run; BadParameter for a sandbox that is none."""
    from auditor.protocol.host import Room
    from auditor.run.sandbox import BACKENDS

    if sandbox not in BACKENDS:
        raise typer.BadParameter(f"no sandbox {sandbox!r}; expected one of {', '.join(BACKENDS)}")
    return Room(sandbox=sandbox, seconds=seconds, tokenizer=tokenizer)


def refuse(broken: "NoDistribution", *, is_heard: bool = True) -> NoReturn:
    """Say what is no distribution, unless another process does, and exit with 1."""
    if is_heard:
        print(
            f"FAIL full-distribution: {clean(broken.why, 300)}; no text can be coded with it "
            "(auditor explain full-distribution)"
        )
    raise typer.Exit(1)


def write_whole(path: Path, data: bytes) -> None:
    """Write a file so that it is there whole or not at all; ToolError where it cannot be."""
    from auditor.errors import ToolError

    temporary = path.with_name(f".{path.name}.tmp")
    try:
        temporary.write_bytes(data)
        temporary.replace(path)
    except OSError as error:
        raise ToolError(f"{path}: cannot be written ({error.strerror})") from error
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def telling() -> "Iterator[Report]":
    """Show progress on stderr, and what went wrong as one sentence: 3 for no measurement, or 2."""
    from auditor.bars import share_bar

    try:
        with share_bar() as bar:
            task = bar.add_task("loading", total=1.0)

            def report(doing: str, done: float) -> None:
                bar.update(task, description=doing, completed=done)

            yield report
    except AuditorError as error:
        print(f"auditor: {clean(error)}", file=sys.stderr)
        raise typer.Exit(3 if isinstance(error, CannotMeasure) else 2) from error

"""`encode` and `decode` over stretches of a stream; they print as `cli_proof` does."""

from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from auditor.protocol.host import NoDistribution, Progress, Room
    from auditor.protocol.partial import PartlyDecoded, PartlyEncoded
    from auditor.protocol.shards import Tokens
    from auditor.submission import Submission


def describe_encoded(output: Path, encoded: "PartlyEncoded") -> None:
    """Say what the stretches came to, and which share of the stream they are."""
    coded, ideal = encoded.coded, encoded.ideal_bits
    positions = int(encoded.header["positions"])
    error = "" if encoded.error_bits is None else f" (standard error {encoded.error_bits:.4f})"
    excess = f"{encoded.bits / ideal - 1:+.3%}" if ideal else "all"
    print(
        f"{output}: {coded:,} of {positions:,} tokens, {encoded.share:.2%}, in "
        f"{len(encoded.parts):,} stretches that record and text draw\n"
        f"{encoded.bits:,} bits, {encoded.bits / coded:.4f} a token{error}; {excess} of the "
        f"{ideal:,.0f} bits that its probabilities come to"
    )


def decode(
    submission: "Submission",
    bitstream: bytes,
    text: Path | None,
    room: "Room",
    report: "Progress",
) -> "PartlyDecoded | NoDistribution":
    """Decode the stretches of a file, told what comes before each."""
    from auditor.protocol.partial import decode as decode_stretches
    from auditor.protocol.shards import read_stream

    if text is None:
        raise typer.BadParameter(
            "the bits are those of stretches; expected --text SHARDS, of which the decoder is told "
            "what comes before each"
        )
    tokens: Tokens = read_stream(text)
    return decode_stretches(submission, bitstream, tokens, room, report)


def describe_decoded(bitstream: Path, decoded: "PartlyDecoded") -> None:
    """Say what came back, and what that proves."""
    share = decoded.tokens / decoded.positions
    print(
        f"{bitstream}: {decoded.tokens:,} tokens in {decoded.stretches:,} stretches came back, the "
        f"same that went in; the bits are a code length for {share:.2%} of the "
        f"{decoded.positions:,} tokens, and an estimate for the rest"
    )

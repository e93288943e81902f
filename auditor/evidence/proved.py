"""What the record's own system made of a text, driven by the auditor."""

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundTrip:
    """A text that came back from bits, decoded by the record's own system without the text."""

    tokens_sha256: str
    """Of the text, as 16-bit tokens."""
    positions: int
    """Tokens that were coded, all but the first."""
    text_bytes: int
    """Bytes of the text that they stand for."""
    folder_bytes: int
    """Everything that the decoder's folder holds."""
    bits: int | None
    """Of the coded tokens; None where nothing can be coded."""
    ideal_bits: float | None
    """Minus log2 of the system's probabilities, as its process reports it; None where that is no
    number, since a token had no chance at all."""
    refused_position: int | None
    """Where the system gave no distribution; None where all came back."""
    refused_total: float | None
    """What its probabilities sum to there, where that is a number."""
    refused_why: str | None

    @property
    def bits_per_byte(self) -> float | None:
        """Return the score that the bits are."""
        return None if self.bits is None else self.bits / self.text_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class BlindReplay:
    """Windows that the record's own system charged again, without the tokens after each position.

    Sums of nats are None where a token had no chance at all; in differences it costs 1,000 nats.
    """

    tokens_sha256: str
    """Of the text, as 16-bit tokens."""
    text_bytes: int | None
    """Bytes of the text that all tokens but the first stand for, where that is known."""
    folder_bytes: int
    """Everything that the folder holds in which the system charged."""
    positions: int
    """Positions of the whole text."""
    windows: int
    """Windows of the whole text."""
    replayed_windows: int
    replayed: int
    """Positions in the replayed windows."""
    fast_nats: float | None
    """What the fast pass, which gets whole windows, charged for the whole text."""
    fast_there_nats: float | None
    """What it charged for the replayed positions."""
    blind_nats: float | None
    """What the replay charged for them; a code length, whatever the fast pass did."""
    blind_error_nats: float | None
    """Standard error of the replay's mean charge, as an estimate for the whole text."""
    gained_nats: float
    """By how much the fast pass charged less than the replay, over the replayed positions."""
    root_square_nats: float
    """Root of the sum of the squares of these differences."""
    worst_nats: float
    """Largest difference between a charge of the fast pass and one of a replay."""
    worst_position: int
    tolerance_nats: float
    """Charges that differ by no more are the same."""
    differing: int
    """Positions whose charges differ by more."""
    repeated: int
    """Of these, those that were replayed once more, largest differences first."""
    unrepeated: int
    """Positions whose charge was another one when the same pass was made again."""
    noise_nats: float
    """Largest difference between two charges that the future cannot have made different."""
    miss_hundredth: float
    """Probability that no window was drawn of a leak that is in one of a hundred."""
    miss_tenth: float
    """Of a leak that is in one of ten."""
    miss_position: float
    """Of a leak at every thousandth position."""
    nonce: str
    """What the draw was made with, after the charges were in, in hexadecimal."""

    @property
    def fast_bits_per_byte(self) -> float | None:
        """Return the score that the fast pass claims."""
        if self.fast_nats is None or not self.text_bytes:
            return None
        return self.fast_nats / math.log(2) / self.text_bytes

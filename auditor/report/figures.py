"""The figures of a verdict that people compare, read from its evidence."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from auditor.report.words import number


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """The noise bound, per token and in bits."""

    tokens: int
    vocab_size: int
    source: str
    charged_nats: float
    source_nats: float
    ln_e: float
    """Nats by which the submission beat the source; at most luck for a valid one."""
    slack_nats_per_token: float | None
    reported_bits: float
    """Charged, bits per token."""
    source_bits: float
    """What the source that drew the stream needs, bits per token."""
    uniform_bits: float
    """log2 V: what a submission without any knowledge needs."""
    before_bits: float | None
    """Charged before adaptation, bits per token; None when the submission prints no such score."""


@dataclass(frozen=True, slots=True)
class Row:
    """One key figure: what it is, its unit, and its value as text (empty when unknown)."""

    name: str
    unit: str
    value: str


def fact(document: Mapping[str, Any], kind: str) -> Mapping[str, Any] | None:
    """The evidence of this kind, or None when it is absent."""
    found = document["evidence"].get(kind)
    return found if isinstance(found, Mapping) and "absent" not in found else None


def noise(document: Mapping[str, Any]) -> Noise | None:
    """The noise bound of a verdict, or None when it was not measured on any token."""
    bound = fact(document, "NoiseBound")
    if bound is None or bound["tokens"] < 1 or bound["vocab_size"] < 1:
        return None
    tokens = bound["tokens"]
    slack = bound["slack_nats_per_token"]
    source_bits = bound["source_nats"] / tokens / math.log(2)
    return Noise(
        tokens=tokens,
        vocab_size=bound["vocab_size"],
        source=bound["source"],
        charged_nats=bound["charged_nats"],
        source_nats=bound["source_nats"],
        ln_e=bound["source_nats"] - bound["charged_nats"],
        slack_nats_per_token=slack,
        reported_bits=bound["charged_nats"] / tokens / math.log(2),
        source_bits=source_bits,
        uniform_bits=math.log2(bound["vocab_size"]),
        before_bits=None if slack is None else source_bits + slack / math.log(2),
    )


def artifact_bytes(document: Mapping[str, Any]) -> int | None:
    """Code and model bytes of the largest run, recounted where the model was shipped."""
    shipped = fact(document, "ShippedBytes")
    if shipped is not None and shipped["models"]:
        return int(sum(shipped["code"].values()) + max(shipped["models"].values()))
    logged = fact(document, "LoggedNumbers")
    totals = [log["total_bytes"] for log in logged["logs"]] if logged is not None else []
    return max((total for total in totals if total is not None), default=None)


def rows(document: Mapping[str, Any]) -> tuple[Row, ...]:
    """The key figures in the order in which they are read, the same for every verdict."""
    bound = noise(document)
    claims = document["submission"]["claims"] or {}
    claimed = claims.get("val_bpb")
    size = artifact_bytes(document)
    replay = fact(document, "BlindReplay") or {}
    unseen = f"{replay['miss_tenth']:.2g}" if replay else ""
    return (
        Row("claimed score", "bits/byte", "" if claimed is None else f"{claimed:.4f}"),
        Row("artifact", "bytes", "" if size is None else number(size)),
        Row("reported on noise", "bits/token", f"{bound.reported_bits:.4f}" if bound else ""),
        Row("needed by the source", "bits/token", f"{bound.source_bits:.4f}" if bound else ""),
        Row("log2 V", "bits/token", f"{bound.uniform_bits:.4f}" if bound else ""),
        Row("ln E, beat the source by", "nats", f"{bound.ln_e:,.1f}" if bound else ""),
        Row("charged", "nats", f"{bound.charged_nats:,.1f}" if bound else ""),
        Row("source", "nats", f"{bound.source_nats:,.1f}" if bound else ""),
        Row("charged again blindly", "positions", number(replay.get("replayed", ""))),
        Row("of these otherwise", "positions", number(replay.get("differing", ""))),
        Row("leak in a tenth unseen", "probability", unseen),
        Row("slack before adaptation", "nats/token", _slack(bound)),
    )


def _slack(bound: Noise | None) -> str:
    """The slack, which is small and can have either sign."""
    if bound is None or bound.slack_nats_per_token is None:
        return ""
    return f"{bound.slack_nats_per_token:+.5f}"

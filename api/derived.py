"""What lists show of a verdict, read out of its document."""

import math
from collections.abc import Mapping
from typing import Any

Document = Mapping[str, Any]
NEAR_BPB = 0.02
"""Seeds of one claim lie within it; an ablation's log does not (`LoggedNumbers.near`)."""


def summary_of(document: Document) -> dict[str, Any]:
    """The columns of a SummaryRow."""
    submission = document["submission"]
    claimed = _number((submission.get("claims") or {}).get("val_bpb"))
    return {
        "submission": submission["digests"]["submission"],
        "folder": submission["folder"],
        "claimed_bpb": claimed,
        "verified_bpb": _logged(document, claimed) if document["outcome"] == "pass" else None,
    }


def outcomes_of(document: Document) -> dict[str, str]:
    """Rule -> outcome."""
    return {result["rule"]: result["outcome"] for result in document["results"]}


def _logged(document: Document, claimed: float | None) -> float | None:
    """Mean final score of the logs of the claimed runs."""
    logged = document["evidence"].get("LoggedNumbers") or {}
    finals = [_number((log.get("final") or {}).get("val_bpb")) for log in logged.get("logs", ())]
    near = [
        final
        for final in finals
        if final is not None and (claimed is None or abs(final - claimed) < NEAR_BPB)
    ]
    return math.fsum(near) / len(near) if near else None


def _number(value: object) -> float | None:
    """A finite number, or None: a submission may claim anything."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)

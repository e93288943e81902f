"""What every format shows: the records with their verdicts, and the rules about the change itself.

Formats read plain documents, so that a stored verdict looks like a fresh one. A verdict never says
that somebody accepts a finding; that is said beside it, by whoever asked.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from auditor.report.json_v1 import SCHEMA, digest_of
from auditor.report.words import clean, place

Document = Mapping[str, Any]
GATE_SCHEMA = "strict-prefix/gate/v1"
_NUMBER = re.compile(r"\d[\d,.]*")
_LAYER = re.compile(r"(?P<file>.+) \(layer \d+(, part \d+)?\)", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Acceptance:
    """Why somebody lives with a finding."""

    reason: str
    by: str
    """`baseline` or `comment`."""
    until: str | None = None
    """Last day on which it holds, as YYYY-MM-DD."""
    counts: bool = True
    """False where it is shown and changes nothing: an author cannot accept their own fault."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One finding with all that a format needs."""

    rule: str
    outcome: str
    """Of the rule: a finding of a rule that could not be decided is a hint."""
    strength: str | None
    message: str
    location: Mapping[str, Any]
    fingerprint: str
    accepted: Acceptance | None = None

    @property
    def place(self) -> str:
        """`file:line`, the position, or both."""
        return place(self.location)

    @property
    def acceptance(self) -> str:
        """Who accepts it, until when and why; empty where nobody does."""
        if self.accepted is None:
            return ""
        reason = clean(self.accepted.reason, 400)
        if self.accepted.by == "comment":
            said = "accepted in" if self.accepted.counts else "its author accepts it, in"
            no = "" if self.accepted.counts else ", which does not count here"
            return f"{said} a comment{no}: {reason}"
        if self.accepted.counts:
            return f"accepted until {self.accepted.until}: {reason}"
        return f"was accepted until {self.accepted.until}, which is over: {reason}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One record folder: its verdict, or why there is none."""

    folder: str
    """Path where that is known, else the folder's name."""
    verdict: Document | None
    error: str | None = None
    change: str | None = None
    """`added`, `edited`, `renamed`, `copied` or `deleted`; None outside a change."""
    origin: str | None = None
    """Where a renamed or copied folder comes from."""
    accepted: Mapping[str, Acceptance] = field(default_factory=dict)
    """Fingerprint -> acceptance."""

    @property
    def findings(self) -> tuple[Seen, ...]:
        """Every finding of the verdict, in its order."""
        if self.verdict is None:
            return ()
        return findings(self.verdict["results"], self.folder, self.accepted)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Everything that is shown at once."""

    entries: tuple[Entry, ...]
    outcome: str
    """The worst of all, after what is accepted."""
    results: Sequence[Document] = ()
    """Answers of the rules about the change itself."""
    accepted: Mapping[str, Acceptance] = field(default_factory=dict)
    """The same of the findings of these."""

    @classmethod
    def of_verdicts(cls, documents: Sequence[Document]) -> "Report":
        """A report of verdicts alone."""
        entries = tuple(
            Entry(folder=document["submission"]["folder"], verdict=document)
            for document in documents
        )
        return cls(entries=entries, outcome=worst(d["outcome"] for d in documents))

    @classmethod
    def of_gate(cls, document: Document) -> "Report":
        """A report of a change: what `auditor gate` found."""
        entries = tuple(
            Entry(
                folder=record["folder"],
                verdict=record["verdict"],
                error=record["error"],
                change=record["change"],
                origin=record["origin"],
                accepted=_acceptances(record["accepted"]),
            )
            for record in document["records"]
        )
        return cls(
            entries=entries,
            outcome=document["outcome"],
            results=document["results"],
            accepted=_acceptances(document["accepted"]),
        )

    @property
    def verdicts(self) -> list[Document]:
        """The verdicts that there are."""
        return [entry.verdict for entry in self.entries if entry.verdict is not None]

    @property
    def findings(self) -> tuple[Seen, ...]:
        """Findings about the change itself."""
        return findings(self.results, "", self.accepted)


def _acceptances(stored: Sequence[Document]) -> dict[str, Acceptance]:
    return {
        one["finding"]: Acceptance(
            reason=one["reason"], by=one["by"], until=one["until"], counts=one["counts"]
        )
        for one in stored
    }


def worst(outcomes: Iterable[str]) -> str:
    """FAIL beats INCONCLUSIVE beats PASS; of nothing, PASS."""
    seen = set(outcomes)
    return next((one for one in ("fail", "inconclusive") if one in seen), "pass")


def findings(
    results: Sequence[Document], folder: str, accepted: Mapping[str, Acceptance]
) -> tuple[Seen, ...]:
    """The findings of results, each with a fingerprint.

    A fingerprint is made of folder name, rule, file and the line that was pointed at, never of a
    line number, so an edit elsewhere in the file leaves it. Without a line it is made of the
    message without its numbers. Equal ones are counted.
    """
    times: Counter[str] = Counter()
    found = []
    for result in results:
        for item in result["findings"]:
            where = item["location"]
            line = _NUMBER.sub("#", item["message"]) if where["text"] is None else where["text"]
            name = folder.rstrip("/").rsplit("/", 1)[-1]
            parts = (name, result["rule"], where["file"] or "", " ".join(line.split()))
            same = "\0".join(parts)
            times[same] += 1
            data = f"{same}\0{times[same]}".encode("utf-8", "backslashreplace")
            fingerprint = hashlib.sha256(data).hexdigest()[:32]
            found.append(
                Seen(
                    rule=result["rule"],
                    outcome=result["outcome"],
                    strength=result["strength"],
                    message=clean(item["message"]),
                    location=where,
                    fingerprint=fingerprint,
                    accepted=accepted.get(fingerprint),
                )
            )
    return tuple(found)


def packed_in(document: Document, file: str) -> str | None:
    """The shipped file that a layer of unpacked source came out of; None for a shipped file."""
    layer = _LAYER.fullmatch(file)
    if file in document["submission"]["digests"]["files"] or layer is None:
        return None
    return layer["file"]


def is_gate(document: Any) -> bool:
    """Whether a document is that of a gate, with unchanged verdicts."""
    return document["schema"] == GATE_SCHEMA and all(
        is_verdict(record["verdict"]) for record in document["records"] if record["verdict"]
    )


def is_verdict(document: Any) -> bool:
    """Whether a document is an unchanged verdict of this version."""
    return bool(document["schema"] == SCHEMA and document["digest"] == digest_of(document))

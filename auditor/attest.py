"""Verdicts that can be signed and checked: an in-toto statement in a DSSE envelope.

The statement's subjects are the files that were judged, by SHA-256; its predicate is the verdict,
whole, and the digest of all of it. An envelope without signatures has the same form: it says what
was found, and nobody vouches. A file is the canonical JSON (RFC 8785) of its envelope and a line
feed, so no byte of it is free.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import rfc8785
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import FormatError, VerificationError
from securesystemslib.signer import CryptoSigner, SSlibKey

from auditor.errors import SubmissionError
from auditor.report.json_v1 import SCHEMA, digest_of
from auditor.report.words import clean
from auditor.verdict import Outcome, combined

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "urn:strict-prefix:verdict:v1"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
MAX_ENVELOPE_BYTES = 64 * 2**20
_KINDS = {"ruleset": str, "engine": str, "results": list, "evidence": dict}
_MALFORMED = (ValueError, KeyError, TypeError, AttributeError, RecursionError, FormatError)


@dataclass(frozen=True, slots=True)
class Opened:
    """An envelope, read."""

    document: Mapping[str, Any]
    """The verdict."""
    envelope: Envelope


def attest(document: Mapping[str, Any], key: Ed25519PrivateKey | None) -> bytes:
    """Return the envelope file of a verdict document, signed where there is a key."""
    files: Mapping[str, str] = document["submission"]["digests"]["files"]
    statement: dict[str, Any] = {
        "_type": STATEMENT_TYPE,
        "subject": _subjects(files),
        "predicateType": PREDICATE_TYPE,
        "predicate": {"verdict": dict(document), "sha256": _digest(document)},
    }
    return seal(rfc8785.dumps(statement), PAYLOAD_TYPE, key)


def seal(payload: bytes, payload_type: str, key: Ed25519PrivateKey | None) -> bytes:
    """Return the envelope file of any payload, such as the head of a log."""
    envelope = Envelope(payload, payload_type, {})
    if key is not None:
        envelope.sign(CryptoSigner(key))
    return _file_of(envelope)


def open_envelope(data: bytes) -> Opened:
    """Return the verdict of an envelope file.

    SubmissionError begins with the part that is wrong: the envelope, the statement, the verdict or
    the subjects. Signatures are `signature_problem`'s business.
    """
    try:
        if len(data) > MAX_ENVELOPE_BYTES:
            raise ValueError(
                f"it has {len(data):,} bytes, over the limit of {MAX_ENVELOPE_BYTES:,}"
            )
        envelope = Envelope.from_dict(json.loads(data))
        if _file_of(envelope) != data:
            raise ValueError("its bytes are not the canonical form of what they say")
        if envelope.payload_type != PAYLOAD_TYPE:
            raise ValueError(f"its payload is {_short(envelope.payload_type)}")
        if not all(isinstance(keyid, str) for keyid in envelope.signatures):
            raise ValueError("a key's id is no text")
    except _MALFORMED as error:
        raise SubmissionError(
            f"the envelope: expected DSSE with {PAYLOAD_TYPE}, but {_why(error)}"
        ) from error
    try:
        statement = json.loads(envelope.payload)
        if rfc8785.dumps(statement) != envelope.payload:
            raise ValueError("its bytes are not the canonical form of what they say")
        found = [statement["_type"], statement["predicateType"]]
        if found != [STATEMENT_TYPE, PREDICATE_TYPE] or len(statement) != 4:
            raise ValueError(f"it is {_short(found)}")
        predicate, subjects = statement["predicate"], statement["subject"]
    except _MALFORMED as error:
        raise SubmissionError(
            f"the statement: expected {STATEMENT_TYPE} about {PREDICATE_TYPE}, but {_why(error)}"
        ) from error
    try:
        document = predicate["verdict"]
        if len(predicate) != 2:
            raise ValueError(f"beside it stands {_short(sorted(predicate))}")
        _check_verdict(document, predicate["sha256"])
        expected = _subjects(document["submission"]["digests"]["files"])
    except _MALFORMED as error:
        raise SubmissionError(
            f"the verdict: expected an unchanged {SCHEMA}, but {_why(error)}"
        ) from error
    if subjects != expected:
        raise SubmissionError(
            "the subjects: expected the digests of the files that the verdict judges, found others"
        )
    return Opened(document, envelope)


def _check_verdict(document: dict[str, Any], sha256: str) -> None:
    """ValueError when a verdict was changed or contradicts itself."""
    if _digest(document) != sha256:
        raise ValueError(
            f"it has been changed: its SHA-256 is {_digest(document)[:12]}..., the statement has "
            f"{_short(sha256)}"
        )
    if document["schema"] != SCHEMA:
        raise ValueError(f"its schema is {_short(document['schema'])}")
    for name, kind in _KINDS.items():
        if not isinstance(document[name], kind):
            raise TypeError(f"its {name} is {_short(document[name])}")
    if document["digest"] != (said := digest_of(document)):
        raise ValueError(f"its digest is {said[:12]}..., and it names {_short(document['digest'])}")
    digests = document["submission"]["digests"]
    if not all(isinstance(sha256, str) for sha256 in digests["files"].values()):
        raise TypeError("a file's digest is no text")
    if digests["submission"] != (whole := _digest(digests["files"])):
        raise ValueError(
            f"its files come to {whole[:12]}..., and it names {_short(digests['submission'])}"
        )
    if not all(isinstance(result["rule"], str) for result in document["results"]):
        raise TypeError("a rule's name is no text")
    outcome = combined(Outcome(result["outcome"]) for result in document["results"]).value
    if document["outcome"] != outcome:
        raise ValueError(
            f"it says {_short(document['outcome'])}, and its results come to {outcome!r}"
        )


def signature_problem(envelope: Envelope, key: Ed25519PublicKey) -> str | None:
    """Return what keeps this key from vouching for an envelope; None when it does."""
    wanted = SSlibKey.from_crypto(key)
    if not envelope.signatures:
        return f"the signature: expected one of key {wanted.keyid[:12]}..., found none"
    if set(envelope.signatures) != {wanted.keyid}:
        return (
            f"the signature: expected one of key {wanted.keyid[:12]}..., found one of "
            f"{signers(envelope)}"
        )
    try:
        envelope.verify([wanted], 1)
    except (VerificationError, *_MALFORMED):
        return (
            f"the signature: that of key {wanted.keyid[:12]}... is not over this statement; one of "
            "the two has been changed"
        )
    return None


def signers(envelope: Envelope) -> str:
    """Name the keys that an envelope says it was signed with."""
    named = ", ".join(f"{_short(keyid[:12])}..." for keyid in envelope.signatures)
    return named or "nobody"


def file_problems(document: Mapping[str, Any], digests: Mapping[str, str]) -> list[str]:
    """Return a sentence for each file that is not the one that was judged."""
    judged: Mapping[str, str] = document["submission"]["digests"]["files"]
    problems = []
    for path in sorted(judged.keys() | digests.keys()):
        wanted, got = judged.get(path, "no such file"), digests.get(path, "no such file")
        if wanted != got:
            problems.append(
                f"{path}: expected the file that was judged ({wanted[:12]}), found {got[:12]}"
            )
    return problems


def result_problems(
    document: Mapping[str, Any], again: Mapping[str, Any], needs: Mapping[str, Sequence[str]]
) -> tuple[list[str], list[str]]:
    """Compare results with those of reading again; return sentences, and rules left uncompared.

    `needs` has the kinds of evidence that each rule judges by. Rules that judged by what was not
    collected again, such as a run, cannot be compared.
    """
    fresh = again["evidence"]
    gone = {
        kind
        for kind, fact in document["evidence"].items()
        if _present(fact) and not _present(fresh.get(kind))
    }
    stored = {result["rule"]: result for result in document["results"]}
    results = {result["rule"]: result for result in again["results"]}
    problems, uncompared = [], []
    for rule in {**stored, **results}:
        if rule not in stored:
            problems.append(f"the verdict: it has no result of {rule}, which its ruleset asks for")
        elif rule not in results or gone.intersection(needs[rule]):
            uncompared.append(rule)
        elif stored[rule] != results[rule]:
            then, now = stored[rule]["outcome"], results[rule]["outcome"]
            problems.append(
                f"the verdict: {rule} was {then}, and reading the same files again gives {now}"
                if then != now
                else f"the verdict: {rule} was {then} for reasons that reading again does not give"
            )
    return problems, uncompared


def _present(fact: object) -> bool:
    return isinstance(fact, dict) and set(fact) != {"absent"}


def _subjects(files: Mapping[str, str]) -> list[dict[str, Any]]:
    return [{"name": path, "digest": {"sha256": sha256}} for path, sha256 in sorted(files.items())]


def _digest(value: Mapping[str, Any]) -> str:
    return hashlib.sha256(rfc8785.dumps(dict(value))).hexdigest()


def _file_of(envelope: Envelope) -> bytes:
    return rfc8785.dumps(envelope.to_dict()) + b"\n"


def _short(value: object) -> str:
    """What a hostile file says, as one harmless piece."""
    return clean(repr(value), 120)


def _why(error: Exception) -> str:
    return f"it has no {error}" if isinstance(error, KeyError) else str(error)

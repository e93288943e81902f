"""The log of verdicts: each gets the next place, and a head stands for all of them (RFC 6962).

A leaf is a verdict's document, byte for byte as it is served. Who keeps a head can ask later
whether the log has only grown since, and whether a verdict is in it.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from api.db import Database
from api.tables import LogRow, VerdictRow
from auditor.merkle import Hash, consistency_proof, inclusion_proof, leaf_hash, root_of

HEAD_TYPE = "application/vnd.strict-prefix.log-head+json"
"""Payload type of a head in its envelope."""


def append(database: Database, session: Session, row: VerdictRow) -> None:
    """Keep a verdict and give it its place, both in one transaction."""
    session.add(row)
    session.flush()
    # What is kept is what will be served.
    session.refresh(row, ["document"])
    database.take_turns(session, "log")
    last = session.scalar(select(func.max(LogRow.place)))
    place = 0 if last is None else last + 1
    leaf = leaf_hash(row.document.encode()).hex()
    session.add(LogRow(place=place, verdict_id=row.id, leaf=leaf))


def head(session: Session) -> dict[str, Any]:
    """Size and root of the log."""
    return _head(_leaves(session))


def inclusion(session: Session, verdict_id: str) -> dict[str, Any]:
    """The proof that a verdict is in the log as it is now."""
    row = session.scalars(select(LogRow).where(LogRow.verdict_id == verdict_id)).one()
    leaves = _leaves(session)
    proof = _hex(inclusion_proof(leaves, row.place))
    return {"place": row.place, "leaf": row.leaf, "proof": proof, **_head(leaves)}


def consistency(session: Session, first: int) -> dict[str, Any]:
    """The proof that the log as it is now begins with the one of an earlier size.

    ValueError where it never had that size.
    """
    leaves = _leaves(session)
    proof = _hex(consistency_proof(leaves, first))
    return {"first": _head(leaves[:first]), "proof": proof, **_head(leaves)}


def _head(leaves: Sequence[Hash]) -> dict[str, Any]:
    return {"size": len(leaves), "root": root_of(leaves).hex()}


def _leaves(session: Session) -> list[Hash]:
    rows = session.scalars(select(LogRow.leaf).order_by(LogRow.place))
    return [bytes.fromhex(leaf) for leaf in rows]


def _hex(hashes: Sequence[Hash]) -> list[str]:
    return [each.hex() for each in hashes]

"""Finding audits and verdicts: filters, one order each, and where the next page begins."""

import base64
import binascii
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from fastapi import HTTPException
from sqlalchemy import ColumnElement, Select, and_, exists, false, or_, select
from sqlalchemy.orm import Session, aliased, joinedload

from api.tables import (
    AppealRow,
    AuditRow,
    RejudgeRow,
    RuleOutcomeRow,
    SummaryRow,
    SupersededRow,
    VerdictRow,
)

MOST = 200
"""Entries of one page, which a client may ask for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which verdicts; what is None does not matter."""

    outcome: str | None = None
    ruleset: str | None = None
    rule: str | None = None
    rule_outcome: str = "fail"
    """Of `rule`."""
    submission: str | None = None
    """Digest of the files."""
    text: str | None = None
    """Somewhere in the folder's or the archive's name."""
    current: bool = True
    """Without superseded ones, and without those of a set that is not applied."""


Listed = tuple[VerdictRow, SummaryRow]


def verdicts(
    session: Session, wanted: Wanted, limit: int, after: str | None
) -> tuple[Sequence[Listed], str | None]:
    """The newest first, and the cursor of the next page."""
    query = _select(wanted).order_by(VerdictRow.created.desc(), VerdictRow.id.desc())
    if after is not None:
        when, key = position(after, str, str)
        moment = _moment(when)
        older = and_(VerdictRow.created == moment, VerdictRow.id < key)
        query = query.where(or_(VerdictRow.created < moment, older))
    found = [(verdict, summary) for verdict, summary in session.execute(query.limit(limit + 1))]
    if len(found) <= limit:
        return found, None
    found = found[:limit]
    last = found[-1][0]
    return found, cursor(last.created.isoformat(), last.id)


def ranking(
    session: Session, ruleset: str, limit: int, after: str | None
) -> tuple[Sequence[Listed], str | None]:
    """The one order of scores: the lowest claim first, one verdict for each submission.

    Of several it is one that executed, then one without trouble, then the newest: reading again
    must not take the place of a verdict that rests on more.
    """
    best, audit = aliased(VerdictRow), aliased(AuditRow)
    summary = aliased(SummaryRow)
    better = (
        select(best.id)
        .join(audit, audit.id == best.audit_id)
        .join(summary, summary.verdict_id == best.id)
        .where(summary.submission == SummaryRow.submission, best.id != VerdictRow.id)
        .where(best.ruleset == ruleset, *_current(best, audit))
        .where(
            or_(
                and_(audit.run, ~AuditRow.run),
                and_(audit.run == AuditRow.run, VerdictRow.trouble, ~best.trouble),
                and_(
                    audit.run == AuditRow.run,
                    VerdictRow.trouble == best.trouble,
                    or_(
                        best.created > VerdictRow.created,
                        and_(best.created == VerdictRow.created, best.id > VerdictRow.id),
                    ),
                ),
            )
        )
    )
    query = (
        _select(Wanted(ruleset=ruleset))
        .where(SummaryRow.claimed_bpb.is_not(None), ~exists(better))
        .order_by(SummaryRow.claimed_bpb, VerdictRow.id)
    )
    if after is not None:
        score, key = position(after, float, str)
        equal = and_(SummaryRow.claimed_bpb == score, VerdictRow.id > key)
        query = query.where(or_(SummaryRow.claimed_bpb > score, equal))
    found = [(verdict, summed) for verdict, summed in session.execute(query.limit(limit + 1))]
    if len(found) <= limit:
        return found, None
    found = found[:limit]
    verdict, summed = found[-1]
    return found, cursor(summed.claimed_bpb, verdict.id)


def audits(
    session: Session, state: str | None, batch: str | None, limit: int, after: str | None
) -> tuple[Sequence[AuditRow], str | None]:
    """The newest first, and the cursor of the next page."""
    query = select(AuditRow).order_by(AuditRow.created.desc(), AuditRow.id.desc())
    query = query.options(joinedload(AuditRow.submission), joinedload(AuditRow.verdict))
    if state is not None:
        query = query.where(AuditRow.state == state)
    if batch is not None:
        query = query.where(AuditRow.batch == batch)
    if after is not None:
        when, key = position(after, str, str)
        moment = _moment(when)
        older = and_(AuditRow.created == moment, AuditRow.id < key)
        query = query.where(or_(AuditRow.created < moment, older))
    rows = list(session.scalars(query.limit(limit + 1)))
    if len(rows) <= limit:
        return rows, None
    rows = rows[:limit]
    last = rows[-1]
    return rows, cursor(last.created.isoformat(), last.id)


def oldest_first(
    session: Session, query: Select[AppealRow], limit: int, after: str | None
) -> tuple[Sequence[AppealRow], str | None]:
    """Appeals as they came, and the cursor of the next page."""
    query = query.order_by(AppealRow.created, AppealRow.id)
    if after is not None:
        when, key = position(after, str, str)
        moment = _moment(when)
        later = and_(AppealRow.created == moment, AppealRow.id > key)
        query = query.where(or_(AppealRow.created > moment, later))
    rows = list(session.scalars(query.limit(limit + 1)))
    if len(rows) <= limit:
        return rows, None
    last = rows[limit - 1]
    return rows[:limit], cursor(last.created.isoformat(), last.id)


def _select(wanted: Wanted) -> Select[VerdictRow, SummaryRow]:
    query = (
        select(VerdictRow, SummaryRow)
        .join(SummaryRow, SummaryRow.verdict_id == VerdictRow.id)
        .join(AuditRow, AuditRow.id == VerdictRow.audit_id)
        .options(joinedload(VerdictRow.audit))
    )
    if wanted.outcome is not None:
        query = query.where(VerdictRow.outcome == wanted.outcome)
    if wanted.ruleset is not None:
        query = query.where(VerdictRow.ruleset == wanted.ruleset)
    if wanted.submission is not None:
        query = query.where(SummaryRow.submission == wanted.submission)
    if wanted.text:
        found = [
            column.icontains(wanted.text, autoescape=True)
            for column in (SummaryRow.folder, AuditRow.name)
        ]
        query = query.where(or_(false(), *found))
    if wanted.rule is not None:
        query = query.where(
            exists().where(
                RuleOutcomeRow.verdict_id == VerdictRow.id,
                RuleOutcomeRow.rule == wanted.rule,
                RuleOutcomeRow.outcome == wanted.rule_outcome,
            )
        )
    if wanted.current:
        query = query.where(*_current(VerdictRow, AuditRow))
    return query


def _current(verdict: Any, audit: Any) -> tuple[ColumnElement[bool], ...]:
    """The conditions that a verdict counts today."""
    applied = exists().where(RejudgeRow.id == audit.rejudge_id, RejudgeRow.state == "applied")
    return (
        ~exists().where(SupersededRow.verdict_id == verdict.id),
        or_(audit.rejudge_id.is_(None), applied),
    )


def cursor(*position: object) -> str:
    """Where a page ended, as text that means nothing to others."""
    return base64.urlsafe_b64encode(json.dumps(position).encode()).decode().rstrip("=")


def position(text: str, *kinds: type) -> tuple[Any, ...]:
    """The position in a cursor; a 422 for what is none of ours."""
    try:
        position = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        if [type(part) for part in position] != list(kinds):
            raise ValueError
    except (ValueError, TypeError, RecursionError, binascii.Error) as error:
        raise HTTPException(422, "after: expected the cursor of an earlier page") from error
    return tuple(position)


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise HTTPException(422, "after: expected the cursor of an earlier page") from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)

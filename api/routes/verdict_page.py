"""A verdict's page: what was said, and what people added to it since.

It is drawn once for each state: the verdict never changes, and one query says whether anything
beside it did.
"""

import json
from collections.abc import Hashable
from typing import Any

from fastapi import APIRouter, Request, Response
from sqlalchemy import BindParameter, Select, bindparam, func, select
from sqlalchemy.orm import Session, aliased

from api import search
from api.access import NOBODY, Actor, Scope
from api.errors import not_found
from api.routes.dependencies import DrawnDep, ReaderDep, StoreDep
from api.routes.verdicts import Format
from api.search import Wanted
from api.tables import (
    AppealRow,
    AuditRow,
    NoteRow,
    RejudgeRow,
    SummaryRow,
    SupersededRow,
    VerdictRow,
)
from api.web import draw, tagged

router = APIRouter(include_in_schema=False)

MOST_OTHERS = 10


@router.get("/verdicts/{verdict_id}")
def read_verdict_page(
    request: Request, actor: ReaderDep, store: StoreDep, drawn: DrawnDep, verdict_id: str
) -> Response:
    """A verdict with what people added to it."""
    with store.database.read() as session:
        key = (verdict_id, _state(session, verdict_id), _seen_as(actor))
        body = drawn.body(key, lambda: _draw(session, verdict_id, actor))
    return tagged(request, body)


def _state(session: Session, verdict_id: str) -> Hashable:
    """All of the page that can change; rows are only added, and an appeal is answered once."""
    row = session.execute(_STATE, {"verdict": verdict_id}).one_or_none()
    if row is None:
        raise not_found("verdict", verdict_id)
    return tuple(row)


def _seen_as(actor: Actor) -> Hashable:
    """All that the templates ask of who looks."""
    return actor is NOBODY, actor.by_session, actor.may(Scope.SUBMIT), actor.may(Scope.REVIEW)


def _draw(session: Session, verdict_id: str, actor: Actor) -> str:
    row = session.get_one(VerdictRow, verdict_id)
    summary = session.get_one(SummaryRow, verdict_id)
    newer = session.get(SupersededRow, verdict_id)
    appeals = select(AppealRow).where(AppealRow.verdict_id == verdict_id)
    notes = select(NoteRow).where(NoteRow.verdict_id == verdict_id)
    values: dict[str, Any] = {
        "verdict": row,
        "audit": row.audit,
        "summary": summary,
        "document": json.loads(row.document),
        "newer": newer and newer.by_id,
        "pending": _pending(session, row),
        "others": _others(session, row, summary),
        "appeals": session.scalars(appeals.order_by(AppealRow.created)).all(),
        "notes": session.scalars(notes.order_by(NoteRow.id)).all(),
        "formats": list(Format),
    }
    return draw("verdict.html.j2", actor, values)


def _pending(session: Session, row: VerdictRow) -> RejudgeRow | None:
    """The set that a verdict belongs to, while it is not applied."""
    if row.audit.rejudge_id is None:
        return None
    found = session.get_one(RejudgeRow, row.audit.rejudge_id)
    return None if found.state == "applied" else found


def _others(session: Session, row: VerdictRow, summary: SummaryRow) -> list[VerdictRow]:
    """The latest other verdicts on the same files."""
    wanted = Wanted(submission=summary.submission, current=False)
    found, _ = search.verdicts(session, wanted, MOST_OTHERS + 1, None)
    return [verdict for verdict, _ in found if verdict.id != row.id][:MOST_OTHERS]


def _state_query() -> Select[Any]:
    beside = aliased(SummaryRow)
    this: BindParameter[str] = bindparam("verdict")
    count = select(func.count())
    appeals = count.where(AppealRow.verdict_id == this)
    return (
        select(
            SupersededRow.by_id,
            RejudgeRow.state,
            appeals.scalar_subquery(),
            appeals.where(AppealRow.state != "open").scalar_subquery(),
            count.where(NoteRow.verdict_id == this).scalar_subquery(),
            count.where(beside.submission == SummaryRow.submission).scalar_subquery(),
        )
        .select_from(SummaryRow)
        .join(VerdictRow, VerdictRow.id == SummaryRow.verdict_id)
        .join(AuditRow, AuditRow.id == VerdictRow.audit_id)
        .outerjoin(SupersededRow, SupersededRow.verdict_id == VerdictRow.id)
        .outerjoin(RejudgeRow, RejudgeRow.id == AuditRow.rejudge_id)
        .where(SummaryRow.verdict_id == this)
    )


_STATE = _state_query()
"""Made once: putting it together costs more than asking it."""

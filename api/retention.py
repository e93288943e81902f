"""How long archives are kept; verdicts are kept for good.

An archive goes when its last audit is older than the operator wants and nothing depends on it any
more: no audit of it waits or runs, no appeal against a verdict on it is open, and it is in no
rejudge set that is undecided. Its row stays and says when; who hands the same bytes in again brings
the archive back.
"""

import argparse
import re
import sys
from datetime import UTC, datetime, timedelta

from sqlalchemy import ColumnElement, exists, func, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from api.blobs import AnyBlobs, blobs_of
from api.db import Database
from api.errors import StartError
from api.keys import note
from api.settings import Settings
from api.tables import UNENDED, AppealRow, AuditRow, RejudgeRow, SubmissionRow, VerdictRow

AT_A_TIME = 100
UNITS = {"d": "days", "h": "hours"}
_AGE = re.compile(r"(\d{1,5})([dh])")


def age(text: str) -> timedelta:
    """90d or 12h as a length of time."""
    found = _AGE.fullmatch(text)
    if found is None:
        raise argparse.ArgumentTypeError(f"expected a number with d or h, as 90d, got {text!r}")
    return timedelta(**{UNITS[found[2]]: int(found[1])})


def options_of_retain(parser: argparse.ArgumentParser) -> None:
    """The options of `python -m api retain`."""
    parser.add_argument(
        "--older-than",
        required=True,
        type=age,
        metavar="AGE",
        help="since its last audit: 90d, 12h",
    )
    parser.add_argument("--dry-run", action="store_true", help="only say what would go")


def run_retain(settings: Settings, wanted: argparse.Namespace) -> int:
    """Do it, beside a running service or without one; the answer is the exit code."""
    database = Database(settings.database or Database.embedded_url(settings.data))
    try:
        database.migrate()
        before = datetime.now(UTC) - wanted.older_than
        dry = getattr(wanted, "dry_run", False)
        count, size = retain(database, blobs_of(settings), before, dry=dry)
    except SQLAlchemyError as error:
        reason = str(error).splitlines()[0]
        raise StartError(f"the database cannot be used: {reason}") from error
    finally:
        database.close()
    verb = "would go" if dry else "dropped"
    sys.stdout.write(f"{verb}: {count:,} archives of {size:,} bytes; every verdict stays\n")
    return 0


def retain(
    database: Database, blobs: AnyBlobs, before: datetime, *, dry: bool = False
) -> tuple[int, int]:
    """Drop what nothing needs since `before`: how many archives, and of how many bytes."""
    count = size = 0
    after = ""
    while True:
        with database.read() as session:
            query = select(SubmissionRow.sha256, SubmissionRow.size).where(
                SubmissionRow.sha256 > after, *_unneeded(before)
            )
            found = session.execute(query.order_by(SubmissionRow.sha256).limit(AT_A_TIME)).all()
        for row in found:
            if dry or _drop(database, blobs, row.sha256, before):
                count, size = count + 1, size + row.size
        if len(found) < AT_A_TIME:
            return count, size
        after = found[-1].sha256


def _drop(database: Database, blobs: AnyBlobs, sha256: str, before: datetime) -> bool:
    """Drop one archive; False when somebody has come to need it."""
    with database.write() as session:
        # Who hands the same bytes in waits for this row, and puts the archive back.
        query = select(SubmissionRow).where(SubmissionRow.sha256 == sha256).with_for_update()
        row = session.scalar(query)
        if row is None or not _still(session, sha256, before):
            return False
        row.dropped = datetime.now(UTC)
        note(session, "command", "archive dropped", sha256, f"{row.size} bytes")
        session.flush()
        # Last: if it fails, nothing was said; if the commit fails, the row is found again.
        blobs.drop(sha256)
    return True


def _still(session: Session, sha256: str, before: datetime) -> bool:
    query = select(func.count()).where(SubmissionRow.sha256 == sha256, *_unneeded(before))
    return bool(session.scalar(query))


def _unneeded(before: datetime) -> tuple[ColumnElement[bool], ...]:
    """The conditions that nothing needs an archive."""
    mine = AuditRow.submission_sha256 == SubmissionRow.sha256
    last = func.coalesce(AuditRow.finished, AuditRow.created)
    appealed = (
        exists()
        .where(mine, VerdictRow.audit_id == AuditRow.id)
        .where(AppealRow.verdict_id == VerdictRow.id, AppealRow.state == "open")
    )
    undecided = exists().where(
        mine, AuditRow.rejudge_id == RejudgeRow.id, RejudgeRow.state == "open"
    )
    return (
        SubmissionRow.dropped.is_(None),
        SubmissionRow.received < before,
        ~exists().where(mine, AuditRow.state.in_(UNENDED)),
        ~exists().where(mine, last >= before),
        ~appealed,
        ~undecided,
    )

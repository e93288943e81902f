"""API keys and sessions as they are kept: digests, scopes, and when they end."""

import secrets
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from api.access import Actor, Scope, Secret, digest, key_id_of, new_key, same
from api.db import Database
from api.settings import Settings
from api.tables import ActionRow, KeyRow, SessionRow


class Keys:
    """Every change of keys and sessions is one method here, in one transaction."""

    def __init__(self, database: Database, settings: Settings) -> None:
        """Keep rows in the database; the settings say what a key may that says nothing itself."""
        self._database = database
        self._settings = settings

    def create(
        self,
        name: str,
        scopes: Iterable[Scope],
        *,
        requests_per_minute: int | None = None,
        audits_per_day: int | None = None,
    ) -> Secret:
        """A new key; its text is in the answer alone."""
        made = new_key()
        wanted = " ".join(sorted(set(scopes)))
        with self._database.write() as session:
            session.add(
                KeyRow(
                    id=made.id,
                    name=name,
                    sha256=made.sha256,
                    scopes=wanted,
                    requests_per_minute=requests_per_minute,
                    audits_per_day=audits_per_day,
                    created=datetime.now(UTC),
                )
            )
            note(session, "command", "key created", made.id, f"{name}: {wanted}")
        return made

    def revoke(self, key_id: str) -> bool:
        """End a key and its sessions; False when no such key was in use."""
        with self._database.write() as session:
            row = session.get(KeyRow, key_id)
            if row is None or row.revoked is not None:
                return False
            row.revoked = datetime.now(UTC)
            session.execute(delete(SessionRow).where(SessionRow.key_id == key_id))
            note(session, "command", "key revoked", key_id, row.name)
        return True

    def all(self) -> list[KeyRow]:
        """Every key there ever was, oldest first."""
        with self._database.read() as session:
            return list(session.scalars(select(KeyRow).order_by(KeyRow.created)))

    def holder(self, text: str) -> Actor | None:
        """Whose key this is; None when it is nobody's, or no longer."""
        key_id = key_id_of(text)
        if key_id is None:
            return None
        with self._database.read() as session:
            row = session.get(KeyRow, key_id)
        if row is None or not same(text, row.sha256) or row.revoked is not None:
            return None
        return self._actor(row, by_session=False)

    def visitor(self, cookie: str) -> Actor | None:
        """Who signed in with the browser of this cookie."""
        with self._database.read() as session:
            query = (
                select(KeyRow)
                .join(SessionRow, SessionRow.key_id == KeyRow.id)
                .where(SessionRow.sha256 == digest(cookie), KeyRow.revoked.is_(None))
                .where(SessionRow.expires > datetime.now(UTC))
            )
            row = session.scalar(query)
        return None if row is None else self._actor(row, by_session=True)

    def sign_in(self, key_id: str, request_id: str | None = None) -> str:
        """A session of this key; the answer is its cookie."""
        cookie = secrets.token_urlsafe(32)
        now = datetime.now(UTC)
        with self._database.write() as session:
            session.execute(delete(SessionRow).where(SessionRow.expires < now))
            ends = now + timedelta(seconds=self._settings.session_seconds)
            session.add(SessionRow(sha256=digest(cookie), key_id=key_id, expires=ends))
            note(session, key_id, "signed in", key_id, request_id=request_id)
        return cookie

    def sign_out(self, cookie: str) -> None:
        """End a session."""
        with self._database.write() as session:
            session.execute(delete(SessionRow).where(SessionRow.sha256 == digest(cookie)))

    def _actor(self, row: KeyRow, *, by_session: bool) -> Actor:
        settings = self._settings
        return Actor(
            row.id,
            frozenset(row.scopes.split()),
            row.requests_per_minute or settings.requests_per_minute,
            row.audits_per_day or settings.audits_per_day,
            by_session,
        )


def note(
    session: Session,
    actor: str,
    verb: str,
    subject: str,
    detail: str = "",
    request_id: str | None = None,
) -> None:
    """Write down who did what, in the transaction that does it."""
    session.add(
        ActionRow(
            at=datetime.now(UTC),
            actor=actor,
            verb=verb,
            subject=subject,
            detail=detail,
            request_id=request_id,
        )
    )

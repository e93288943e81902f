"""The log of verdicts; those that were there get their places by age."""

import sqlalchemy as sa
from alembic import op

from api.migrations.append_only import never_changed
from auditor.merkle import leaf_hash

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Make the table and fill it."""
    log = op.create_table(
        "log",
        sa.Column("place", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("verdict_id", sa.Text, sa.ForeignKey("verdicts.id"), nullable=False, unique=True),
        sa.Column("leaf", sa.Text, nullable=False),
    )
    verdicts = sa.table("verdicts", sa.column("id"), sa.column("document"), sa.column("created"))
    by_age = sa.select(verdicts.c.id).order_by(verdicts.c.created, verdicts.c.id)
    # One document after the other: together they may be large.
    for place, verdict_id in enumerate(op.get_bind().scalars(by_age).all()):
        query = sa.select(verdicts.c.document).where(verdicts.c.id == verdict_id)
        document: str = op.get_bind().scalars(query).one()
        leaf = leaf_hash(document.encode()).hex()
        op.execute(log.insert().values(place=place, verdict_id=verdict_id, leaf=leaf))
    never_changed("log", "a place in the log is never changed and never deleted")

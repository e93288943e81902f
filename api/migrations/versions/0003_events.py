"""The version of an audit, by which who follows it goes on where they were."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add the column."""
    op.add_column("audits", sa.Column("version", sa.Integer, nullable=False, server_default="1"))

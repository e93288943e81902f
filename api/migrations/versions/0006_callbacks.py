"""Batches, and addresses that are told of an end."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Add the column and the table."""
    op.add_column("audits", sa.Column("batch", sa.Text))
    op.create_index("ix_audits_batch", "audits", ["batch"])
    op.create_table(
        "callbacks",
        sa.Column("audit_id", sa.Text, sa.ForeignKey("audits.id"), primary_key=True),
        sa.Column("url", sa.Text, nullable=False),
        sa.Column("tries", sa.Integer, nullable=False),
        sa.Column("due", sa.DateTime, index=True),
        sa.Column("said", sa.Text),
    )

"""Who comes first, what an audit is to do beyond the defaults, and an index of who waits."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Add the columns; what was asked for before is of middle priority and has no options."""
    op.add_column("audits", sa.Column("priority", sa.Integer, nullable=False, server_default="2"))
    op.add_column("audits", sa.Column("options", sa.Text, nullable=False, server_default="{}"))
    op.create_index("ix_audits_waiting", "audits", ["state", "priority", "created"])

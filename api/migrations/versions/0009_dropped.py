"""When an archive was dropped; its row and all verdicts on it stay."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Add the column."""
    op.add_column("submissions", sa.Column("dropped", sa.DateTime))

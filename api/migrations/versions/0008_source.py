"""Where the files of an audit come from, when nobody handed them in themselves."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Add the column."""
    op.add_column("audits", sa.Column("source", sa.Text))

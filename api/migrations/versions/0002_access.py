"""API keys, sessions of browsers, who handed in what, and the log of who did what."""

import sqlalchemy as sa
from alembic import op

from api.migrations.append_only import never_changed
from api.tables import Counter

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Make the tables; what was handed in before there were keys was the owner's."""
    op.create_table(
        "api_keys",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("sha256", sa.Text, nullable=False),
        sa.Column("scopes", sa.Text, nullable=False),
        sa.Column("requests_per_minute", sa.Integer),
        sa.Column("audits_per_day", sa.Integer),
        sa.Column("created", sa.DateTime, nullable=False),
        sa.Column("revoked", sa.DateTime),
    )
    op.create_table(
        "sessions",
        sa.Column("sha256", sa.Text, primary_key=True),
        sa.Column("key_id", sa.Text, sa.ForeignKey("api_keys.id"), nullable=False),
        sa.Column("expires", sa.DateTime, nullable=False),
    )
    op.create_table(
        "actions",
        sa.Column("id", Counter, primary_key=True),
        sa.Column("at", sa.DateTime, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("verb", sa.Text, nullable=False),
        sa.Column("subject", sa.Text, nullable=False, index=True),
        sa.Column("detail", sa.Text, nullable=False),
        sa.Column("request_id", sa.Text),
    )
    never_changed("actions", "the log of actions is never changed")
    op.add_column("audits", sa.Column("actor", sa.Text, nullable=False, server_default="local"))
    op.create_index("ix_audits_actor", "audits", ["actor"])
    op.add_column(
        "verdicts", sa.Column("trouble", sa.Boolean, nullable=False, server_default=sa.false())
    )

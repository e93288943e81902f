"""Submissions, audits, verdicts and workers."""

import sqlalchemy as sa
from alembic import op

from api.migrations.append_only import never_changed

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the tables, and the triggers that keep a verdict as it was said."""
    op.create_table(
        "submissions",
        sa.Column("sha256", sa.Text, primary_key=True),
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("size", sa.Integer, nullable=False),
        sa.Column("received", sa.DateTime, nullable=False),
    )
    op.create_table(
        "audits",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column(
            "submission_sha256", sa.Text, sa.ForeignKey("submissions.sha256"), nullable=False
        ),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("run", sa.Boolean, nullable=False),
        sa.Column("ruleset", sa.Text, nullable=False),
        sa.Column("key", sa.Text, unique=True),
        sa.Column("state", sa.Text, nullable=False, index=True),
        sa.Column("done", sa.Double, nullable=False),
        sa.Column("doing", sa.Text, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("jobs", sa.Integer, nullable=False),
        sa.Column("worker", sa.Text),
        sa.Column("created", sa.DateTime, nullable=False),
        sa.Column("started", sa.DateTime),
        sa.Column("finished", sa.DateTime),
        sa.Column("problem_kind", sa.Text),
        sa.Column("problem_message", sa.Text),
        sa.CheckConstraint(
            "state IN ('queued', 'running', 'finished', 'errored', 'cancelled')", name="known"
        ),
    )
    op.create_table(
        "verdicts",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("audit_id", sa.Text, sa.ForeignKey("audits.id"), nullable=False, unique=True),
        sa.Column("digest", sa.Text, nullable=False, index=True),
        sa.Column("outcome", sa.Text, nullable=False),
        sa.Column("ruleset", sa.Text, nullable=False),
        sa.Column("engine", sa.Text, nullable=False),
        sa.Column("document", sa.Text, nullable=False),
        sa.Column("created", sa.DateTime, nullable=False, index=True),
    )
    op.create_table(
        "workers",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("seen", sa.Double, nullable=False),
    )
    never_changed("verdicts", "a verdict is never changed")

"""What lists show of verdicts; sets that are judged again; appeals and notes."""

import json

import sqlalchemy as sa
from alembic import op

from api.derived import outcomes_of, summary_of
from api.migrations.append_only import never_changed
from api.tables import Counter, RuleOutcomeRow, SummaryRow

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Make the tables, and summaries of the verdicts there are."""
    _derived()
    _review()
    with op.batch_alter_table("audits") as audits:
        audits.add_column(sa.Column("rejudge_id", sa.Text))
        audits.add_column(sa.Column("rejudges", sa.Text))
        audits.create_foreign_key("fk_audits_rejudge_id", "rejudges", ["rejudge_id"], ["id"])
        audits.create_index("ix_audits_rejudge_id", ["rejudge_id"])
    connection = op.get_bind()
    for verdict_id, text in connection.execute(sa.text("SELECT id, document FROM verdicts")):
        document = json.loads(text)
        connection.execute(
            sa.insert(SummaryRow).values(verdict_id=verdict_id, **summary_of(document))
        )
        for rule, outcome in outcomes_of(document).items():
            connection.execute(
                sa.insert(RuleOutcomeRow).values(verdict_id=verdict_id, rule=rule, outcome=outcome)
            )


def _derived() -> None:
    op.create_table(
        "summaries",
        sa.Column("verdict_id", sa.Text, sa.ForeignKey("verdicts.id"), primary_key=True),
        sa.Column("submission", sa.Text, nullable=False, index=True),
        sa.Column("folder", sa.Text, nullable=False),
        sa.Column("claimed_bpb", sa.Double),
        sa.Column("verified_bpb", sa.Double),
    )
    op.create_table(
        "rule_outcomes",
        sa.Column("verdict_id", sa.Text, sa.ForeignKey("verdicts.id"), primary_key=True),
        sa.Column("rule", sa.Text, primary_key=True),
        sa.Column("outcome", sa.Text, nullable=False),
    )
    op.create_index("ix_rule_outcomes", "rule_outcomes", ["rule", "outcome"])


def _review() -> None:
    op.create_table(
        "rejudges",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("ruleset", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("created", sa.DateTime, nullable=False),
        sa.Column("decided", sa.DateTime),
    )
    op.create_table(
        "superseded",
        sa.Column("verdict_id", sa.Text, sa.ForeignKey("verdicts.id"), primary_key=True),
        sa.Column("by_id", sa.Text, sa.ForeignKey("verdicts.id"), nullable=False, unique=True),
        sa.Column("rejudge_id", sa.Text, sa.ForeignKey("rejudges.id"), nullable=False),
    )
    never_changed("superseded", "which verdict stands for another is never changed")
    op.create_table(
        "appeals",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("verdict_id", sa.Text, sa.ForeignKey("verdicts.id"), nullable=False, index=True),
        sa.Column("rule", sa.Text, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("evidence", sa.Text, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("created", sa.DateTime, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("answer", sa.Text),
        sa.Column("answered_by", sa.Text),
        sa.Column("answered", sa.DateTime),
    )
    op.create_table(
        "notes",
        sa.Column("id", Counter, primary_key=True),
        sa.Column("verdict_id", sa.Text, sa.ForeignKey("verdicts.id"), nullable=False, index=True),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("created", sa.DateTime, nullable=False),
    )
    never_changed("notes", "a note is never changed")

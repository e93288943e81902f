"""Tables whose rows are never changed and never deleted: the database itself refuses."""

from alembic import op


def never_changed(table: str, said: str) -> None:
    """Add the triggers that answer a change of this table with this sentence."""
    if op.get_bind().dialect.name == "sqlite":
        refuse = f"BEGIN SELECT RAISE(ABORT, '{said}'); END"
    else:
        op.execute(
            f"CREATE FUNCTION refuse_change_of_{table}() RETURNS trigger LANGUAGE plpgsql AS "
            f"$$ BEGIN RAISE EXCEPTION '{said}' USING ERRCODE = 'integrity_constraint_violation'; "
            "END $$"
        )
        refuse = f"FOR EACH ROW EXECUTE FUNCTION refuse_change_of_{table}()"
    for change in ("UPDATE", "DELETE"):
        op.execute(
            f"CREATE TRIGGER {table}_no_{change.lower()} BEFORE {change} ON {table} {refuse}"
        )

"""`python -m api keys`: make, list and revoke API keys, beside a running service or without one."""

import argparse
import sys

from sqlalchemy.exc import SQLAlchemyError

from api.access import Scope
from api.db import Database
from api.errors import StartError
from api.keys import Keys
from api.settings import Settings


def commands_of_keys(parser: argparse.ArgumentParser, common: argparse.ArgumentParser) -> None:
    """The commands and their options."""
    commands = parser.add_subparsers(dest="keys_command", required=True)
    create = commands.add_parser("create", parents=[common], help="make a key and show it, once")
    create.add_argument("--name", required=True, help="for whom or what, for people")
    create.add_argument(
        "--scope",
        action="append",
        required=True,
        type=Scope,
        choices=list(Scope),
        metavar="|".join(Scope),
        help="what it may do; repeatable",
    )
    create.add_argument("--requests-per-minute", type=int, help="instead of the setting")
    create.add_argument("--audits-per-day", type=int, help="instead of the setting")
    commands.add_parser("list", parents=[common], help="all keys; never the secrets")
    revoke = commands.add_parser("revoke", parents=[common], help="end a key and its sessions")
    revoke.add_argument("id", help="as `list` shows it; the second part of the key")


def run_keys(settings: Settings, wanted: argparse.Namespace) -> int:
    """Do what was asked for; the answer is the exit code."""
    settings.data.mkdir(parents=True, exist_ok=True)
    database = Database(settings.database or Database.embedded_url(settings.data))
    try:
        database.migrate()
        return _run(Keys(database, settings), wanted)
    except SQLAlchemyError as error:
        reason = str(error).splitlines()[0]
        raise StartError(f"the database cannot be used: {reason}") from error
    finally:
        database.close()


def _run(keys: Keys, wanted: argparse.Namespace) -> int:
    if wanted.keys_command == "create":
        limits = (wanted.requests_per_minute, wanted.audits_per_day)
        if any(limit is not None and limit < 1 for limit in limits):
            raise StartError(f"a limit must be at least 1, got {limits[0]} and {limits[1]}")
        made = keys.create(
            wanted.name,
            wanted.scope,
            requests_per_minute=wanted.requests_per_minute,
            audits_per_day=wanted.audits_per_day,
        )
        sys.stderr.write("This is shown once and kept nowhere:\n")
        sys.stdout.write(made.text + "\n")
    elif wanted.keys_command == "revoke":
        if not keys.revoke(wanted.id):
            raise StartError(f"no key in use has the id {wanted.id!r}; `keys list` shows them")
        sys.stderr.write(f"key {wanted.id} is of no use any more\n")
    else:
        for row in keys.all():
            ended = f"revoked {row.revoked:%Y-%m-%d %H:%M}" if row.revoked else "in use"
            made_at = f"{row.created:%Y-%m-%d %H:%M}"
            sys.stdout.write(f"{row.id}  {made_at}  {ended:<24} {row.scopes:<20} {row.name}\n")
    return 0

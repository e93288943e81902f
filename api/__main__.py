"""`python -m api`: the service on an embedded database, no other server needed."""

import argparse
import logging
import os
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

import uvicorn
from pydantic import ValidationError

from api.access import is_open
from api.app import Service, create_app
from api.errors import StartError
from api.keys import Keys
from api.keys_command import commands_of_keys, run_keys
from api.retention import options_of_retain, run_retain
from api.settings import Settings

EXAMPLES = """\
examples:
  python -m api keys create --name ci --scope submit      an API key, shown once
  python -m api worker --database postgresql://...      a process that only audits
  python -m api retain --older-than 90d           drop archives that nothing needs any more
  python -m api                                   then open http://127.0.0.1:8000 in a browser
  curl -F archive=@record.zip localhost:8000/v1/audits            hand in a record folder
  curl localhost:8000/v1/audits/ID                                watch; ends with a verdict
  curl -F archive=@record.zip -F run=false localhost:8000/v1/audits    read only, execute nothing

settings (environment; an option comes before its variable):
{settings}

exit codes: 0 stopped on request, 2 could not start"""

OPTIONS = ("host", "port", "data", "database")
"""Settings that are options too."""

SWITCH_SECONDS = 0.001
KEEP_ALIVE_SECONDS = 75
"""More than proxies keep an idle connection: who closes it first loses a request now and then."""

log = logging.getLogger("api")


def main(arguments: Sequence[str] | None = None, child: str = "api.child") -> int:
    """Serve, or only work, until a signal says stop; the answer is the exit code."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", level="INFO")
    logging.getLogger("alembic").setLevel("WARNING")
    signal.signal(signal.SIGTERM, _stop)
    try:
        settings, wanted = _parsed(arguments)
        if wanted.command == "keys":
            return run_keys(settings, wanted)
        if wanted.command == "retain":
            return run_retain(settings, wanted)
        if wanted.command == "worker":
            return _work(settings, child)
        with _listen(settings.host, settings.port) as listener:
            service = Service(settings, child)
            # Uploads and workspaces: what a killed process leaves is cleared by the next one.
            tempfile.tempdir = str(service.scratch)
            try:
                _serve(service, listener)
            finally:
                idle = service.close()
    except StartError as error:
        sys.stderr.write(f"python -m api: {error}\n")
        return 2
    return _end(idle)


def _work(settings: Settings, child: str) -> int:
    """Take jobs of a PostgreSQL queue; as many such processes as there are machines for."""
    if not settings.database:
        raise StartError("a worker needs --database postgresql://...; SQLite has one process")
    if not settings.workers and not settings.readers:
        raise StartError("a worker with 0 workers would do nothing")
    service = Service(settings, child)
    log.info("%s works for %s", service.jobs.worker, settings.data)
    try:
        threading.Event().wait()
    except (KeyboardInterrupt, SystemExit):
        log.info("stopping")
    return _end(service.close())


def _end(idle: bool) -> int:
    if not idle:
        log.warning("stopped during an audit; it is begun again later")
        logging.shutdown()
        # Python would wait for the audit's thread, however long that takes.
        os._exit(0)
    return 0


def _parsed(arguments: Sequence[str] | None) -> tuple[Settings, argparse.Namespace]:
    """Options over environment over defaults, and what is to be done."""
    given = vars(_parser().parse_args(arguments))
    options = {name: given.pop(name) for name in OPTIONS if name in given}
    try:
        settings = Settings(**options)
    except ValidationError as error:
        wrong = error.errors()[0]
        name = str(wrong["loc"][0])
        # The address of a database has its password in it.
        got = "" if name == "database" else f", got {wrong['input']!r}"
        raise StartError(f"{name} (STRICT_PREFIX_{name.upper()}): {wrong['msg']}{got}") from error
    update = {"data": settings.data.expanduser().absolute()}
    return settings.model_copy(update=update), argparse.Namespace(**given)


def _parser() -> argparse.ArgumentParser:
    """Options before or after the command; what was not given is not in the result."""
    common = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    common.add_argument("--data", type=Path, metavar="DIR", help="folder of all that is kept")
    common.add_argument("--database", metavar="URL", help="postgresql://..., else SQLite in DIR")
    listening = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    listening.add_argument("--host", help="address to listen on (default: 127.0.0.1)")
    listening.add_argument("--port", type=int, help="port, 0 for any (default: 8000)")
    parser = argparse.ArgumentParser(
        prog="python -m api",
        description="Serve audits over HTTP from an embedded database: no other server is needed.",
        epilog=EXAMPLES.format(settings=_variables()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=[common, listening],
    )
    commands = parser.add_subparsers(dest="command", metavar="serve | worker | keys | retain")
    commands.add_parser("serve", parents=[common, listening], help="answer requests (default)")
    commands.add_parser("worker", parents=[common], help="only audit, for a PostgreSQL queue")
    options_of_retain(
        commands.add_parser("retain", parents=[common], help="drop old archives; never verdicts")
    )
    commands_of_keys(commands.add_parser("keys", help="make, list and revoke API keys"), common)
    return parser


def _variables() -> str:
    """A line for every setting, made from the settings themselves."""
    lines = []
    for name, field in Settings.model_fields.items():
        default = field.get_default(call_default_factory=True, validated_data={})
        lines.append(f"  STRICT_PREFIX_{name.upper():<17} {field.description} [{default}]")
    return "\n".join(lines)


def _listen(host: str, port: int) -> socket.socket:
    """Take the port before anything else, so that a taken one is one sentence."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise StartError(
            f"cannot listen on {host} port {port} ({error.strerror}); --port takes another"
        ) from error


def _serve(service: Service, listener: socket.socket) -> None:
    """Answer requests until SIGTERM or SIGINT."""
    # Whoever waits for Python's lock gets it after this; the loop that answers waits for threads.
    sys.setswitchinterval(SWITCH_SECONDS)
    config = uvicorn.Config(
        create_app(service),
        log_config=None,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=service.settings.shutdown_seconds,
    )
    host, port = listener.getsockname()[:2]
    log.info("http://%s:%d serves %s", host, port, service.settings.data)
    if not is_open(service.settings) and not Keys(service.database, service.settings).all():
        log.warning("nobody can hand anything in yet: `python -m api keys create` makes a key")
    try:
        uvicorn.Server(config).run(sockets=[listener])
    except (KeyboardInterrupt, SystemExit):
        # The server has shut down; it repeats the signal for whoever else wants to know.
        log.info("stopping")


def _stop(_: int, frame: FrameType | None) -> None:
    """SIGTERM as an exception, so that everything open is closed on the way out."""
    raise SystemExit(0)


if __name__ == "__main__":
    sys.exit(main())

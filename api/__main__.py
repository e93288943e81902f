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

from api.app import Service, create_app
from api.errors import StartError
from api.settings import Settings

EXAMPLES = """\
examples:
  python -m api worker --database postgresql://...      a process that only audits
  python -m api                                   then open http://127.0.0.1:8000 in a browser
  curl -F archive=@record.zip localhost:8000/v1/audits            hand in a record folder
  curl localhost:8000/v1/audits/ID                                watch; ends with a verdict
  curl -F archive=@record.zip -F run=false localhost:8000/v1/audits    read only, execute nothing

settings (environment; an option comes before its variable):
{settings}

exit codes: 0 stopped on request, 2 could not start"""

log = logging.getLogger("api")


def main(arguments: Sequence[str] | None = None, child: str = "api.child") -> int:
    """Serve, or only work, until a signal says stop; the answer is the exit code."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", level="INFO")
    logging.getLogger("alembic").setLevel("WARNING")
    signal.signal(signal.SIGTERM, _stop)
    try:
        settings, only_work = _settings(arguments)
        if only_work:
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
    if not settings.workers:
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


def _settings(arguments: Sequence[str] | None) -> tuple[Settings, bool]:
    """Options over environment over defaults, and whether this process only works."""
    parser = argparse.ArgumentParser(
        prog="python -m api",
        description="Serve audits over HTTP from an embedded database: no other server is needed.",
        epilog=EXAMPLES.format(settings=_variables()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--host", help="address to listen on (default: 127.0.0.1)")
    parser.add_argument("--port", type=int, help="port to listen on, 0 for any (default: 8000)")
    parser.add_argument("--data", type=Path, metavar="DIR", help="folder of all that is kept")
    parser.add_argument("--database", metavar="URL", help="postgresql://..., else SQLite in DIR")
    parser.add_argument(
        "command", nargs="?", choices=["serve", "worker"], default="serve", help="default: serve"
    )
    options = vars(parser.parse_args(arguments))
    only_work = options.pop("command") == "worker"
    given = {name: value for name, value in options.items() if value is not None}
    try:
        settings = Settings(**given)
    except ValidationError as error:
        wrong = error.errors()[0]
        name = str(wrong["loc"][0])
        raise StartError(
            f"{name} (STRICT_PREFIX_{name.upper()}): {wrong['msg']}, got {wrong['input']!r}"
        ) from error
    update = {"data": settings.data.expanduser().absolute()}
    return settings.model_copy(update=update), only_work


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
    config = uvicorn.Config(
        create_app(service),
        log_config=None,
        server_header=False,
        timeout_graceful_shutdown=service.settings.shutdown_seconds,
    )
    host, port = listener.getsockname()[:2]
    log.info("http://%s:%d serves %s", host, port, service.settings.data)
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

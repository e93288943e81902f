"""`python -m api`: the service on an embedded database, no other server needed."""

import argparse
import logging
import os
import signal
import socket
import sys
import tempfile
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
  python -m api                                   then open http://127.0.0.1:8000 in a browser
  curl -F archive=@record.zip localhost:8000/v1/audits            hand in a record folder
  curl localhost:8000/v1/audits/ID                                watch; ends with a verdict
  curl -F archive=@record.zip -F run=false localhost:8000/v1/audits    read only, execute nothing

settings (environment; an option comes before its variable):
{settings}

exit codes: 0 stopped on request, 2 could not start"""

log = logging.getLogger("api")


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until a signal says stop; the answer is the exit code."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", level="INFO")
    logging.getLogger("alembic").setLevel("WARNING")
    signal.signal(signal.SIGTERM, _stop)
    try:
        settings = _settings(arguments)
        with _listen(settings.host, settings.port) as listener:
            service = Service(settings)
            # Uploads and workspaces: what a killed process leaves is cleared by the next one.
            tempfile.tempdir = str(service.scratch)
            try:
                _serve(service, listener)
            finally:
                idle = service.close()
    except StartError as error:
        sys.stderr.write(f"python -m api: {error}\n")
        return 2
    if not idle:
        log.warning("stopped during an audit; the next start begins it again")
        logging.shutdown()
        # Python would wait for the audit's thread, however long that takes.
        os._exit(0)
    return 0


def _settings(arguments: Sequence[str] | None) -> Settings:
    """Options over environment over defaults."""
    parser = argparse.ArgumentParser(
        prog="python -m api",
        description="Serve audits over HTTP from an embedded database: no other server is needed.",
        epilog=EXAMPLES.format(settings=_variables()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--host", help="address to listen on (default: 127.0.0.1)")
    parser.add_argument("--port", type=int, help="port to listen on, 0 for any (default: 8000)")
    parser.add_argument("--data", type=Path, metavar="DIR", help="folder of all that is kept")
    options = vars(parser.parse_args(arguments))
    given = {name: value for name, value in options.items() if value is not None}
    try:
        settings = Settings(**given)
    except ValidationError as error:
        wrong = error.errors()[0]
        name = str(wrong["loc"][0])
        raise StartError(
            f"{name} (STRICT_PREFIX_{name.upper()}): {wrong['msg']}, got {wrong['input']!r}"
        ) from error
    return settings.model_copy(update={"data": settings.data.expanduser().absolute()})


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

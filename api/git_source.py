"""A record folder out of a git repository that the operator allows, fetched within bounds.

What a stranger names must not become a request to anywhere: an address begins with one of the
prefixes in `git_prefixes`, redirects are not followed, and git speaks that one protocol alone. It
fetches one commit into an empty repository without a checkout, hooks, submodules, tags, or any
settings of this machine, and is ended with all its processes when it takes too long or too much.
"""

import contextlib
import os
import re
import signal
import subprocess
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from fastapi import HTTPException

from api.errors import too_many
from api.settings import Settings
from auditor.errors import SubmissionError, ToolError
from auditor.packing import archive_of
from auditor.submission import Submission

PROTOCOLS = ("https", "http", "file")
AT_ONCE = 2
"""Fetches of this process; who comes meanwhile is asked to come again."""
BUSY_SECONDS = 10.0
BLOCK_BYTES = 512
"""What `ulimit -f` counts in."""
REF = r"^[A-Za-z0-9_][A-Za-z0-9_./-]{0,199}$"
FOLDER = r"^[^/\\\x00-\x1f][^\\\x00-\x1f]{0,499}$"
_PLAIN = re.compile(r"[A-Za-z0-9._~:/@+-]+")
_places = threading.BoundedSemaphore(AT_ONCE)


@dataclass(frozen=True, slots=True)
class Fetched:
    """An archive of the folder, and which commit it is of."""

    archive: bytes
    name: str
    digest: str
    """Of the files: `Submission.sha256`."""
    sha: str


def check_address(url: str, settings: Settings) -> str:
    """The protocol of an address that the operator allows; a 4xx says what is wrong with it."""
    if not _PLAIN.fullmatch(url):
        raise HTTPException(422, "git: expected a plain address, PROTOCOL://HOST/PATH")
    try:
        parts = urlsplit(url)
        odd = "@" in parts.netloc or (parts.port is not None and not 0 < parts.port < 65536)
    except ValueError as error:
        raise HTTPException(422, f"git: not an address: {error}") from error
    if parts.scheme not in PROTOCOLS or odd:
        raise HTTPException(422, f"git: expected one of {', '.join(PROTOCOLS)}, without a password")
    if any(part in ("", ".", "..") for part in parts.path.strip("/").split("/")):
        raise HTTPException(422, "git: expected a path without empty parts, '.' and '..'")
    # A prefix ends at a part of the path: host.example must not allow host.example.evil.
    if not any(
        url == prefix or url.startswith(prefix.rstrip("/") + "/")
        for prefix in settings.git_prefix_list
    ):
        raise HTTPException(
            403, "git: the operator does not allow this address (STRICT_PREFIX_GIT_PREFIXES)"
        )
    return parts.scheme


def fetch(url: str, ref: str, folder: str, settings: Settings, scratch: Path) -> Fetched:
    """The folder of a commit as an archive; SubmissionError says why there is none."""
    protocol = check_address(url, settings)
    if ".." in ref or ref.endswith((".lock", "/", ".")):
        raise HTTPException(422, "ref: expected the name of a ref, or a commit")
    if not _places.acquire(blocking=False):
        raise too_many("too many repositories are being fetched", BUSY_SECONDS)
    try:
        with tempfile.TemporaryDirectory(prefix="git-", dir=scratch) as place:
            git = _Git(Path(place), protocol, settings)
            git("init", "--quiet", "--bare", "--template=", ".")
            git(
                "fetch", "--quiet", "--depth=1", "--no-tags", "--no-recurse-submodules",
                "--no-write-commit-graph", "--no-auto-maintenance", "--", url, ref,
            )  # fmt: skip
            sha = git("rev-parse", "--verify", "FETCH_HEAD^{commit}").strip()
            submission = Submission.from_git(Path(place), sha, folder)
            archive, name = archive_of(submission)
            return Fetched(archive, name, submission.sha256, sha)
    finally:
        _places.release()


class _Git:
    """Runs git in one folder within the bounds."""

    def __init__(self, place: Path, protocol: str, settings: Settings) -> None:
        self._place = place
        self._seconds = settings.git_seconds
        self._most_bytes = settings.max_upload_bytes
        settled = {
            "protocol.allow": "never",
            f"protocol.{protocol}.allow": "always",
            "http.followRedirects": "false",
            "http.lowSpeedLimit": "1000",
            "http.lowSpeedTime": "20",
            "core.hooksPath": os.devnull,
            "core.fsmonitor": "false",
            "credential.helper": "",
            "fetch.fsckObjects": "true",
            # One file, so that the limit of a file is the limit of all.
            "fetch.unpackLimit": "1",
            "fetch.recurseSubmodules": "false",
            "gc.auto": "0",
            "transfer.bundleURI": "false",
        }
        self._options = [word for item in settled.items() for word in ("-c", "=".join(item))]
        self._environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(place),
            "TMPDIR": str(place),
            "LC_ALL": "C",
            "GIT_ALLOW_PROTOCOL": protocol,
            "GIT_ASKPASS": "false",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_DIR": ".",
            "GIT_TERMINAL_PROMPT": "0",
        }

    def __call__(self, *words: str) -> str:
        limit = f"ulimit -f {self._most_bytes // BLOCK_BYTES + 1} && exec git"
        command = ["/bin/sh", "-c", f'{limit} "$@"', "git", *self._options, *words]
        return _run(command, words[0], self._place, self._environment, self._seconds)


def _run(
    command: Sequence[str], verb: str, place: Path, environment: dict[str, str], seconds: float
) -> str:
    """What a command prints; SubmissionError with its last words when it fails."""
    with tempfile.TemporaryFile(dir=place) as said, tempfile.TemporaryFile(dir=place) as complained:
        try:
            process = subprocess.Popen(
                command,
                cwd=place,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=complained,
                start_new_session=True,
            )
        except OSError as error:
            raise ToolError(f"git could not be started: {error.strerror}") from error
        try:
            code = process.wait(seconds)
        except subprocess.TimeoutExpired as error:
            raise SubmissionError(f"git {verb} did not end within {seconds:g} s") from error
        finally:
            # Its helpers too: the one that speaks to the server is a process of its own.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        if code:
            complained.seek(0)
            text = complained.read(100_000).decode(errors="replace").strip()
            last = text.splitlines()[-1][:300] if text else f"exit code {code}"
            raise SubmissionError(f"git {verb} failed: {last}")
        said.seek(0)
        return said.read(1_000).decode(errors="replace")

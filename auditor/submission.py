"""A record folder as it was handed in: bytes and digests, nothing executed, nothing written.

Submission.load("records/x")             a folder
Submission.load("x.zip")                 an archive: .zip, .tar, .tar.gz, .tar.zst
Submission.load("REPO.git@REF:folder")   straight from a git repository, no work tree needed
"""

import hashlib
import io
import itertools
import json
import os
import re
import stat
import subprocess
import tarfile
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from types import MappingProxyType

import rfc8785
import zstandard

from auditor.errors import SubmissionError

MAX_FILES = 2_000
MAX_FILE_BYTES = 64 * 2**20
"""A larger file cannot belong to a 16 MB artifact; it is refused by name, not skipped."""
MAX_TOTAL_BYTES = 256 * 2**20
MAX_PATH = 1_000
"""Characters of a path inside; every system can lay that out, and a message can quote it."""
_STARTED = re.compile(r"\b(?:torchrun|python3?)\b[^\n]{0,300}?([\w./-]{1,100}\.py)\b")
SKIPPED_FOLDERS = {".git", "__pycache__"}
GIT_SECONDS = 60


@dataclass(frozen=True, slots=True)
class File:
    """One file of a submission."""

    data: bytes
    sha256: str

    @property
    def text(self) -> str:
        """The content as text; bytes that are not UTF-8 are replaced."""
        return self.data.decode("utf-8", errors="replace")


@dataclass(frozen=True, slots=True)
class Submission:
    """The files of one record folder."""

    name: str
    """Name of the folder, for people; not part of any digest."""
    files: Mapping[str, File]
    """Path inside the folder (with `/`) -> content, sorted by path."""
    unread: Mapping[str, str] = field(default_factory=dict)
    """Path -> why a file of a git folder is not in `files`: what was expected, what was found."""
    path: str = ""
    """Where the folder stands, as far as that is known; the challenge keeps its tracks apart so."""

    @classmethod
    def load(cls, source: str | Path) -> "Submission":
        """Read a folder, an archive or `GITDIR@REF:FOLDER`; SubmissionError says what is wrong."""
        path = Path(source)
        if path.is_dir():
            made = cls._of(path.resolve().name, _folder_files(path))
            return replace(made, path=path.resolve().as_posix())
        if path.is_file():
            return cls.from_archive(path.read_bytes(), path.name)
        text = str(source)
        for at in (index for index, letter in enumerate(text) if letter == "@"):
            # Folders may have an @ in their names too; a ref cannot have a colon.
            ref, colon, folder = text[at + 1 :].partition(":")
            if colon and Path(text[:at]).is_dir():
                return cls.from_git(Path(text[:at]), ref, folder)
        raise SubmissionError(
            f"{source}: no such folder or archive (expected a folder, a .zip, .tar, .tar.gz or "
            ".tar.zst file, or GITDIR@REF:FOLDER)"
        )

    @classmethod
    def from_archive(cls, data: bytes, name: str) -> "Submission":
        """Read an archive from memory; a single top-level folder is taken as the record folder.

        Below `records` it is the folder that the layout of the challenge makes one, as in an
        archive that git makes of a path.
        """
        if name.endswith(".zip"):
            files = dict(_zip_files(data, name))
        elif name.endswith((".tar", ".tar.gz", ".tgz", ".tar.zst")):
            files = dict(_tar_files(data, name))
        else:
            raise SubmissionError(f"{name}: expected a name in .zip, .tar, .tar.gz or .tar.zst")
        outer = _shared_folders(files)
        if not outer:
            return cls._of(name.split(".", 1)[0], files)
        skipped = len("/".join(outer)) + 1
        inner = {path[skipped:]: data for path, data in files.items()}
        return replace(cls._of(outer[-1], inner), path="/".join(outer))

    @classmethod
    def from_git(cls, repository: Path, ref: str, folder: str) -> "Submission":
        """Read a folder of a commit; the repository may be bare.

        No folder means the files at the top of the repository, without those in its folders.
        """
        files, unread = _git_files(repository, ref, folder)
        return replace(cls._of(PurePosixPath(folder).name, files, unread), path=folder)

    @classmethod
    def _of(
        cls, name: str, contents: Mapping[str, bytes], unread: Mapping[str, str] | None = None
    ) -> "Submission":
        """Digest the files and check that there are any."""
        kept = {
            path: data
            for path, data in contents.items()
            if not SKIPPED_FOLDERS.intersection(path.split("/")[:-1])
        }
        if not kept:
            raise SubmissionError(f"{name}: expected a record folder, found no files in it")
        files = {
            path: File(data, hashlib.sha256(data).hexdigest())
            for path, data in sorted(kept.items())
        }
        return cls(name, MappingProxyType(files), MappingProxyType(dict(unread or {})))

    @property
    def digests(self) -> dict[str, str]:
        """SHA-256 of every file."""
        return {path: file.sha256 for path, file in self.files.items()}

    @property
    def sha256(self) -> str:
        """One digest for the whole: SHA-256 of the canonical JSON of `digests`."""
        return hashlib.sha256(rfc8785.dumps(dict(self.digests))).hexdigest()

    @property
    def entry(self) -> str | None:
        """The training script.

        train_gpt.py; else the only Python file at the top, the only one there whose name begins
        with `train`, the only one that a run line of the README starts, or the only train_gpt.py
        further down. None where that leaves a choice.
        """
        if "train_gpt.py" in self.files:
            return "train_gpt.py"
        if "train_gpt.py" in self.unread:
            return None
        top = [path for path in self.files if path.endswith(".py") and "/" not in path]
        started = self._started()
        for fitting in (
            top,
            [path for path in top if path.startswith("train")],
            [path for path in top if path in started],
            [path for path in self.files if path.endswith("/train_gpt.py")],
        ):
            if len(fitting) == 1:
                return fitting[0]
        return None

    def _started(self) -> set[str]:
        """File names that the run lines of the README start."""
        text = next((f.text for p, f in self.files.items() if p.lower() == "readme.md"), "")
        return {found.rsplit("/", 1)[-1] for found in _STARTED.findall(text[:400_000])}

    def json_object(self, path: str) -> dict[str, object]:
        """A JSON file of the submission; SubmissionError when it is not one object."""
        try:
            value = json.loads(self.files[path].data)
        except (ValueError, RecursionError) as error:
            raise SubmissionError(f"{path}: expected JSON, but {error}") from error
        if not isinstance(value, dict):
            raise SubmissionError(f"{path}: expected a JSON object, found {type(value).__name__}")
        return value

    def write_to(self, folder: Path) -> None:
        """Lay the files out in an existing, empty folder."""
        for path, file in self.files.items():
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(file.data)


def _shared_folders(files: Mapping[str, bytes]) -> list[str]:
    """The folders around a record folder in an archive, and itself: one, or those of the layout."""
    parents = [path.split("/")[:-1] for path in files] or [[]]
    least, most = min(parents), max(parents)
    pairs = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(least, most, strict=False))
    shared = [folder for folder, _ in pairs]
    if shared[:1] != ["records"]:
        return shared[:1]
    track = len(shared) > 1 and shared[1].startswith("track_")
    return shared[: 3 if track else 2]


class _Budget:
    """Counts what an archive unpacks to, so that a bomb stops early."""

    def __init__(self, name: str) -> None:
        """Start counting for the archive of this name."""
        self.name = name
        self.files = 0
        self.bytes = 0

    def take(self, path: str, size: int) -> None:
        """Account for one file, or refuse the whole."""
        self.files += 1
        self.bytes += size
        if self.files > MAX_FILES:
            raise SubmissionError(f"{self.name}: more than {MAX_FILES:,} files")
        if size > MAX_FILE_BYTES:
            raise SubmissionError(
                f"{self.name}: {path} has {size:,} bytes, over the limit of {MAX_FILE_BYTES:,}"
            )
        if self.bytes > MAX_TOTAL_BYTES:
            raise SubmissionError(
                f"{self.name}: unpacks to more than the limit of {MAX_TOTAL_BYTES:,} bytes"
            )


def _safe_path(path: str, name: str) -> str:
    """The path as it may be laid out, or SubmissionError when it cannot be."""
    if not path.isprintable():
        raise SubmissionError(f"{name}: member {_brief(path)} has characters that no path needs")
    if len(path) > MAX_PATH:
        raise SubmissionError(
            f"{name}: member {_brief(path)} has a path of {len(path):,} characters, over the limit "
            f"of {MAX_PATH:,}"
        )
    parts = PurePosixPath(path).parts
    if not parts or path.startswith("/") or ".." in parts or "\\" in path or "\0" in path:
        raise SubmissionError(
            f"{name}: member {_brief(path)} leaves the folder; expected relative paths"
        )
    return "/".join(parts)


def _folder_files(folder: Path) -> dict[str, bytes]:
    """Regular files below a folder; links and devices are refused."""
    budget = _Budget(folder.name or str(folder))
    files: dict[str, bytes] = {}
    for base, folders, names in os.walk(folder):
        folders[:] = sorted(set(folders) - SKIPPED_FOLDERS)
        for name in sorted(names) + folders:
            path = Path(base, name)
            relative = _safe_path(path.relative_to(folder).as_posix(), budget.name)
            info = path.lstat()
            if stat.S_ISDIR(info.st_mode):
                continue
            if not stat.S_ISREG(info.st_mode):
                raise SubmissionError(f"{relative}: expected a regular file, found link or device")
            budget.take(relative, info.st_size)
            try:
                files[relative] = path.read_bytes()
            except OSError as error:
                raise SubmissionError(f"{relative}: cannot be read ({error.strerror})") from error
    return files


def _brief(value: object) -> str:
    """What stands in hostile bytes, as much of it as a message needs."""
    shown = repr(value)
    return shown if len(shown) <= 200 else f"{shown[:200]}..."


def _zip_files(data: bytes, name: str) -> Iterator[tuple[str, bytes]]:
    """Members of a zip archive, sizes checked while they are unpacked."""
    budget = _Budget(name)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for member in archive.infolist():
                if member.is_dir():
                    continue
                path = _safe_path(member.filename, name)
                if stat.S_ISLNK(member.external_attr >> 16):
                    raise SubmissionError(f"{name}: {path} is a symbolic link; expected files only")
                budget.take(path, member.file_size)
                with archive.open(member) as stream:
                    content = stream.read(member.file_size + 1)
                if len(content) != member.file_size:
                    raise SubmissionError(
                        f"{name}: {path} unpacks to more than its stated {member.file_size:,} bytes"
                    )
                yield path, content
    except SubmissionError:
        raise
    except Exception as error:  # damaged bytes make the library raise anything
        raise SubmissionError(f"{name}: expected a zip archive, but {_brief(error)}") from error


def _tar_files(data: bytes, name: str) -> Iterator[tuple[str, bytes]]:
    """Members of a tar archive, read as a stream so that a bomb is never held whole."""
    budget = _Budget(name)
    raw: io.BufferedIOBase = io.BytesIO(data)
    if name.endswith(".zst"):
        raw = zstandard.ZstdDecompressor(max_window_size=2**27).stream_reader(raw)  # type: ignore[assignment, arg-type]  # both are readable streams
    mode = "r|gz" if name.endswith(("gz", "tgz")) else "r|"
    try:
        with tarfile.open(fileobj=raw, mode=mode) as archive:  # type: ignore[call-overload]  # mode is one of two
            for member in archive:
                if member.isdir():
                    continue
                path = _safe_path(member.name, name)
                if not member.isreg():
                    raise SubmissionError(
                        f"{name}: {path} is a link or device; expected regular files only"
                    )
                budget.take(path, member.size)
                stream = archive.extractfile(member)
                content = stream.read() if stream is not None else b""
                if len(content) != member.size:
                    raise SubmissionError(
                        f"{name}: {path} ends after {len(content):,} of {member.size:,} bytes"
                    )
                yield path, content
    except SubmissionError:
        raise
    except Exception as error:  # as above
        raise SubmissionError(f"{name}: expected a tar archive, but {_brief(error)}") from error


def git_command(repository: Path, *arguments: str) -> tuple[list[str], dict[str, str]]:
    """A git command that asks nobody and fetches nothing, with its environment."""
    command = ["git", "-C", str(repository), "--no-pager", *arguments]
    return command, {**os.environ, "GIT_TERMINAL_PROMPT": "0", "GIT_NO_LAZY_FETCH": "1"}


def git(repository: Path, *arguments: str, stdin: bytes = b"") -> bytes:
    """Run a git command that only reads; SubmissionError with git's own words when it fails."""
    command, quiet = git_command(repository, *arguments)
    try:
        done = subprocess.run(
            command, input=stdin, capture_output=True, timeout=GIT_SECONDS, env=quiet, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SubmissionError(f"{repository}: git {arguments[0]} stopped: {error}") from error
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines() or ["no message"]
        raise SubmissionError(f"{repository}: git {arguments[0]} failed: {said[-1]}")
    return done.stdout


def _git_files(repository: Path, ref: str, folder: str) -> tuple[dict[str, bytes], dict[str, str]]:
    """Blobs below a folder of a commit, in one batch, and why the others were not read.

    A folder of somebody's history is what it is: a link, a huge file or a blob that this clone does
    not have is said, and the rest can still be judged.
    """
    prefix = folder.strip("/")
    below = ("-r", f"{ref}^{{commit}}", "--", f"{prefix}/") if prefix else (f"{ref}^{{commit}}",)
    listing = git(repository, "ls-tree", "-z", "-l", *below)
    wanted: list[tuple[str, str]] = []
    files: dict[str, bytes] = {}
    unread: dict[str, str] = {}
    budget = _Budget(f"{ref}:{prefix}")
    for row in listing.decode(errors="surrogateescape").split("\0"):
        if not row:
            continue
        about, path = row.split("\t", 1)
        mode, _, blob, size = about.split()
        relative = _safe_path(path.removeprefix(f"{prefix}/"), budget.name)
        size_bytes = int(size) if size.isdigit() else 0
        if mode == "040000":
            continue  # beside the files at the top
        if mode not in ("100644", "100755"):
            unread[relative] = f"expected a regular file, found git mode {mode}"
        elif size_bytes > MAX_FILE_BYTES:
            unread[relative] = f"expected at most {MAX_FILE_BYTES:,} bytes, found {size_bytes:,}"
        else:
            budget.take(relative, size_bytes)
            wanted.append((relative, blob))
    if not wanted and not unread:
        raise SubmissionError(f"{ref}: expected a folder {prefix!r} in that commit, found none")
    answers = io.BytesIO(
        git(repository, "cat-file", "--batch", stdin="".join(f"{b}\n" for _, b in wanted).encode())
    )
    for relative, blob in wanted:
        header = answers.readline().decode().split()
        if header[1:2] == ["missing"]:
            unread[relative] = f"expected blob {blob}, which this clone does not have"
            continue
        files[relative] = answers.read(int(header[2]))
        answers.read(1)
    return files, unread

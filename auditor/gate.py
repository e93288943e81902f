"""Which record folders a change adds or edits."""

import subprocess
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path, PurePosixPath
from types import TracebackType

from auditor.errors import SubmissionError
from auditor.submission import git, git_command

MARKERS = {"submission.json", "train_gpt.py"}
"""A folder that holds one of these is a record folder."""


@dataclass(frozen=True, slots=True)
class Change:
    """One record folder of a change."""

    folder: str
    deleted: bool
    """True when the head no longer has it."""
    tree: str | None = field(default=None, compare=False)
    """Object id of the folder at the head; equal trees hold equal files."""


def changed_folders(repository: Path, base: str, head: str) -> list[Change]:
    """Record folders with a file that differs between the merge base of both refs and `head`."""
    ((_, changes),) = changes_of(repository, base, [head])
    if isinstance(changes, SubmissionError):
        raise changes
    return changes


def changes_of(
    repository: Path, base: str, heads: Iterable[str]
) -> Iterator[tuple[str, list[Change] | SubmissionError]]:
    """Yield every head with its changes, or with why it has none that could be found.

    One process answers for the trees of all of them: a repository has thousands of heads.
    """
    if not (repository / ".git").exists() and not (repository / "HEAD").exists():
        raise SubmissionError(f"{repository}: expected a git repository, found none")
    with ExitStack() as stack:
        trees: _Trees | None = None
        for head in heads:
            trees = trees or stack.enter_context(_Trees(repository))
            try:
                yield head, _changes(repository, trees, base, head)
            except SubmissionError as error:
                yield head, error


def _changes(repository: Path, trees: "_Trees", base: str, head: str) -> list[Change]:
    start = git(repository, "merge-base", base, head).decode().strip()
    listing = git(repository, "diff-tree", "-r", "--name-only", "--no-renames", "-z", start, head)
    names = listing.decode(errors="surrogateescape").split("\0")
    parents = {PurePosixPath(name).parent for name in names if name}
    folders = {_record_folder(trees, (head, start), parent) for parent in parents}
    changes = []
    for folder in sorted(filter(None, folders)):
        tree, entries = trees.read(head, folder)
        changes.append(Change(folder, deleted=not entries & MARKERS, tree=tree))
    return changes


def _record_folder(trees: "_Trees", refs: tuple[str, str], inner: PurePosixPath) -> str | None:
    """The innermost folder around a path that is a record folder before or after the change."""
    for folder in (inner, *inner.parents):
        if str(folder) != "." and any(trees.read(ref, str(folder))[1] & MARKERS for ref in refs):
            return str(folder)
    return None


class _Trees:
    """Asks one `git cat-file` for the names in a folder of a commit."""

    def __init__(self, repository: Path) -> None:
        """Start it; to be used as a context."""
        command, environment = git_command(repository, "cat-file", "--batch")
        self._process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        self.read = lru_cache(maxsize=10_000)(self._read)

    def __enter__(self) -> "_Trees":
        """Nothing more to start."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the process."""
        self._process.communicate()

    def _read(self, ref: str, folder: str) -> tuple[str | None, frozenset[str]]:
        """Object id and names of a folder; None and nothing where there is no such folder."""
        if "\n" in folder:
            return None, frozenset()
        asked, answers = self._process.stdin, self._process.stdout
        assert asked is not None
        assert answers is not None
        try:
            asked.write(f"{ref}:{folder}\n".encode(errors="surrogateescape"))
            asked.flush()
            header = answers.readline().split()
            if len(header) != 3 or not header[2].isdigit():
                return None, frozenset()
            content = answers.read(int(header[2]) + 1)[:-1]
        except OSError as error:
            raise SubmissionError(f"git cat-file stopped: {error}") from error
        if header[1] != b"tree":
            return None, frozenset()
        return header[0].decode(), frozenset(_names(content, len(header[0]) // 2))


def _names(tree: bytes, id_bytes: int) -> Iterator[str]:
    """Names in a tree object: mode, space, name, zero byte, binary id."""
    start = 0
    while start < len(tree):
        stop = tree.index(b"\0", start)
        yield tree[start:stop].split(b" ", 1)[1].decode(errors="surrogateescape")
        start = stop + 1 + id_bytes

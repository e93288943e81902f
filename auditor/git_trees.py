"""Folders and differences of a git repository, read as bytes; no name is ever passed to git.

A name may hold line breaks, wildcards or a leading dash. Trees are asked for by object id, and what
a change touches comes out of the raw difference of two commits.
"""

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import TracebackType

from auditor.errors import SubmissionError
from auditor.submission import GIT_SECONDS, git, git_command

MAX_DIFF_BYTES = 32 * 2**20
"""Of a raw difference: some 200,000 files."""
FOLDER, LINK, SUBMODULE = "040000", "120000", "160000"
NAMES = {FOLDER: "a folder", LINK: "a symbolic link", SUBMODULE: "a submodule"}


@dataclass(frozen=True, slots=True)
class Item:
    """An entry of a folder."""

    mode: str
    id: str


@dataclass(frozen=True, slots=True)
class Touched:
    """One file that a change adds, edits or deletes."""

    path: str
    before: Item | None
    after: Item | None


class Trees:
    """Asks one `git cat-file` for folders of commits; to be used as a context."""

    def __init__(self, repository: Path) -> None:
        """Start it."""
        self._repository = repository
        command, environment = git_command(repository, "cat-file", "--batch")
        self._process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        self.items = lru_cache(maxsize=10_000)(self._items)

    def __enter__(self) -> "Trees":
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

    def at(self, commit: str, path: str) -> Item | None:
        """What stands at a path of a commit; None where there is nothing."""
        item = Item(FOLDER, f"{commit}^{{tree}}")
        for name in path.split("/"):
            if item.mode != FOLDER:
                return None
            found = self.items(item.id).get(name)
            if found is None:
                return None
            item = found
        return item

    def names(self, commit: str, folder: str) -> frozenset[str]:
        """Names in a folder of a commit; none where there is no such folder."""
        item = self.at(commit, folder)
        if item is None or item.mode != FOLDER:
            return frozenset()
        return frozenset(self.items(item.id))

    def _items(self, tree: str) -> dict[str, Item]:
        asked, answers = self._process.stdin, self._process.stdout
        assert asked is not None
        assert answers is not None
        try:
            asked.write(f"{tree}\n".encode())
            asked.flush()
            header = answers.readline().split()
            content = answers.read(int(header[2]) + 1)[:-1] if len(header) == 3 else b""
        except OSError as error:
            raise SubmissionError(f"git cat-file stopped: {error}") from error
        if header[1:2] != [b"tree"]:
            raise SubmissionError(
                f"{self._repository}: expected the folder {tree} in this clone, found none "
                "(a partial clone? fetch it whole)"
            )
        return dict(_entries(content, len(header[0]) // 2))


def _entries(tree: bytes, id_bytes: int) -> Iterator[tuple[str, Item]]:
    """Entries of a tree object: mode, space, name, zero byte, binary id."""
    start = 0
    while start < len(tree):
        stop = tree.index(b"\0", start)
        mode, name = tree[start:stop].split(b" ", 1)
        id_ = tree[stop + 1 : stop + 1 + id_bytes].hex()
        yield name.decode(errors="surrogateescape"), Item(mode.decode().rjust(6, "0"), id_)
        start = stop + 1 + id_bytes


def commit_of(repository: Path, ref: str) -> str:
    """The commit that a ref names, or SubmissionError with what to do about it."""
    try:
        found = git(repository, "rev-parse", "--verify", "--end-of-options", f"{ref}^{{commit}}")
        return found.decode().strip()
    except SubmissionError as error:
        if "rev-parse failed" not in str(error) or "ownership" in str(error):
            raise
        raise SubmissionError(
            f"{repository}: expected {ref!r} to name a commit of this clone, found none; fetch it "
            "first (a commit that a forced push has replaced may be gone)"
        ) from error


def merge_base(repository: Path, base: str, head: str) -> str:
    """The commit that a change starts from, or SubmissionError with why there is none."""
    try:
        return git(repository, "merge-base", base, head).decode().strip()
    except SubmissionError as error:
        if "no message" not in str(error):
            raise
        shallow = git(repository, "rev-parse", "--is-shallow-repository").strip() == b"true"
        why = (
            "this clone is shallow; fetch the history (git fetch --unshallow, or fetch-depth: 0)"
            if shallow
            else "their histories have nothing in common"
        )
        raise SubmissionError(
            f"{repository}: expected a common ancestor of {base} and {head}, found none: {why}"
        ) from error


def touched(repository: Path, start: str, head: str) -> Iterator[Touched]:
    """Every file that differs between two commits; SubmissionError where they are too many."""
    command, environment = git_command(
        repository, "diff-tree", "-r", "--raw", "--no-renames", "--full-index", "-z", start, head
    )
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        listing = process.stdout.read(MAX_DIFF_BYTES + 1)
        if len(listing) > MAX_DIFF_BYTES:
            process.kill()
            raise SubmissionError(
                f"{repository}: the change touches too many files: expected at most "
                f"{MAX_DIFF_BYTES:,} bytes of differences, found more"
            )
        said = process.stderr.read(4_000).decode(errors="replace").strip()
        if process.wait(timeout=GIT_SECONDS):
            raise SubmissionError(f"{repository}: git diff-tree failed: {said or 'no message'}")
    fields = listing.split(b"\0")
    for about, name in zip(fields[::2], fields[1::2], strict=False):
        modes = about.decode().lstrip(":").split(" ")
        before, after = Item(modes[0], modes[2]), Item(modes[1], modes[3])
        yield Touched(
            name.decode(errors="surrogateescape"),
            before if before.mode != "000000" else None,
            after if after.mode != "000000" else None,
        )

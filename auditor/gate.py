"""Which record folders a change adds, edits, moves or deletes, and what else it touches."""

from collections import Counter, deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path, PurePosixPath

from auditor.errors import SubmissionError
from auditor.git_trees import FOLDER, NAMES, Touched, Trees, commit_of, merge_base, touched
from auditor.submission import git

MARKERS = {"submission.json", "train_gpt.py"}
"""A folder that holds one of these is a record folder."""
RECORDS = "records"
"""Below it, `records/track_x/NAME` is a record folder, and without tracks `records/NAME`."""
SAME_SHARE = 0.5
"""Of a folder's files, in number, that make it a copy of another one."""
MAX_RECORDS = 100
MAX_AHEAD = 4
"""Differences that are asked for before they are needed."""
_Difference = tuple[str, list[Touched]]
"""Where a change starts, and the files that differ."""


@dataclass(frozen=True, slots=True)
class Change:
    """One record folder of a change."""

    folder: str
    kind: str
    """`added`, `edited`, `renamed`, `copied` or `deleted`."""
    origin: str | None = None
    """The folder that a renamed or copied one comes from."""
    problem: str | None = None
    """Why what stands there cannot be audited: it is a link or a submodule."""
    tree: str | None = field(default=None, compare=False)
    """Object id of the folder at the head; equal trees hold equal files."""

    @property
    def deleted(self) -> bool:
        """True when the head no longer has it."""
        return self.kind == "deleted"


@dataclass(frozen=True, slots=True)
class ChangeSet:
    """Everything that one change does."""

    start: str
    """The commit that it starts from: the merge base."""
    head: str
    records: tuple[Change, ...]
    others: tuple[str, ...]
    """Paths of touched files outside record folders."""


def change_set(repository: Path, base: str, head: str) -> ChangeSet:
    """What `head` changes since the merge base with `base`; SubmissionError says what is missing.

    A folder is renamed when at least half of its files were in a folder that is deleted, and copied
    when they are in one that stays.
    """
    _expect_repository(repository)
    tip, top = commit_of(repository, base), commit_of(repository, head)
    with Trees(repository) as trees:
        found = _changes(trees, top, _difference(repository, tip, top))
    if len(found.records) > MAX_RECORDS:
        raise SubmissionError(
            f"{repository}: expected at most {MAX_RECORDS} record folders in a change, found "
            f"{len(found.records):,}"
        )
    if not any(change.kind == "added" for change in found.records):
        return found
    return replace(found, records=tuple(_with_origins(repository, found)))


def changed_folders(repository: Path, base: str, head: str) -> list[Change]:
    """Record folders with a file that differs between the merge base of both refs and `head`."""
    return list(change_set(repository, base, head).records)


def changes_of(
    repository: Path, base: str, heads: Iterable[str]
) -> Iterator[tuple[str, list[Change] | SubmissionError]]:
    """Yield every head with its changes, or with why it has none that could be found.

    One process answers for the trees of all of them: a repository has thousands of heads. The next
    differences are asked for meanwhile. Renamed and copied folders count as added ones here.
    """
    _expect_repository(repository)
    waiting = iter(heads)
    ahead: deque[tuple[str, Future[_Difference]]] = deque()
    with ExitStack() as stack:
        trees: Trees | None = None
        pool = stack.enter_context(ThreadPoolExecutor(2))
        while True:
            for head in islice(waiting, MAX_AHEAD - len(ahead)):
                ahead.append((head, pool.submit(_difference, repository, base, head)))
            if not ahead:
                return
            head, difference = ahead.popleft()
            trees = trees or stack.enter_context(Trees(repository))
            try:
                yield head, list(_changes(trees, head, difference.result()).records)
            except SubmissionError as error:
                yield head, error


def _expect_repository(repository: Path) -> None:
    if not (repository / ".git").exists() and not (repository / "HEAD").exists():
        raise SubmissionError(f"{repository}: expected a git repository, found none")


def _difference(repository: Path, base: str, head: str) -> _Difference:
    start = merge_base(repository, base, head)
    return start, list(touched(repository, start, head))


def _changes(trees: Trees, head: str, difference: _Difference) -> ChangeSet:
    start, files = difference
    folders: dict[str, None] = {}
    others = []
    for one in files:
        folder = _record_folder(trees, (head, start), one)
        if folder is None:
            others.append(one.path)
        else:
            folders.setdefault(folder)
    records = tuple(_change(trees, start, head, folder) for folder in sorted(folders))
    return ChangeSet(start, head, records, tuple(others))


def _change(trees: Trees, start: str, head: str, folder: str) -> Change:
    before, after = trees.at(start, folder), trees.at(head, folder)
    if after is None:
        return Change(folder, "deleted")
    kind = "added" if before is None else "edited"
    if after.mode != FOLDER:
        found = NAMES.get(after.mode, "a file")
        return Change(folder, kind, problem=f"expected a record folder, found {found}")
    return Change(folder, kind, tree=after.id)


def _record_folder(trees: Trees, refs: tuple[str, str], one: Touched) -> str | None:
    """The outermost folder around a file that is a record folder before or after the change.

    Where the layout says that a record stands, one is taken to stand there with or without the
    usual files, unless it is made of folders that have them.
    """
    parts = one.path.split("/")
    floor = _floor(parts)
    if len(parts) <= floor:
        # A link or a submodule in the place of a record is no file of anything else.
        special = any(item and item.mode in NAMES for item in (one.before, one.after))
        return one.path if parts[0] == RECORDS and special else None
    for depth in range(floor, len(parts)):
        folder = "/".join(parts[:depth])
        if any(trees.names(ref, folder) & MARKERS for ref in refs):
            return folder
    place = "/".join(parts[:floor])
    if parts[0] != RECORDS or any(_holds_records(trees, ref, place) for ref in refs):
        return None
    return place


def _floor(parts: list[str]) -> int:
    """How many parts the path of a record has at least."""
    if parts[0] != RECORDS or len(parts) < 2:
        return 2 if parts[0] == RECORDS else 1
    return 3 if parts[1].startswith("track_") else 2


def _holds_records(trees: Trees, ref: str, folder: str) -> bool:
    """Whether folders directly inside this one have the files of a record."""
    return any(trees.names(ref, f"{folder}/{name}") & MARKERS for name in trees.names(ref, folder))


def _with_origins(repository: Path, found: ChangeSet) -> Iterator[Change]:
    """The changes, with the folder that an added one is a copy of."""
    before = _blobs(repository, found.start)
    after = _blobs(repository, found.head)
    known = {change.folder for change in found.records if not change.deleted}
    gone = {change.folder for change in found.records if change.deleted}
    homes: dict[str, set[str]] = {}
    for path, blob in before.items():
        for folder in _homes(path):
            homes.setdefault(blob, set()).add(folder)
    for change in found.records:
        if change.kind != "added" or change.problem is not None:
            yield change
            continue
        inside = f"{change.folder}/"
        mine = [blob for path, blob in after.items() if path.startswith(inside)]
        depth = change.folder.count("/")
        shared = Counter(
            folder
            for blob in mine
            for folder in homes.get(blob, ())
            if folder.count("/") == depth and (folder in gone or folder not in known)
        )
        # A folder that is gone explains the files better than one that has them still.
        best = max(shared.items(), key=lambda one: (one[1], one[0] in gone, one[0]), default=None)
        if best is None or best[1] < SAME_SHARE * len(mine):
            yield change
        else:
            kind = "renamed" if best[0] in gone else "copied"
            yield replace(change, kind=kind, origin=best[0])


def _homes(path: str) -> Iterator[str]:
    for folder in PurePosixPath(path).parents:
        if str(folder) != ".":
            yield str(folder)


def _blobs(repository: Path, commit: str) -> dict[str, str]:
    """Every file of a commit that is not empty, with its object id."""
    listing = git(repository, "ls-tree", "-r", "-z", "-l", commit)
    blobs = {}
    for row in listing.decode(errors="surrogateescape").split("\0"):
        about, _, path = row.partition("\t")
        fields = about.split()
        if len(fields) == 4 and fields[3] not in ("0", "-"):
            blobs[path] = fields[2]
    return blobs

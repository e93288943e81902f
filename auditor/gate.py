"""Which record folders a change adds or edits."""

from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from auditor.errors import SubmissionError
from auditor.submission import git

MARKERS = {"submission.json", "train_gpt.py"}
"""A folder that holds one of these is a record folder."""


@dataclass(frozen=True, slots=True)
class Change:
    """One record folder of a change."""

    folder: str
    deleted: bool
    """True when the head no longer has it."""


def changed_folders(repository: Path, base: str, head: str) -> list[Change]:
    """Record folders with a file that differs between the merge base of both refs and `head`."""
    if not (repository / ".git").exists() and not (repository / "HEAD").exists():
        raise SubmissionError(f"{repository}: expected a git repository, found none")
    start = git(repository, "merge-base", base, head).decode().strip()
    listing = git(repository, "diff", "--name-only", "--no-renames", "-z", start, head, "--")
    paths = [PurePosixPath(p) for p in listing.decode(errors="surrogateescape").split("\0") if p]
    folders = {
        folder
        for path in paths
        if (folder := _record_folder(repository, (head, start), path)) is not None
    }
    return [
        Change(folder, deleted=not _is_record(repository, head, folder))
        for folder in sorted(folders)
    ]


def _record_folder(repository: Path, refs: tuple[str, str], path: PurePosixPath) -> str | None:
    """The innermost folder around a path that is a record folder before or after the change."""
    for folder in path.parents:
        if str(folder) != "." and any(_is_record(repository, ref, str(folder)) for ref in refs):
            return str(folder)
    return None


def _is_record(repository: Path, ref: str, folder: str) -> bool:
    listing = git(repository, "ls-tree", "--name-only", "-z", ref, "--", f"{folder}/")
    names = {
        PurePosixPath(p).name for p in listing.decode(errors="surrogateescape").split("\0") if p
    }
    return bool(names & MARKERS)

"""Which folders a change touches, in real repositories."""

import subprocess

import pytest

from auditor import git_trees
from auditor.errors import SubmissionError
from auditor.gate import Change, change_set, changed_folders
from tests.auditor.repositories import Repository

TRACK = "records/track_10min_16mb"
SCRIPT = "train_gpt.py"


@pytest.fixture
def repository(tmp_path):
    made = Repository(tmp_path / "it")
    made.commit(
        {
            "README.md": "x",
            f"{TRACK}/a/{SCRIPT}": "1",
            f"{TRACK}/a/submission.json": "{}",
            f"{TRACK}/b/{SCRIPT}": "2",
            f"{TRACK}/b/README.md": "b",
        }
    )
    made.branch()
    return made


def changed(repository: Repository) -> list[tuple[str, str]]:
    found = changed_folders(repository.path, "main", "topic")
    return [(change.kind, change.folder.removeprefix(f"{TRACK}/")) for change in found]


def test_added_and_edited_folders_are_found_and_others_are_not(repository):
    repository.commit({f"{TRACK}/b/{SCRIPT}": "3", f"{TRACK}/c/{SCRIPT}": "c", "README.md": "y"})
    assert changed(repository) == [("edited", "b"), ("added", "c")]
    assert change_set(repository.path, "main", "topic").others == ("README.md",)


def test_a_change_deep_inside_belongs_to_its_record(repository):
    repository.commit({f"{TRACK}/a/helpers/x.py": "1"})
    assert changed(repository) == [("edited", "a")]


def test_a_script_deeper_down_does_not_hide_the_record_around_it(repository):
    repository.commit({f"{TRACK}/c/{SCRIPT}": "c", f"{TRACK}/c/old/{SCRIPT}": "clean"})
    repository.commit({f"{TRACK}/a/old/{SCRIPT}": "clean"})
    assert changed(repository) == [("edited", "a"), ("added", "c")]


def test_a_track_with_a_marker_of_its_own_is_no_record(repository):
    repository.commit({f"{TRACK}/submission.json": "{}", f"{TRACK}/c/{SCRIPT}": "c"})
    assert changed(repository) == [("added", "c")]
    assert change_set(repository.path, "main", "topic").others == (f"{TRACK}/submission.json",)


def test_a_folder_without_script_and_claims_stands_where_records_stand(repository):
    repository.commit({f"{TRACK}/c/train.py": "c", f"{TRACK}/c/README.md": "c"})
    assert changed(repository) == [("added", "c")]


def test_a_folder_of_records_is_none_itself(repository):
    repository.commit({f"{TRACK}/both/{one}/{SCRIPT}": one for one in "cd"})
    repository.commit({f"{TRACK}/both/README.md": "both"})
    assert changed(repository) == [("added", "both/c"), ("added", "both/d")]
    assert change_set(repository.path, "main", "topic").others == (f"{TRACK}/both/README.md",)


def test_elsewhere_a_folder_needs_the_files_of_a_record(repository):
    repository.commit({f"mine/c/{SCRIPT}": "c", f"mine/c/d/{SCRIPT}": "d", "docs/x.md": "x"})
    assert changed(repository) == [("added", "mine/c")]


def test_a_deleted_folder_is_said_to_be_deleted(repository):
    repository.git("rm", "-rq", f"{TRACK}/a")
    repository.commit()
    assert changed(repository) == [("deleted", "a")]


def test_a_record_that_loses_its_script_is_still_audited(repository):
    """Else a change could hide an invalid record by taking its script away."""
    repository.git("rm", "-q", f"{TRACK}/b/{SCRIPT}")
    repository.commit()
    assert changed(repository) == [("edited", "b")]


def test_a_renamed_folder_is_known_though_some_of_it_is_edited(repository):
    repository.git("mv", f"{TRACK}/b", f"{TRACK}/c")
    repository.commit({f"{TRACK}/c/{SCRIPT}": "edited"})
    (gone, moved) = changed_folders(repository.path, "main", "topic")
    assert (gone.kind, gone.folder) == ("deleted", f"{TRACK}/b")
    assert moved == Change(f"{TRACK}/c", "renamed", f"{TRACK}/b")


def test_a_copied_folder_is_known_and_another_one_is_not(repository):
    repository.commit({f"{TRACK}/c/{SCRIPT}": "2", f"{TRACK}/c/README.md": "not b"})
    assert changed_folders(repository.path, "main", "topic") == [
        Change(f"{TRACK}/c", "copied", f"{TRACK}/b")
    ]
    repository.commit({f"{TRACK}/c/{SCRIPT}": "new"})
    assert changed(repository) == [("added", "c")]


def test_what_happens_on_the_base_branch_meanwhile_is_not_the_change(repository):
    repository.commit({f"{TRACK}/c/{SCRIPT}": "c"})
    repository.git("checkout", "-q", "main")
    repository.commit({f"{TRACK}/a/{SCRIPT}": "2"})
    assert changed(repository) == [("added", "c")]


def test_a_change_without_records_is_empty(repository):
    repository.commit({"README.md": "y"})
    assert changed(repository) == []


@pytest.mark.parametrize(
    "name", ["with space", "日本 é", "a\nb", "-c", "*", ":(glob)x", "q\"uo'te", "a@b:c", "\x1b[31m"]
)
def test_any_name_is_found(repository, name):
    repository.commit({f"{TRACK}/{name}/{SCRIPT}": "c"})
    assert changed(repository) == [("added", name)]


def test_a_name_that_is_not_utf8_is_found(repository):
    folder = repository.path / TRACK / "caf\udce9"
    folder.mkdir()
    (folder / SCRIPT).write_text("c")
    repository.commit()
    assert changed(repository) == [("added", "caf\udce9")]


def link(repository: Repository, path: str) -> None:
    (repository.path / path).symlink_to("../../README.md")


def submodule(repository: Repository, path: str) -> None:
    commit = repository.git("rev-parse", "main")
    repository.git("update-index", "--add", "--cacheinfo", f"160000,{commit},{path}")
    repository.git("commit", "-qm", "x")


@pytest.mark.parametrize("place", [f"{TRACK}/c", "records/c", "records/track_new"])
@pytest.mark.parametrize(("make", "word"), [(link, "a symbolic link"), (submodule, "a submodule")])
def test_a_link_or_submodule_in_the_place_of_a_record_does_not_pass_silently(
    repository, make, word, place
):
    make(repository, place)
    if make is link:
        repository.commit()
    (found,) = changed_folders(repository.path, "main", "topic")
    assert (found.folder, found.kind) == (place, "added")
    assert found.problem == f"expected a record folder, found {word}"


def test_unknown_refs_and_folders_are_said(repository, tmp_path):
    with pytest.raises(SubmissionError, match="expected 'absent' to name a commit"):
        changed_folders(repository.path, "main", "absent")
    with pytest.raises(SubmissionError, match="expected '--help' to name a commit"):
        changed_folders(repository.path, "--help", "topic")
    with pytest.raises(SubmissionError, match="expected a git repository"):
        changed_folders(tmp_path / "absent", "main", "topic")


def test_a_commit_that_a_forced_push_replaced_is_said(repository):
    gone = repository.commit({"x": "1"})
    repository.git("reset", "-q", "--hard", "main")
    repository.git("reflog", "expire", "--expire=now", "--all")
    repository.git("gc", "-q", "--prune=now")
    with pytest.raises(SubmissionError, match="a forced push has replaced"):
        changed_folders(repository.path, "main", gone)


def test_a_shallow_clone_is_said_to_be_one(repository, tmp_path):
    repository.commit({f"{TRACK}/c/{SCRIPT}": "c"})
    repository.git("checkout", "-q", "main")
    repository.commit({"README.md": "meanwhile"})
    shallow = Repository(tmp_path / "shallow")
    for ref in ("main", "topic"):
        remote = f"file://{repository.path}"
        shallow.git("fetch", "-q", "--depth=1", remote, f"{ref}:refs/heads/their-{ref}")
    with pytest.raises(SubmissionError, match="this clone is shallow; fetch the history"):
        changed_folders(shallow.path, "their-main", "their-topic")


def test_histories_without_anything_in_common_are_said(repository):
    repository.git("checkout", "-q", "--orphan", "other")
    repository.commit({"x": "1"})
    with pytest.raises(SubmissionError, match="nothing in common"):
        changed_folders(repository.path, "main", "other")


def test_a_clone_without_the_folders_is_said(repository, tmp_path):
    """A partial clone must not look like one without records."""
    repository.commit({f"{TRACK}/c/{SCRIPT}": "c"})
    repository.git("config", "uploadpack.allowFilter", "true")
    partial = tmp_path / "partial"
    subprocess.run(
        ["git", "clone", "-q", "--bare", "--filter=tree:0", f"file://{repository.path}", partial],
        check=True,
        capture_output=True,
    )
    with pytest.raises(SubmissionError):
        changed_folders(partial, "main", "topic")


def test_a_change_that_is_too_large_is_refused_with_the_numbers(repository, monkeypatch):
    repository.commit({f"{TRACK}/c/{at}.py": str(at) for at in range(40)})
    monkeypatch.setattr(git_trees, "MAX_DIFF_BYTES", 2_000)
    with pytest.raises(SubmissionError, match="expected at most 2,000 bytes"):
        changed_folders(repository.path, "main", "topic")


def test_too_many_records_are_refused_with_the_numbers(repository):
    repository.commit({f"{TRACK}/r{at}/{SCRIPT}": str(at) for at in range(101)})
    with pytest.raises(SubmissionError, match=r"expected at most 100 record folders.*found 101"):
        changed_folders(repository.path, "main", "topic")

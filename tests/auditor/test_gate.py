"""Which folders a change touches, in a real repository."""

import subprocess
from pathlib import Path

import pytest

from auditor.errors import SubmissionError
from auditor.gate import Change, changed_folders


class Repository:
    """A git repository in a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.git("init", "-q", "-b", "main")
        self.git("config", "user.name", "a")
        self.git("config", "user.email", "a@b")

    def git(self, *words: str) -> None:
        subprocess.run(["git", "-C", str(self.path), *words], check=True, capture_output=True)

    def commit(self, **files: str) -> None:
        for name, text in files.items():
            path = self.path / name.replace("__", "/").replace("_py", ".py").replace("_md", ".md")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        self.git("add", "-A")
        self.git("commit", "-qm", "x")


@pytest.fixture
def repository(tmp_path):
    made = Repository(tmp_path)
    made.commit(README_md="x", records__a__train_gpt_py="1", records__b__train_gpt_py="1")
    return made


def changed(repository: Repository) -> list[Change]:
    return changed_folders(repository.path, "main", "topic")


def test_added_and_edited_folders_are_found_and_others_are_not(repository):
    repository.git("checkout", "-qb", "topic")
    repository.commit(records__b__train_gpt_py="2", records__c__train_gpt_py="1", README_md="y")
    assert changed(repository) == [
        Change("records/b", deleted=False),
        Change("records/c", deleted=False),
    ]


def test_a_change_deep_inside_belongs_to_its_record(repository):
    repository.git("checkout", "-qb", "topic")
    repository.commit(records__a__helpers__x_py="1")
    assert changed(repository) == [Change("records/a", deleted=False)]


def test_a_deleted_folder_is_said_to_be_deleted(repository):
    repository.git("checkout", "-qb", "topic")
    repository.git("rm", "-rq", "records/a")
    repository.git("commit", "-qm", "x")
    assert changed(repository) == [Change("records/a", deleted=True)]


def test_a_record_that_loses_its_script_is_still_audited(repository):
    """Else a change could hide an invalid record by taking its script away."""
    repository.commit(records__a__README_md="x")
    repository.git("checkout", "-qb", "topic")
    repository.git("rm", "-q", "records/a/train_gpt.py")
    repository.git("commit", "-qm", "x")
    assert [change.folder for change in changed(repository)] == ["records/a"]


def test_what_happens_on_the_base_branch_meanwhile_is_not_the_change(repository):
    repository.git("checkout", "-qb", "topic")
    repository.commit(records__c__train_gpt_py="1")
    repository.git("checkout", "-q", "main")
    repository.commit(records__a__train_gpt_py="2")
    assert [change.folder for change in changed(repository)] == ["records/c"]


def test_a_change_without_records_is_empty(repository):
    repository.git("checkout", "-qb", "topic")
    repository.commit(README_md="y")
    assert changed(repository) == []


def test_unknown_refs_and_folders_are_said(repository, tmp_path):
    with pytest.raises(SubmissionError, match="git merge-base failed"):
        changed_folders(repository.path, "main", "absent")
    with pytest.raises(SubmissionError, match="expected a git repository"):
        changed_folders(tmp_path / "absent", "main", "topic")

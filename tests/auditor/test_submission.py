"""Loading: the same files from a folder, an archive and git; hostile input ends in one sentence."""

import io
import os
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from auditor import submission as module
from auditor.errors import SubmissionError
from auditor.inspect.source import read_sources
from auditor.submission import File, Submission

FILES = {"README.md": b"# x\n", "train_gpt.py": b"print(1)\n", "logs/a.txt": b"seed:1\n"}


def zipped(files: dict[str, bytes], top: str = "") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, data in files.items():
            archive.writestr(top + path, data)
    return buffer.getvalue()


def tarred(files: dict[str, bytes], mode: str = "w") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:  # type: ignore[call-overload]
        for path, data in files.items():
            member = tarfile.TarInfo(path)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def with_member(member: tarfile.TarInfo) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(member, io.BytesIO(b"\0" * member.size))
    return buffer.getvalue()


def linked(kind: bytes, target: str) -> tarfile.TarInfo:
    member = tarfile.TarInfo("link")
    member.type, member.linkname = kind, target
    return member


def git(folder: Path, *words: str) -> None:
    subprocess.run(["git", "-C", str(folder), *words], check=True, capture_output=True)


def test_every_way_in_gives_the_same_digest(tmp_path):
    repository = tmp_path / "a@b"
    folder = repository / "record"
    for path, data in FILES.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__" / "x.pyc").write_bytes(b"ignored")
    git(repository, "init", "-q")
    git(repository, "add", "record/README.md", "record/train_gpt.py", "record/logs")
    git(repository, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "x")
    loaded = [
        Submission.load(folder),
        Submission.from_archive(zipped(FILES), "record.zip"),
        Submission.from_archive(zipped(FILES, top="record/"), "other.zip"),
        Submission.from_archive(tarred(FILES), "record.tar"),
        Submission.from_archive(tarred(FILES, "w:gz"), "record.tar.gz"),
        Submission.from_archive(zstandard.compress(tarred(FILES)), "record.tar.zst"),
        Submission.load(f"{repository}@HEAD:record"),
    ]
    assert {one.name for one in loaded} == {"record"}
    assert len({one.sha256 for one in loaded}) == 1
    assert {path: file.data for path, file in loaded[-1].files.items()} == FILES


def test_the_top_of_a_repository_is_its_own_files_and_none_of_its_folders(tmp_path):
    for path, data in FILES.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(data)
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "x")
    loaded = Submission.load(f"{tmp_path}@HEAD:")
    assert set(loaded.files) == {path for path in FILES if "/" not in path}
    assert not loaded.unread


def test_one_changed_byte_changes_the_digest():
    changed = {**FILES, "README.md": b"# y\n"}
    one, other = (Submission.from_archive(zipped(f), "a.zip") for f in (FILES, changed))
    assert one.sha256 != other.sha256


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("a.zip", zipped({"../x": b""}), "leaves the folder"),
        ("a.zip", zipped({"/etc/x": b""}), "leaves the folder"),
        ("a.zip", zipped({"a\\..\\x": b""}), "leaves the folder"),
        ("a.zip", zipped({"a\nb": b""}), "characters that no path needs"),
        ("a.zip", b"PK nonsense", "expected a zip archive"),
        ("a.zip", zipped({}), "found no files"),
        ("a.tar", tarred({"../x": b""}), "leaves the folder"),
        ("a.tar", b"nonsense" * 200, "expected a tar archive"),
        ("a.tar.zst", b"nonsense", "expected a tar archive"),
        ("a.tar.gz", b"nonsense", "expected a tar archive"),
        ("a.tar", with_member(linked(tarfile.SYMTYPE, "/etc/passwd")), "link or device"),
        ("a.tar", with_member(linked(tarfile.LNKTYPE, "x")), "link or device"),
        ("a.tar", with_member(linked(tarfile.CHRTYPE, "")), "link or device"),
        ("a.rar", b"", "expected a name in .zip"),
    ],
)
def test_hostile_archives_are_refused_with_a_reason(name, data, said):
    with pytest.raises(SubmissionError, match=said):
        Submission.from_archive(data, name)


def test_a_link_inside_a_zip_is_refused():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        member = zipfile.ZipInfo("link")
        member.external_attr = 0o120777 << 16
        archive.writestr(member, "/etc/passwd")
    with pytest.raises(SubmissionError, match="symbolic link"):
        Submission.from_archive(buffer.getvalue(), "a.zip")


@pytest.mark.parametrize("name", ["a.zip", "a.tar.gz", "a.tar.zst"])
def test_a_bomb_is_stopped_before_it_is_unpacked(name, monkeypatch):
    monkeypatch.setattr(module, "MAX_FILE_BYTES", 1_000_000)
    bomb = {"zeros": b"\0" * 1_000_001}
    data = {
        "a.zip": lambda: zipped(bomb),
        "a.tar.gz": lambda: tarred(bomb, "w:gz"),
        "a.tar.zst": lambda: zstandard.compress(tarred(bomb)),
    }[name]()
    assert len(data) < 10_000
    with pytest.raises(SubmissionError, match=r"zeros has 1,000,001 bytes, over .* 1,000,000"):
        Submission.from_archive(data, name)


def test_too_many_files_are_refused(monkeypatch):
    monkeypatch.setattr(module, "MAX_FILES", 3)
    three = Submission.from_archive(zipped({str(i): b"" for i in range(3)}), "a.zip")
    assert len(three.files) == 3
    with pytest.raises(SubmissionError, match="more than 3 files"):
        Submission.from_archive(zipped({str(i): b"" for i in range(4)}), "a.zip")


def test_a_link_in_a_folder_is_refused(tmp_path):
    (tmp_path / "x").symlink_to("/etc/passwd")
    with pytest.raises(SubmissionError, match="x: expected a regular file"):
        Submission.load(tmp_path)


def test_what_a_clone_does_not_have_is_said_and_the_rest_is_read(tmp_path, monkeypatch):
    record = tmp_path / "record"
    record.mkdir()
    (record / "train_gpt.py").write_text("import helper\n")
    (record / "helper.py").write_text("pass\n")
    (record / "huge.bin").write_bytes(bytes(3000))
    (record / "link").symlink_to("/etc/passwd")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", "record")
    git(tmp_path, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "x")
    blob = subprocess.run(
        ["git", "-C", str(tmp_path), "rev-parse", "HEAD:record/helper.py"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()
    (tmp_path / ".git" / "objects" / blob[:2] / blob[2:]).unlink()
    monkeypatch.setattr(module, "MAX_FILE_BYTES", 2000)
    loaded = Submission.load(f"{tmp_path}@HEAD:record")
    assert list(loaded.files) == ["train_gpt.py"]
    assert loaded.unread == {
        "helper.py": f"expected blob {blob}, which this clone does not have",
        "huge.bin": "expected at most 2,000 bytes, found 3,000",
        "link": "expected a regular file, found git mode 120000",
    }
    (unread,) = read_sources(loaded).unread
    assert unread.startswith("helper.py: expected blob")


def test_another_script_does_not_stand_in_for_one_that_is_unread():
    files = {"other.py": File(b"pass", "")}
    assert Submission("x", files).entry == "other.py"
    assert Submission("x", files, {"train_gpt.py": "absent"}).entry is None


def test_a_name_that_is_not_text_is_refused(tmp_path):
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff")).write_bytes(b"")
    with pytest.raises(SubmissionError, match="characters that no path needs"):
        Submission.load(tmp_path)


def test_what_is_not_there_is_said(tmp_path):
    with pytest.raises(SubmissionError, match="no such folder or archive"):
        Submission.load(tmp_path / "absent")
    with pytest.raises(SubmissionError, match=r"git ls-tree failed"):
        Submission.load(f"{tmp_path}@HEAD:record")


def test_a_member_without_a_name_is_refused():
    """Python's zipfile looks at the last letter of every name."""
    nameless = bytearray(zipped({"x": b"1"}))
    central = nameless.index(b"PK\x01\x02")
    nameless[central + 28] = 0  # length of the name in the central directory
    with pytest.raises(SubmissionError, match="expected a zip archive"):
        Submission.from_archive(bytes(nameless), "a.zip")


@settings(max_examples=300, deadline=None)
@given(st.data(), st.sampled_from(["a.zip", "a.tar", "a.tar.gz", "a.tar.zst"]))
def test_damaged_archives_load_or_are_refused_and_nothing_else(data, name):
    make = {
        "a.zip": lambda: zipped(FILES),
        "a.tar": lambda: tarred(FILES),
        "a.tar.gz": lambda: tarred(FILES, "w:gz"),
        "a.tar.zst": lambda: zstandard.compress(tarred(FILES)),
    }[name]
    content = bytearray(make())
    for _ in range(data.draw(st.integers(1, 6))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place] = data.draw(st.integers(0, 255))
    try:
        loaded = Submission.from_archive(bytes(content), name)
    except SubmissionError:
        return
    assert len(loaded.sha256) == 64

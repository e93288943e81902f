"""Parts of the sandbox that no escape tries: groups, counting, the line of the container."""

import os
import sys
from pathlib import Path

import pytest

from auditor.doctor import examine
from auditor.errors import ToolError
from auditor.run.sandbox import Limits, docker, execute, groups, missing, watch

LIMITS = Limits(seconds=9, bytes=2**29, processes=77)


def version_2(tmp_path: Path, passed: str) -> tuple[Path, Path]:
    """A folder laid out like control groups of version 2, and our place in it."""
    own = tmp_path / "cgroup" / "slice" / "scope"
    own.mkdir(parents=True)
    for folder in (own, own.parent):
        (folder / "cgroup.subtree_control").write_text("")
        (folder / "cgroup.procs").write_text("")
    (own.parent / "cgroup.subtree_control").write_text(passed)
    membership = tmp_path / "membership"
    membership.write_text("0::/slice/scope\n")
    return tmp_path / "cgroup", membership


def test_version_2_groups_are_made_where_both_controllers_are_passed_on(tmp_path):
    root, membership = version_2(tmp_path, "cpu memory pids\n")
    assert set(groups.parents(root, membership).values()) == {root / "slice"}


def test_no_group_is_made_where_a_controller_is_not_passed_on(tmp_path):
    root, membership = version_2(tmp_path, "cpu pids\n")
    assert groups.parents(root, membership) == {}
    with groups.group(LIMITS, root, membership) as none:
        assert (none.folders, none.members, none.memory_kills()) == ({}, (), 0)


def test_version_1_groups_are_made_below_our_own(tmp_path):
    membership = tmp_path / "membership"
    membership.write_text("9:name=systemd:/\n8:pids:/\n4:cpu,memory:/some/where\n")
    for folder in ("pids", "memory/some/where"):
        (tmp_path / folder).mkdir(parents=True)
    expected = {"pids": tmp_path / "pids", "memory": tmp_path / "memory/some/where"}
    assert groups.parents(tmp_path, membership) == expected


def test_kills_for_want_of_memory_are_counted_in_both_versions(tmp_path):
    group = groups.Group({"memory": tmp_path})
    assert group.memory_kills() == 0
    (tmp_path / "memory.oom_control").write_text("oom_kill_disable 0\nunder_oom 0\noom_kill 2\n")
    assert group.memory_kills() == 2
    (tmp_path / "memory.events").write_text("low 0\noom 4\noom_kill 3\n")
    assert group.memory_kills() == 3


def test_memory_is_counted_and_shared_pages_once():
    own = os.getpid()
    quick = watch.memory_bytes([own], 2**60)
    assert quick > 2**20
    # Past the limit pages are shared out; ten times one process is then not ten times as much.
    assert 0 < watch.memory_bytes([own], 1) <= quick


def test_a_folder_is_counted_without_following_links(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x").write_bytes(bytes(100_000))
    (tmp_path / "up").symlink_to("/usr")
    size, entries = watch.folder_size(tmp_path, 100)
    assert entries == 3
    assert 100_000 <= size < 200_000
    assert watch.folder_size(tmp_path, 1)[1] == 2


def test_the_containers_line_asks_for_every_limit():
    command = [sys.executable, "-m", "recorder", "train_gpt.py"]
    variables = {"HOME": "/tmp"}
    words = docker.command_line(command, Path("/w"), "record", variables, LIMITS, "one", "runsc")
    line = " ".join(words)
    for asked in (
        *("--network none", "--read-only", "--cap-drop ALL", "no-new-privileges"),
        *("--memory 536870912 --memory-swap 536870912", "--pids-limit 77", "--runtime runsc"),
        *("nofile=4096:4096", "core=0:0", "--log-driver none", "--env HOME=/tmp", "--pull never"),
        *("type=bind,source=/w,target=/workspace", "--workdir /workspace/record"),
    ):
        assert asked in line
    assert words[-4:] == ["python3", "-m", "recorder", "train_gpt.py"]
    assert "--user 0" not in line


@pytest.mark.skipif(missing("docker") is not None, reason=f"no Docker: {missing('docker')}")
def test_a_container_runs_a_script_and_its_events_arrive(tmp_path):
    (tmp_path / "record").mkdir()
    done = execute(
        [sys.executable, "-c", "import os; print(os.getcwd()); os.write(3, b'one\\ntwo\\n')"],
        workspace=tmp_path,
        folder="record",
        environment={},
        limits=Limits(seconds=60, bytes=2**29),
        backend="docker",
        on_event=lambda line: None,
    )
    assert (done.returncode, done.output) == (0, "/workspace/record\n")
    assert done.events == (b"one\n", b"two\n")


def test_without_an_engine_the_remedy_is_named(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ToolError, match=r"apt-get install docker\.io"):
        docker.runtime()
    assert [check.state for check in examine() if check.what == "sandbox bubblewrap"] == ["missing"]

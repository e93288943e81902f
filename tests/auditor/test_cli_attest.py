"""audit --attest, keygen and verify as people run them."""

import base64
import contextlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer.testing
from cryptography.hazmat.primitives import serialization as form
from cryptography.hazmat.primitives.asymmetric import ec

from auditor.attest import attest
from auditor.cli import app
from auditor.keys import private_key
from auditor.report.json_v1 import digest_of
from tests.auditor.test_cli import ENVIRONMENT
from tests.systems import record


def auditor(*words, cwd):
    """The command in this process, which spares an interpreter a call."""
    with contextlib.chdir(cwd):
        done = typer.testing.CliRunner().invoke(app, [*map(str, words)])
    return subprocess.CompletedProcess(words, done.exit_code, done.stdout, done.stderr)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A record folder, a key, and the signed verdict of an audit that only reads."""
    folder = tmp_path_factory.mktemp("attest")
    (folder / "record").mkdir()
    record().write_to(folder / "record")
    assert auditor("keygen", "key", cwd=folder).returncode == 0
    words = ["audit", "record", "--attest", "signed.json", "--key", "key"]
    assert auditor(*words, cwd=folder).returncode == 3
    return folder


@pytest.fixture
def made(folder, tmp_path):
    return shutil.copytree(folder, tmp_path / "made")


def document(folder):
    envelope = json.loads((folder / "signed.json").read_bytes())
    return json.loads(base64.b64decode(envelope["payload"]))["predicate"]["verdict"]


def write_anew(path, changed, key=None):
    """The envelope of another verdict, with the digest that fits it."""
    changed["digest"] = digest_of(changed)
    path.write_bytes(attest(changed, key))


def test_a_signed_verdict_holds_for_its_key_and_its_record(made):
    assert (made / "key").stat().st_mode & 0o077 == 0
    done = auditor("verify", "signed.json", "--key", "key.pub", "--folder", "record", cwd=made)
    assert (done.returncode, done.stderr) == (0, "")
    assert "signed.json: inconclusive for 4 files under 2026-05-02, by strict-prefix" in done.stdout
    assert "signed by the key of key.pub" in done.stdout
    done = auditor("verify", "signed.json", cwd=made)
    assert done.returncode == 3
    assert "not checked: who says so (signed by" in done.stdout


def test_a_key_of_the_environment_signs_the_same(made):
    environment = {**ENVIRONMENT, "STRICT_PREFIX_KEY": (made / "key").read_text()}
    subprocess.run(
        [sys.executable, "-m", "auditor", "audit", "record", "--attest", "again.json"],
        cwd=made,
        env={**environment, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        check=False,
    )
    assert auditor("verify", "again.json", "--key", "key.pub", cwd=made).returncode == 0


def test_without_a_key_the_statement_is_written_unsigned(made):
    auditor("audit", "record", "--attest", "unsigned.json", cwd=made)
    done = auditor("verify", "unsigned.json", "--folder", "record", cwd=made)
    assert done.returncode == 3
    assert "signed by nobody" in done.stdout
    done = auditor("verify", "unsigned.json", "--key", "key.pub", cwd=made)
    assert done.returncode == 1
    assert "WRONG the signature: expected one of key" in done.stdout


def test_a_foreign_key_vouches_for_nothing(made):
    auditor("keygen", "other", cwd=made)
    done = auditor("verify", "signed.json", "--key", "other.pub", cwd=made)
    assert done.returncode == 1
    assert "WRONG the signature: expected one of key" in done.stdout


def test_a_changed_file_of_the_record_is_named(made):
    script = made / "record/train_gpt.py"
    script.write_bytes(script.read_bytes().replace(b"total", b"tota1", 1))
    done = auditor("verify", "signed.json", "--key", "key.pub", "--folder", "record", cwd=made)
    assert done.returncode == 1
    assert "WRONG train_gpt.py: expected the file that was judged (" in done.stdout


def test_an_embellished_verdict_is_caught_by_reading_again(made):
    """Somebody who signs it himself makes all digests fit; the files still say otherwise."""
    better = document(made)
    for result in better["results"]:
        if result["outcome"] == "inconclusive":
            result.update(outcome="pass", strength="source")
    better["outcome"] = "pass"
    write_anew(made / "better.json", better, private_key(made / "key"))
    assert auditor("verify", "better.json", "--key", "key.pub", cwd=made).returncode == 0
    done = auditor("verify", "better.json", "--key", "key.pub", "--folder", "record", cwd=made)
    assert done.returncode == 1
    assert "was pass, and reading the same files again gives inconclusive" in done.stdout


def test_a_verdict_of_another_release_or_track_is_not_compared(made):
    evidence = {**document(made)["evidence"], "PackageFiles": {"track": "non-record"}}
    changes: dict[str, dict[str, object]] = {
        "release": {"engine": "strict-prefix 0.0.1\x1b[2J"},
        "ruleset": {"ruleset": "2031-01-01"},
        "track": {"evidence": evidence},
    }
    for name, change in changes.items():
        write_anew(made / name, {**document(made), **change})
        done = auditor("verify", name, "--folder", "record", cwd=made)
        assert done.returncode == 3
        assert "not checked: the results" in done.stdout
        assert "\x1b" not in done.stdout


def test_a_key_is_never_overwritten_and_no_half_of_one_is_left(tmp_path):
    (tmp_path / "a.pub").write_text("mine")
    done = auditor("keygen", "a", cwd=tmp_path)
    assert done.returncode == 2
    assert "a.pub: cannot be written (File exists)" in done.stderr
    assert not (tmp_path / "a").exists()
    (tmp_path / "b").write_text("mine")
    assert auditor("keygen", "b", cwd=tmp_path).returncode == 2
    assert not (tmp_path / "b.pub").exists()
    assert (tmp_path / "b").read_text() == (tmp_path / "a.pub").read_text() == "mine"


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["verify", "absent"], 2, "absent: cannot be read"),
        (["verify", "signed.json", "--key", "absent"], 2, "absent: cannot be read"),
        (["verify", "signed.json", "--key", "key"], 2, "key: expected an Ed25519 public key"),
        (["verify", "signed.json", "--key", "signed.json"], 2, "expected an Ed25519 public key"),
        (["verify", "signed.json", "--folder", "absent"], 2, "absent: no such folder"),
        (["verify", "record/README.md"], 1, "WRONG the envelope: expected DSSE"),
        (["audit", "record", "--attest", "x", "--key", "key.pub"], 2, "an Ed25519 private key"),
        (["audit", "record", "--attest", "absent/x"], 2, "absent/x: cannot be written"),
        (["audit", "record", "record", "--attest", "x"], 2, "about one submission, got 2"),
        (["audit", "record", "--key", "key"], 2, "expected both"),
        (["keygen", "absent/key"], 2, "cannot be written (No such file"),
    ],
)
def test_trouble_is_one_sentence(made, words, code, said):
    done = auditor(*words, cwd=made)
    assert done.returncode == code
    assert said in done.stderr + done.stdout
    assert "Traceback" not in done.stderr


def test_keys_of_another_kind_are_refused(made):
    key = ec.generate_private_key(ec.SECP256R1())
    pem, secret = form.Encoding.PEM, form.NoEncryption()
    (made / "ec").write_bytes(key.private_bytes(pem, form.PrivateFormat.PKCS8, secret))
    public = key.public_key().public_bytes(pem, form.PublicFormat.SubjectPublicKeyInfo)
    (made / "ec.pub").write_bytes(public)
    done = auditor("audit", "record", "--attest", "x", "--key", "ec", cwd=made)
    assert "found another kind" in done.stderr
    done = auditor("verify", "signed.json", "--key", "ec.pub", cwd=made)
    assert "found another kind" in done.stderr

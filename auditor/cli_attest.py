"""The commands about signatures: keygen, verify, and the envelope that `audit --attest` writes."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from auditor.errors import AuditorError, SubmissionError, ToolError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from auditor.submission import Submission

AttestOption = Annotated[
    Path | None, typer.Option("--attest", help="Also write the verdict as an in-toto statement.")
]
KeyOption = Annotated[
    Path | None,
    typer.Option(
        "--key",
        help="Private key that signs it, of `auditor keygen`; else the text of STRICT_PREFIX_KEY; "
        "else it is not signed.",
    ),
]


def signer(attest: Path | None, key: Path | None, paths: int) -> "Ed25519PrivateKey | None":
    """The key to sign with, looked for before anything is audited; exit 2 where it is none."""
    if attest is None:
        if key is not None:
            raise typer.BadParameter("--key signs what --attest writes; expected both")
        return None
    if paths != 1:
        raise typer.BadParameter(f"--attest is about one submission, got {paths}")
    from auditor.keys import private_key

    try:
        return private_key(key)
    except AuditorError as error:
        _stop(error)


def write_envelope(path: Path, document: dict[str, Any], key: "Ed25519PrivateKey | None") -> None:
    """Write the envelope of a verdict, whole or not at all."""
    from auditor.attest import attest
    from auditor.cli_proof import write_whole

    try:
        write_whole(path, attest(document, key))
    except AuditorError as error:
        _stop(error)


def keygen(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="Private key; FILE.pub is public.")],
) -> None:
    """Make an Ed25519 key for `auditor audit --attest`; an existing file is never overwritten."""
    from auditor.keys import write_new_key

    public_path = path.with_name(f"{path.name}.pub")
    try:
        write_new_key(path, public_path)
    except AuditorError as error:
        _stop(error)
    print(f"{path} signs (keep it), {public_path} verifies (give it away)")


def verify(
    path: Annotated[Path, typer.Argument(metavar="ENVELOPE", help="What --attest wrote.")],
    key: Annotated[Path | None, typer.Option(help="Public key that must have signed.")] = None,
    folder: Annotated[
        str | None, typer.Option(help="The record: compare its files, and read it again.")
    ] = None,
) -> None:
    """Check a verdict: its signature, the files that it judged, and what reading them gives again.

    Exit codes: 0 all holds and the key vouches for it, whatever the verdict says; 1 something is
    wrong, and which; 2 it cannot be read; 3 all holds, but no key was given to vouch for it.
    """
    from auditor.attest import MAX_ENVELOPE_BYTES, open_envelope, signature_problem, signers
    from auditor.keys import public_key
    from auditor.report.words import clean
    from auditor.submission import Submission

    try:
        with path.open("rb") as file:
            data = file.read(MAX_ENVELOPE_BYTES + 1)
        vouching = None if key is None else public_key(key)
        record = None if folder is None else Submission.load(folder)
    except OSError as error:
        _stop(SubmissionError(f"{path}: cannot be read ({error.strerror})"))
    except AuditorError as error:
        _stop(error)
    problems: list[str] = []
    try:
        opened = open_envelope(data)
    except SubmissionError as error:
        _wrong([str(error)])
    if vouching is not None and (problem := signature_problem(opened.envelope, vouching)):
        problems.append(problem)
    about = opened.document
    if record is not None:
        problems += _against(about, record)
    if problems:
        _wrong(problems)
    files = len(about["submission"]["digests"]["files"])
    print(
        f"{path}: {about['outcome']} for {files} files under {clean(about['ruleset'], 40)}, by "
        f"{clean(about['engine'], 40)}; digest {about['digest'][:12]}..."
    )
    if vouching is None:
        print(f"not checked: who says so (signed by {signers(opened.envelope)}; --key checks it)")
        raise typer.Exit(3)
    print(f"signed by the key of {key}")


def _against(document: Any, record: "Submission") -> list[str]:
    """What is wrong with the files or, where they are the same, with the verdict about them."""
    from auditor import __version__
    from auditor.attest import file_problems, result_problems
    from auditor.audit import Plan, audit
    from auditor.report.json_v1 import verdict_to_json
    from auditor.report.words import clean
    from auditor.rules import RULES
    from auditor.rulesets import RULESETS

    ruleset = RULESETS.get(document["ruleset"])
    engine = f"strict-prefix {__version__}"
    try:
        again = verdict_to_json(audit(record, Plan(ruleset=ruleset) if ruleset else None))
    except ToolError as error:
        print(f"not checked: the results ({error})")
        return []
    changed = file_problems(document, again["submission"]["digests"]["files"])
    if changed:
        return changed
    if ruleset is None or document["engine"] != engine:
        print(
            f"not checked: the results ({clean(document['engine'], 40)} judged under "
            f"{clean(document['ruleset'], 40)}, this is {engine})"
        )
        return []
    # The track is told by where a folder lies, which is no part of its files.
    if _track(document) != _track(again):
        print(f"not checked: the results (they are of the {clean(_track(document), 40)} track)")
        return []
    needs = {rule.id: [kind.__name__ for kind in rule.needs] for rule in RULES}
    wrong, uncompared = result_problems(document, again, needs)
    if uncompared:
        print(
            "not checked again: "
            f"{', '.join(clean(rule, 40) for rule in uncompared)} (judged by more than reading)"
        )
    return wrong


def _track(document: Any) -> Any:
    files = document["evidence"].get("PackageFiles")
    return files.get("track") if isinstance(files, dict) else None


def _wrong(problems: list[str]) -> NoReturn:
    from auditor.report.words import clean

    for problem in problems:
        print(f"WRONG {clean(problem, 400)}")
    raise typer.Exit(1)


def _stop(error: AuditorError) -> NoReturn:
    print(f"auditor: {error}", file=sys.stderr)
    raise typer.Exit(2) from error

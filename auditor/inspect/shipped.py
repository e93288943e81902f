"""What the folder ships: which of the files that must be there, and the bytes that count.

Bytes are recounted from the files themselves. Code is every file that can run or be compiled,
whoever imports it. A model is a file in a compressed or array format that is not text.
"""

import re

from auditor.errors import SubmissionError
from auditor.evidence import PackageFiles, ShippedBytes
from auditor.inspect.logs import is_log_name
from auditor.submission import File, Submission

CODE = (".py", ".pyx", ".c", ".cc", ".cpp", ".cu", ".cuh", ".h", ".hpp", ".sh")
MODELS = (
    ".ptz",
    ".pt",
    ".pth",
    ".bin",
    ".zst",
    ".xz",
    ".lzma",
    ".br",
    ".gz",
    ".npz",
    ".npy",
    ".safetensors",
    ".b85",
)
_OTHER_TRACK = re.compile(r"non[-_ ]?record|unlimited")
PACKED = tuple(f".py.{kind}" for kind in ("lzma", "xz", "br", "zst", "zlib", "gz", "bz2", "b85"))
MODEL_MIN_BYTES = 100_000
"""Smaller binary files are tables and figures, not a model."""


def read_package(submission: Submission) -> PackageFiles:
    """Which of the files that a record folder must have are there."""
    names = {path.lower(): path for path in submission.files if "/" not in path}
    problems = []
    entry = submission.entry
    claims = "submission.json" if "submission.json" in submission.files else None
    if claims:
        try:
            submission.json_object(claims)
        except SubmissionError as error:
            problems.append(str(error))
    readmes = sorted(path for name, path in names.items() if name.endswith("readme.md"))
    readme = names.get("readme.md", readmes[0] if readmes else None)
    problems += [
        f"{path}: expected content, found an empty file"
        for path in (entry, readme)
        if path and not submission.files[path].data.strip()
    ]
    return PackageFiles(
        entry=entry,
        readme=readme,
        submission_json=claims,
        logs=tuple(path for path in sorted(submission.files) if _is_log(submission, path)),
        problems=tuple(problems),
        scripts=tuple(path for path in sorted(submission.files) if _is_script(path)),
        unread=dict(submission.unread),
        track=_track(submission),
    )


def _track(submission: Submission) -> str:
    """Which track of the challenge a folder is in, by its place or by what it says of itself."""
    said = [submission.path]
    if "submission.json" in submission.files:
        try:
            claims = submission.json_object("submission.json")
        except SubmissionError:
            claims = {}
        said += [str(claims.get(name, "")) for name in ("track", "type", "category")]
    unlimited = any(_OTHER_TRACK.search(text.lower()) for text in said)
    return "non-record" if unlimited else "record"


def _is_script(path: str) -> bool:
    """Whether a file may be a training script under another name."""
    return "/" not in path and path.endswith(".py") and path.startswith("train")


def _is_log(submission: Submission, path: str) -> bool:
    """Whether a file is the log of a run: it speaks of scores, in whatever grammar."""
    text = submission.files[path].text if is_log_name(path) else ""
    return "bpb" in text.lower()


def recount(submission: Submission) -> ShippedBytes:
    """Bytes of every file that holds code or a model."""
    files = submission.files
    return ShippedBytes(
        code={path: len(files[path].data) for path in files if path.lower().endswith(CODE)},
        models={path: len(files[path].data) for path in files if _is_model(path, files[path])},
        entry=submission.entry,
        packed={path: len(files[path].data) for path in files if path.lower().endswith(PACKED)},
    )


def _is_model(path: str, file: File) -> bool:
    """Whether a file looks like a compressed model."""
    if not path.lower().endswith(MODELS) or len(file.data) < MODEL_MIN_BYTES:
        return False
    # Text has no zero bytes, and a compressed stream or an array of this length always has some.
    return b"\0" in file.data[:MODEL_MIN_BYTES] or path.lower().endswith(".b85")

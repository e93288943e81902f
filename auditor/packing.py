"""A submission as an archive that is the same for the same files, wherever it is made."""

import io
import zipfile
from pathlib import Path

from auditor.errors import SubmissionError
from auditor.submission import Submission


def pack(source: str) -> tuple[bytes, str]:
    """An archive and its name, of a folder, an archive or GITDIR@REF:FOLDER.

    Raises SubmissionError for what no audit could read either.
    """
    path = Path(source)
    if path.is_file():
        data = path.read_bytes()
        Submission.from_archive(data, path.name)
        return data, path.name
    return archive_of(Submission.load(source))


def archive_of(submission: Submission) -> tuple[bytes, str]:
    """An archive of all files, and its name; SubmissionError where one of them was not read."""
    if submission.unread:
        name, why = next(iter(submission.unread.items()))
        raise SubmissionError(f"{name} cannot be handed in: {why}")
    outer = _outer_folder(submission)
    kept = io.BytesIO()
    with zipfile.ZipFile(kept, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, file in submission.files.items():
            # Without a date of its own an entry has the earliest there is.
            entry = zipfile.ZipInfo(f"{outer}/{name}")
            archive.writestr(entry, file.data, zipfile.ZIP_DEFLATED)
    return kept.getvalue(), f"{submission.name}.zip"


def _outer_folder(submission: Submission) -> str:
    """The folder in the archive: below `records`, where the challenge keeps its tracks apart."""
    *above, track, name = ["", *submission.path.strip("/").split("/")]
    if above[-1:] == ["records"] and track.startswith("track_"):
        return f"records/{track}/{name}"
    return f"records/{name}" if track == "records" else submission.name

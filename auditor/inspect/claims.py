"""Placeholder, replaced by the next commit."""

from auditor.errors import CannotMeasure
from auditor.evidence import ClaimedNumbers
from auditor.submission import Submission


def read_claims(submission: Submission) -> ClaimedNumbers:
    """Not yet."""
    raise CannotMeasure("not yet")

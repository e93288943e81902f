"""Placeholder, replaced by the next commit."""

from auditor.errors import CannotMeasure
from auditor.evidence import DataFlow
from auditor.submission import Submission


def read_data_flow(submission: Submission) -> DataFlow:
    """Not yet."""
    raise CannotMeasure("not yet")

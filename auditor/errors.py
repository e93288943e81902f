"""What can go wrong while auditing.

    AuditorError
    |-- SubmissionError   what was handed in cannot be read (exit 2, HTTP 4xx)
    |-- ToolError         the auditor itself cannot work: no sandbox, a crash (exit 2, HTTP 5xx)
    `-- CannotMeasure     one kind of evidence could not be had; its rules become INCONCLUSIVE

None of them is ever a FAIL. Every message is one sentence: the file, and what was expected of it.
"""


class AuditorError(Exception):
    """Base of all errors that the auditor raises on purpose."""


class SubmissionError(AuditorError):
    """The submission cannot be read; the message names the file and what was expected."""


class ToolError(AuditorError):
    """The auditor itself could not do its work."""


class CannotMeasure(AuditorError):  # noqa: N818 - an answer ("not measured, because"), not a fault
    """One kind of evidence could not be collected; the message is the reason."""

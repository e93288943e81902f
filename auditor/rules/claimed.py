"""Which of the logs are those of the claimed runs, asked once for several rules; no rule itself."""

from auditor.evidence import ClaimedNumbers, Evidence, LoggedNumbers, RunLog


def claimed_logs(evidence: Evidence) -> tuple[RunLog, ...]:
    """Logs that end near the claimed score; without a claim all that end in a score."""
    logged, claims = evidence.get(LoggedNumbers), evidence.get(ClaimedNumbers)
    return () if logged is None else logged.near(claims.val_bpb if claims else None)

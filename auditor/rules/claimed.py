"""Which of the logs are those of the claimed runs, asked once for several rules; no rule itself."""

from auditor.evidence import ClaimedNumbers, Evidence, LoggedNumbers, RunLog

NEAR_BPB = 0.02
"""Seeds of one claim lie closer together; ablations mostly do not."""


def claimed_logs(evidence: Evidence) -> tuple[RunLog, ...]:
    """Logs that end near the claimed score; without a claim all that end in a score."""
    logged = evidence.get(LoggedNumbers)
    if logged is None:
        return ()
    scored = tuple(log for log in logged.logs if log.final is not None)
    claims = evidence.get(ClaimedNumbers)
    if claims is None or claims.val_bpb is None:
        return scored
    return tuple(
        log for log in scored if log.final and abs(log.final.val_bpb - claims.val_bpb) < NEAR_BPB
    )

"""Whether the printed score follows the charges that were seen, asked once; no rule itself.

One run cannot tell: what was seen may be the network alone, and the score that of a mixture which
was computed out of sight. But no mixture prints the same number for two texts, and none is the same
share of the network's loss, or the same distance from it, on noise and on text. And an honest one
is no better than the source that made the noise.
"""

from auditor.evidence import (
    ClaimedNumbers,
    Evidence,
    PackageFiles,
    PrintedScore,
    PrintedScores,
)
from auditor.verdict import Finding, Location

LESS = 0.99
"""Of the source's entropy, or of the charges: what counting a token more or less cannot give."""
APART = 1e-3
"""Two texts tell something when what was charged for them differs by this share."""
ROUNDING_NATS = 2e-6
"""A token, of charges that are added up in another order or precision."""
MIN_DECIMALS = 4
SEEDS_BPB = 1e-3
"""Seeds of one claim differ by no more; records differ by more."""


def not_what_was_charged(evidence: Evidence) -> Finding | None:
    """A finding when the claimed line states a number that its charges do not give."""
    printed = evidence.get(PrintedScores)
    runs = [run for run in printed.runs if run.decimals >= MIN_DECIMALS] if printed else []
    low = [run for run in runs if run.source_nats and run.val_loss < LESS * run.source_nats]
    if not low or any(_adds_up(run) for run in runs):
        return None
    found = _follows_the_charges(low[0], runs)
    if found is None and (all(run.charged_nats for run in runs) or _is_claimed(low[0], evidence)):
        found = _always_the_same(low[0], runs, evidence)
    return found


def _is_claimed(run: PrintedScore, evidence: Evidence) -> bool:
    """Whether the number is the claim itself, and not an earlier record's for comparison."""
    claims = evidence.get(ClaimedNumbers)
    said = [claims.val_bpb, *claims.seed_val_bpb.values()] if claims else []
    return any(bpb is not None and abs(bpb - run.val_bpb) <= SEEDS_BPB for bpb in said)


def _adds_up(run: PrintedScore) -> bool:
    """Whether some of what was seen is the printed loss."""
    return any(abs(mean - run.val_loss) <= _tolerance(run) for mean in run.charged_nats.values())


def _tolerance(run: PrintedScore) -> float:
    """Nats a token by which a printed loss may miss what was added up."""
    return 0.5 * 10.0**-run.decimals + ROUNDING_NATS


def _always_the_same(
    low: PrintedScore, runs: list[PrintedScore], evidence: Evidence
) -> Finding | None:
    """The same two numbers on texts that share nothing."""
    same = (low.val_loss, low.val_bpb)
    if any((run.val_loss, run.val_bpb) != same or not run.opened for run in runs):
        return None
    sources = list(dict.fromkeys(run.source for run in runs))
    if len(sources) < 2:
        return None
    message = (
        f"prints val_loss:{low.val_loss} val_bpb:{low.val_bpb} on {' and on '.join(sources)}, "
        f"which share nothing; {low.source} costs {low.source_nats:.4f} nats a token"
    )
    numbers = {"val_loss": low.val_loss, "val_bpb": low.val_bpb, "sources": sources}
    package = evidence.get(PackageFiles)
    where = Location(
        file=(package.entry if package else None) or "train_gpt.py",
        text=f"{low.label} val_loss:{low.val_loss} val_bpb:{low.val_bpb}",
    )
    return Finding(f"{message}: the number does not come from the text", where, numbers)


def _follows_the_charges(low: PrintedScore, runs: list[PrintedScore]) -> Finding | None:
    """A fixed share of the charges, or a fixed distance below them, on texts that differ."""
    for place in sorted(set.intersection(*(set(run.charged_nats) for run in runs))):
        means = [run.charged_nats[place] for run in runs]
        if min(means) <= 0 or max(means) - min(means) < APART * max(means):
            continue
        shares = [run.val_loss / mean for run, mean in zip(runs, means, strict=True)]
        below = [mean - run.val_loss for run, mean in zip(runs, means, strict=True)]
        if max(shares) < LESS and _agree(shares, runs, means):
            relation = f"{shares[0]:.6f} times"
        elif min(below) > (1 - LESS) * max(means) and _agree(below, runs, [1.0] * len(runs)):
            relation = f"{below[0]:.6f} nats less than"
        else:
            continue
        tolerance = max(map(_tolerance, runs))
        seen = ", ".join(
            f"{run.val_loss} for {mean:.8f} on {run.source}"
            for run, mean in zip(runs, means, strict=True)
        )
        return Finding(
            f"prints {relation} what it charges, in {len(runs)} runs: {seen} (nats a token, "
            f"within {tolerance:.1g})",
            Location(file=place.rpartition(":")[0], line=int(place.rpartition(":")[2])),
            {"printed": [run.val_loss for run in runs], "charged": means, "tolerance": tolerance},
        )
    return None


def _agree(values: list[float], runs: list[PrintedScore], units: list[float]) -> bool:
    """Whether all are one number, as far as the printed digits say."""
    off = [_tolerance(run) / unit for run, unit in zip(runs, units, strict=True)]
    return max(v - o for v, o in zip(values, off, strict=True)) <= min(
        v + o for v, o in zip(values, off, strict=True)
    )

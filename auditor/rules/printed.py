"""Whether the printed score follows the charges that were seen, asked once; no rule itself.

One run cannot tell: what was seen may be the network alone, and the score that of a mixture which
was computed out of sight. But no mixture prints the same number for two texts, and none is the same
share of the network's loss, or the same distance from it, on noise and on text. What cannot be
honest is one that is better than the source that made the noise; a number that never changes must
at least be no worse, and not what equal chances for so many tokens give.
"""

import math

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
MOST_NATS = 30.0
SEEDS_BPB = 1e-3
"""Seeds of one claim differ by no more; records differ by more."""


def not_what_was_charged(evidence: Evidence) -> Finding | None:
    """A finding when the claimed line states a number that its charges do not give."""
    printed = evidence.get(PrintedScores)
    runs = [run for run in printed.runs if run.decimals >= MIN_DECIMALS] if printed else []
    if any(_adds_up(run) for run in runs):
        return None
    low = [run for run in runs if run.source_nats and run.val_loss < LESS * run.source_nats]
    found = _follows_the_charges(low[0], runs) if low else None
    if found is None and (_charges_differ(runs) or (low and _is_claimed(low[0], evidence))):
        found = _always_the_same(runs, evidence)
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


def _charges_differ(runs: list[PrintedScore]) -> bool:
    """Whether what was seen being added up, everywhere, is another number for another text."""
    if not runs or not all(run.charged_nats for run in runs):
        return False
    tokens = math.exp(min(runs[0].val_loss, MOST_NATS))
    if abs(tokens - round(tokens)) <= tokens * _tolerance(runs[0]):
        return False
    if not any(run.source_nats and run.val_loss < run.source_nats / LESS for run in runs):
        return False
    for place in set.intersection(*(set(run.charged_nats) for run in runs)):
        means = [run.charged_nats[place] for run in runs]
        if max(means) - min(means) < APART * max(means):
            return False
    return True


def _always_the_same(runs: list[PrintedScore], evidence: Evidence) -> Finding | None:
    """The same loss for texts that share nothing; where no charge was seen, the same score too."""
    first, seen = runs[0], all(run.charged_nats for run in runs)
    sources = list(dict.fromkeys(run.source for run in runs))
    same = all(
        run.opened
        and run.val_loss == first.val_loss
        and run.decimals >= MIN_DECIMALS
        and (seen or run.val_bpb == first.val_bpb)
        for run in runs
    )
    if not same or len(sources) < 2:
        return None
    charged = [min(run.charged_nats.values()) for run in runs if run.charged_nats]
    beside = f"; seen being charged were {', '.join(f'{nats:.6f}' for nats in charged)} nats"
    message = (
        f"prints val_loss:{first.val_loss} on {' and on '.join(sources)}, which share nothing"
        f"{beside if charged else ''}: the number does not come from the text"
    )
    package = evidence.get(PackageFiles)
    where = Location(
        file=(package.entry if package else None) or "train_gpt.py",
        text=f"{first.label} val_loss:{first.val_loss} val_bpb:{first.val_bpb}",
    )
    numbers = {"val_loss": first.val_loss, "sources": sources, "charged": charged}
    return Finding(message, where, numbers)


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

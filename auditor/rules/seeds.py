"""The claim rests on runs of one configuration with distinct seeds.

**Motive.** One run can be lucky. Records show enough runs to tell, most often three; organisers
refused single seeds, a third seed from another configuration, and offsets in the place of runs.

**How it is judged.** By the logs of the claimed runs of the record track (strength `logged`).
Settings that all of them print are compared, apart from seeds, names, paths and the machine. When
there are three distinct seeds, but no three of one configuration, the rule fails, with the settings
that differ and both values. Fewer than three distinct seeds are INCONCLUSIVE: early records were
accepted with one.

**Violates:** #2124, whose third seed has another configuration. **Innocent:** #1493, three seeds
and one configuration.

**How it can be wrong.** Logs of ablations near the claimed score count as claimed. Where one of the
logs does not print its settings, nothing is compared.
"""

import re

from auditor.evidence import Evidence, LoggedNumbers, PackageFiles, RunLog
from auditor.rules.claimed import claimed_logs
from auditor.rulesets import Ruleset
from auditor.verdict import (
    Finding,
    Judgement,
    Location,
    Rule,
    Strength,
    failed,
    inconclusive,
    not_applicable,
    passed,
)

WANTED = 3
_OF_THE_RUN = re.compile(
    r"seed|run|wallclock|output|date|_every|iterations|^size$|bytes$|interval|path|dir|file|name|_id$|rank|host|port|device|time|elapsed|world|distributed|shards"
    r"|^val_tokens$|master|tokens_per|version|master|main_process|blob|artifact"
)
"""Settings that differ between honest runs of one configuration."""


def check(evidence: Evidence, ruleset: Ruleset) -> Judgement:
    """FAIL when claimed runs have different settings."""
    package = evidence.get(PackageFiles)
    if package is not None and package.track != "record":
        return not_applicable("only a record has to be shown by several runs")
    if evidence.get(LoggedNumbers) is None:
        return inconclusive(evidence.why_not(LoggedNumbers))
    runs = [log for log in claimed_logs(evidence) if log.seed is not None]
    everything = {log.seed for log in runs}
    shared = _shared(runs)
    groups: dict[tuple[str, ...], set[int | None]] = {}
    for log in runs:
        groups.setdefault(tuple(log.settings[name] for name in shared), set()).add(log.seed)
    best = max(groups.values(), key=len, default=set())
    if len(best) < WANTED <= len(everything):
        return failed(Strength.LOGGED, _differences(runs, shared))
    seeds = best if len(best) >= WANTED else everything
    named = ", ".join(map(str, sorted(seed for seed in seeds if seed is not None)))
    if len(seeds) < WANTED:
        return inconclusive(
            f"{len(seeds)} claimed run(s) with a known seed ({named or 'none'}), expected {WANTED}"
        )
    return passed(Strength.LOGGED, f"{len(seeds)} claimed runs with seeds {named}")


def _shared(runs: list[RunLog]) -> list[str]:
    """Settings of the configuration that every run prints."""
    names = set.intersection(*(set(log.settings) for log in runs)) if runs else set()
    return sorted(name for name in names if not _OF_THE_RUN.search(name))


def _differences(runs: list[RunLog], shared: list[str]) -> list[Finding]:
    """Settings that a run prints otherwise than the first."""
    first = runs[0]
    return [
        Finding(
            f"{name} is {first.settings[name]} in {first.file} and {log.settings[name]} in "
            f"{log.file}",
            Location(file=log.file),
            {"setting": name, "first": first.settings[name], "other": log.settings[name]},
        )
        for log in runs[1:]
        for name in shared
        if log.settings[name] != first.settings[name]
    ]


RULE = Rule(
    id="seeds",
    title="Distinct seeds of one configuration",
    authority="official",
    needs=(LoggedNumbers,),
    check=check,
    matters="One lucky run, or runs of different settings, do not show what the method gives.",
    mend="Run three seeds with the same settings, and ship all three logs.",
    documentation=__doc__ or "",
)

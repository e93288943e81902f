"""The claim rests on runs of one configuration with distinct seeds.

**Motive.** One run can be lucky. Records show enough runs to tell, most often three; organisers
refused single seeds, a third seed from another configuration, and offsets in the place of runs.

**How it is judged.** By the logs of the claimed runs of the record track (strength `logged`). Logs
that print their settings must print the same ones, apart from seeds, names, paths and the machine:
a log that differs fails the rule, with the setting and both values. Fewer than three distinct seeds
are INCONCLUSIVE: early records were accepted with one.

**How it can be wrong.** Logs of ablations near the claimed score count as claimed. Scripts that do
not print their settings are compared by nothing.
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
    r"seed|run|path|dir|file|name|_id$|rank|host|port|device|time|elapsed|world|distributed|shards"
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
    runs = {log.seed: log for log in claimed_logs(evidence) if log.seed is not None}
    findings = _differences(list(runs.values()))
    if findings:
        return failed(Strength.LOGGED, findings)
    named = ", ".join(str(seed) for seed in sorted(runs))
    if len(runs) < WANTED:
        return inconclusive(
            f"{len(runs)} claimed run(s) with a known seed ({named or 'none'}), expected {WANTED}"
        )
    return passed(Strength.LOGGED, f"{len(runs)} claimed runs with seeds {named}")


def _differences(runs: list[RunLog]) -> list[Finding]:
    """Settings that two claimed runs print with different values."""
    with_settings = [log for log in runs if log.settings]
    findings = []
    for log in with_settings[1:]:
        first = with_settings[0]
        for name in first.settings.keys() & log.settings.keys():
            one, other = first.settings[name], log.settings[name]
            if one != other and not _OF_THE_RUN.search(name):
                findings.append(
                    Finding(
                        f"{name} is {one} in {first.file} and {other} in {log.file}",
                        Location(file=log.file),
                        {"setting": name, "first": one, "other": other},
                    )
                )
    return sorted(findings, key=lambda finding: finding.message)


RULE = Rule(
    id="seeds",
    title="Distinct seeds of one configuration",
    authority="official",
    needs=(LoggedNumbers,),
    check=check,
    documentation=__doc__ or "",
)

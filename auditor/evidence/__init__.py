"""Every kind of evidence: frozen facts that probes measured and rules judge."""

from dataclasses import asdict
from typing import Any, TypeVar

from auditor.errors import ToolError
from auditor.evidence.proved import BlindReplay, RoundTrip
from auditor.evidence.ran import (
    ArtifactTransplant,
    Exercised,
    KraftSum,
    KraftSums,
    NoiseBound,
    OtherSources,
    PrefixSensitivity,
    PrintedScore,
    PrintedScores,
    StreamBytes,
    Timeline,
    TimelineEvent,
    ValidationSwap,
)
from auditor.evidence.shipped import (
    ByteTable,
    ByteTables,
    Calibration,
    CalibrationData,
    ClaimedNumbers,
    DataFlow,
    EarlyUse,
    FinalScores,
    FixedBytes,
    LearningOrder,
    LoggedNumbers,
    Mixed,
    OnTheWay,
    PackageFiles,
    PriorRecord,
    RunFacts,
    RunLog,
    SavedLearning,
    ScoreLine,
    ShardAliases,
    ShiftGates,
    ShippedBytes,
    SourceLine,
    TargetGates,
    TargetRead,
    WeighedGate,
)

__all__ = [
    "ArtifactTransplant",
    "BlindReplay",
    "ByteTable",
    "ByteTables",
    "Calibration",
    "CalibrationData",
    "ClaimedNumbers",
    "DataFlow",
    "EarlyUse",
    "Evidence",
    "Exercised",
    "FinalScores",
    "FixedBytes",
    "KraftSum",
    "KraftSums",
    "LearningOrder",
    "LoggedNumbers",
    "Mixed",
    "NoiseBound",
    "OnTheWay",
    "OtherSources",
    "PackageFiles",
    "PrefixSensitivity",
    "PrintedScore",
    "PrintedScores",
    "PriorRecord",
    "RoundTrip",
    "RunFacts",
    "RunLog",
    "SavedLearning",
    "ScoreLine",
    "ShardAliases",
    "ShiftGates",
    "ShippedBytes",
    "SourceLine",
    "StreamBytes",
    "TargetGates",
    "TargetRead",
    "Timeline",
    "TimelineEvent",
    "ValidationSwap",
    "WeighedGate",
]

E = TypeVar("E")


class Evidence:
    """At most one value of each kind; for an absent kind, the reason why."""

    def __init__(self) -> None:
        """Start with nothing collected."""
        self._kinds: dict[type, Any] = {}
        self._missing: dict[type, str] = {}

    def add(self, *facts: object) -> None:
        """Keep facts; each kind can be measured once."""
        for fact in facts:
            if type(fact) in self._kinds:
                raise ToolError(f"{type(fact).__name__} was collected twice")
            self._kinds[type(fact)] = fact

    def cannot(self, reason: str, *kinds: type) -> None:
        """Remember why these kinds could not be collected."""
        for kind in kinds:
            self._missing[kind] = reason

    def get(self, kind: type[E]) -> E | None:
        """The fact of this kind, or None."""
        found: E | None = self._kinds.get(kind)
        return found

    def why_not(self, kind: type) -> str:
        """Why a kind is absent, as the reason of an INCONCLUSIVE."""
        return self._missing.get(kind, f"no {kind.__name__} was collected")

    def to_json(self) -> dict[str, Any]:
        """Plain values by kind name, with the derived figures that people ask for."""
        facts = {kind.__name__: asdict(fact) for kind, fact in self._kinds.items()}
        noise, others = self.get(NoiseBound), self.get(OtherSources)
        if noise is not None:
            facts["NoiseBound"]["ln_e"] = noise.ln_e
        if others is not None:
            for said, bound in zip(facts["OtherSources"]["bounds"], others.bounds, strict=True):
                said["ln_e"] = bound.ln_e
        facts.update({kind.__name__: {"absent": reason} for kind, reason in self._missing.items()})
        return dict(sorted(facts.items()))

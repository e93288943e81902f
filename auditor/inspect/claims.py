"""What submission.json says of itself, in the shapes that submissions give it.

The file has no fixed shape. The headline stands under `val_bpb`, `mean_val_bpb` and a few other
names, at the top or under `results`; scores a seed stand in mappings from seed to number or to an
object, in lists of objects, or in keys such as `seed_1337`. What compares with other work
(`baseline`, `prior`, `ablation`) is not a claim. What is found in none of these places is absent,
never guessed.
"""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from auditor.errors import CannotMeasure, SubmissionError
from auditor.evidence import ClaimedNumbers
from auditor.submission import Submission

FILE = "submission.json"
MAX_DEPTH = 5

_HEADLINES = (
    "val_bpb",
    "mean_val_bpb",
    "val_bpb_mean",
    "mean_bpb",
    "val_bpb_exact",
    "val_bpb_3seed_mean",
    "mean_3_seed_val_bpb",
    "final_val_bpb",
    "score",
    "bpb",
)
_SEED_SCORES = ("val_bpb", "val_bpb_exact", "bpb", "final_val_bpb", "score")
_BYTES = (
    "artifact_bytes",
    "bytes_total",
    "total_bytes",
    "artifact_size_bytes",
    "total_submission_bytes",
    "total_artifact_bytes",
    "submission_bytes",
    "artifact_size",
)
_BESIDE = re.compile(
    r"base|prior|previous|ablation|compar|parent|reference|control|diagnos|delta|sota|leaderboard"
    r"|pre_|std|gain|without|invalid|withdrawn|historical"
)
_SEED_KEY = re.compile(r"(?:seed|s)?[_-]?(\d{1,10})", re.IGNORECASE)


@dataclass(slots=True)
class _Found:
    """What was met while walking the object."""

    scores: dict[str, float] = field(default_factory=dict)
    bytes: dict[str, int] = field(default_factory=dict)
    seeds: dict[str, None] = field(default_factory=dict)


def read_claims(submission: Submission) -> ClaimedNumbers:
    """The claims; CannotMeasure says what submission.json is instead."""
    if FILE not in submission.files:
        raise CannotMeasure(f"{FILE}: expected beside the training script, found no such file")
    try:
        claims = submission.json_object(FILE)
    except SubmissionError as error:
        raise CannotMeasure(str(error)) from error
    results = claims.get("results")
    places = [claims] + ([results] if isinstance(results, dict) else [])
    found = _Found()
    _seeds_of(claims, found, depth=0)
    return ClaimedNumbers(
        file=FILE,
        val_bpb=next(_numbers(places, _HEADLINES), None),
        seed_val_bpb=found.scores,
        seed_bytes=found.bytes,
        bytes_total=next((round(size) for size in _numbers(places, _BYTES)), None),
        seeds=tuple(found.seeds),
    )


def _numbers(places: list[dict[str, object]], names: tuple[str, ...]) -> Iterator[float]:
    """Numbers under these names, in order of the names."""
    for name in names:
        for place in places:
            value = place.get(name)
            if isinstance(value, dict):
                value = value.get("mean", value.get("3_seed_mean"))
            number = _number(value)
            if number is not None:
                yield number


def _number(value: object) -> float | None:
    """A positive finite number, also when it is written as text; else None."""
    if isinstance(value, str) and re.fullmatch(r"\d{1,12}(\.\d{1,20})?", value.strip()):
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) and 0 < number < 1e12 else None


def _seeds_of(place: Mapping[str, object], found: _Found, depth: int) -> None:
    """Collect what is said of each seed in an object and those below it."""
    for key, value in place.items():
        name = key.lower()
        if _BESIDE.search(name) or depth > MAX_DEPTH:
            continue
        if "seed" in name:
            _seed_entry(name, value, found)
        if isinstance(value, dict):
            _seeds_of(value, found, depth + 1)
    _parallel_lists(place, found)


def _seed_entry(name: str, value: object, found: _Found) -> None:
    """What stands under a key that speaks of seeds."""
    own = _SEED_KEY.fullmatch(name)
    if own:
        _one_seed(own[1], value, found)
    elif name == "seed" and isinstance(value, int) and not isinstance(value, bool):
        found.seeds.setdefault(str(value))
    elif isinstance(value, dict) and not _is_beside_score(name):
        for key, entry in value.items():
            seed = _SEED_KEY.fullmatch(key)
            if seed:
                _one_seed(seed[1], entry, found)
    elif isinstance(value, list):
        for entry in value:
            if isinstance(entry, dict) and isinstance(entry.get("seed"), int | str):
                _one_seed(str(entry["seed"]), entry, found)
            elif name == "seeds" and isinstance(entry, int) and not isinstance(entry, bool):
                found.seeds.setdefault(str(entry))


def _is_beside_score(name: str) -> bool:
    """Whether a mapping by seed holds something else than scores, such as losses or times."""
    return bool(re.search(r"loss|time|_s$|_ms$|step|log|sliding|roundtrip|url|sha", name))


def _one_seed(seed: str, entry: object, found: _Found) -> None:
    """The score and the bytes that are given for one seed."""
    found.seeds.setdefault(seed)
    if isinstance(entry, dict):
        score = next(_numbers([entry], _SEED_SCORES), None)
        size = next(_numbers([entry], _BYTES), None)
    else:
        number = _number(entry)
        # The same mapping is used for bytes; no score has five digits before the point.
        score, size = (number, None) if number is not None and number < 100 else (None, number)
    if score is not None:
        found.scores.setdefault(seed, score)
    if size is not None and size > 100_000:
        found.bytes.setdefault(seed, round(size))


def _parallel_lists(place: Mapping[str, object], found: _Found) -> None:
    """Scores in a list beside a list of seeds of the same length."""
    seeds = place.get("seeds")
    scores = place.get("val_bpb_seeds", place.get("seed_bpbs", place.get("val_bpbs")))
    if isinstance(seeds, list) and isinstance(scores, list) and len(seeds) == len(scores):
        for seed, score in zip(seeds, scores, strict=True):
            if isinstance(seed, int | str):
                _one_seed(str(seed), score, found)

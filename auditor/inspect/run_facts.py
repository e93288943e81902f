"""What a run log says of time, hardware and counters, beside its scores."""

import re

from auditor.evidence import Calibration, RunFacts

_STOP = re.compile(
    r"^.{0,40}stopping_early: wallclock_cap train_time: ?(\d{1,9})ms step: ?(\d{1,7})"
)
_GPU = re.compile(r"^\|\s+\d\s+NVIDIA\s([\w .-]{2,40}?)\s{2,}")
_CALIBRATED = re.compile(
    r"^.{0,40}?gptq\S{0,20}:?.{0,40}?\b(?:calibrated|collected) \d{1,5} (?:layers|hessians)"
    r" in (\d{1,5}\.\d{1,3})s",
    re.IGNORECASE,
)
_UNTIMED = re.compile(
    r"^.{0,40}?gptq\S{0,20}:?.{0,20}?\b(?:calibrated|collected)\b.{0,30}\b(?:layers|hessians)\b",
    re.IGNORECASE,
)
_FROM_TRAINING = re.compile(r"calibrat\w+ (?:with|from|on) training data", re.IGNORECASE)
_TOTAL_EVAL = re.compile(r"^.{0,40}total_eval_time: ?(\d{1,6}(?:\.\d{1,3})?)s\s*$")
_SHARDS = re.compile(r"\btrain_shards[:=]\s?(\d{1,6})\b")
_GATES = re.compile(r"\b(within_gate|word_gate|agree2plus)=(\d{1,12})\b")
_SIGNS = ("stopping_early", "NVIDIA", "alibrat", "essians", "total_eval_time", "train_shards",
          "_gate=")  # fmt: skip
MAX_CALIBRATIONS = 50


def read_facts(lines: list[str]) -> RunFacts:
    """The facts of one log; of what is said twice the last counts."""
    gpus: dict[str, None] = {}
    found: dict[str, int | float] = {}
    gates: dict[str, int] = {}
    calibrations: list[Calibration] = []
    from_training = False
    for number, line in enumerate(lines, 1):
        if len(line) > 400 or not any(sign in line for sign in _SIGNS):
            continue
        if stop := _STOP.match(line):
            found.update(stop_ms=int(stop[1]), stop_line=number, steps=int(stop[2]))
            calibrations.clear()
        elif gpu := _GPU.match(line):
            gpus[gpu[1]] = None
        elif total := _TOTAL_EVAL.match(line):
            found.update(total_eval_seconds=float(total[1]), total_eval_line=number)
        elif _FROM_TRAINING.search(line):
            from_training = True
        elif (done := _CALIBRATED.match(line)) or _UNTIMED.match(line):
            if "stop_ms" in found and len(calibrations) < MAX_CALIBRATIONS:
                seconds = float(done[1]) if done else None
                one = Calibration(line=number, seconds=seconds, training=from_training)
                calibrations.append(one)
        elif shards := _SHARDS.search(line):
            found["train_shards"] = int(shards[1])
        gates.update((name, int(count)) for name, count in _GATES.findall(line))
    return RunFacts(
        gpus=tuple(gpus),
        steps=_whole(found.get("steps")),
        stop_ms=_whole(found.get("stop_ms")),
        stop_line=_whole(found.get("stop_line")),
        calibrations=tuple(calibrations),
        total_eval_seconds=found.get("total_eval_seconds"),
        total_eval_line=_whole(found.get("total_eval_line")),
        train_shards=_whole(found.get("train_shards")),
        gates=gates,
    )


def _whole(value: float | None) -> int | None:
    return None if value is None else int(value)

"""Record folders in memory, small and honest, for the tests of reading and of its rules."""

import hashlib
import json
import math
from collections.abc import Mapping

from auditor.inspect import inspect
from auditor.rulesets import DEFAULT
from auditor.submission import File, Submission
from auditor.verdict import Judgement, Rule

TOKENS = 62_021_632
BYTES = 151_080_000
README = (
    "# A record\n\n```bash\nSEED=1337 torchrun --standalone --nproc_per_node=8 train_gpt.py\n```\n"
)
SCRIPT = "def main():\n    print('train')\n\n\nif __name__ == '__main__':\n    main()\n"


def submission(files: Mapping[str, str | bytes | None]) -> Submission:
    """A folder of these files; None leaves one out."""
    contents = {
        path: content.encode() if isinstance(content, str) else content
        for path, content in sorted(files.items())
        if content is not None
    }
    return Submission(
        "record",
        {path: File(data, hashlib.sha256(data).hexdigest()) for path, data in contents.items()},
    )


def log(
    bpb: float,
    *,
    seed: int = 1337,
    model: int = 15_000_000,
    code: int = len(SCRIPT),
    tokens: int = TOKENS,
    size: int = BYTES,
    sliding: float = 1.15,
) -> str:
    """A run log whose scores divide by `size` bytes."""

    nats = math.log(2) * size / tokens

    def scores(label: str, value: float) -> str:
        loss = value * nats
        return (
            f"{label} val_loss:{loss:.4f} val_bpb:{value:.4f} eval_time:1000ms\n"
            f"{label}_exact val_loss:{loss:.8f} val_bpb:{value:.8f}\n"
        )

    return (
        f"val_loader:shards pattern=fineweb_val_*.bin tokens:{tokens}\n"
        f"lr:embed=0.03 matrix=0.02 batch:786432 wall:600s seed:{seed}\n"
        f"step:0/20000 val_loss:{4.1 * nats:.4f} val_bpb:4.1000 train_time:0ms\n"
        f"step:5000/20000 val_loss:{1.2 * nats:.4f} val_bpb:1.2000\n"
        "Serialized model: 98000000 bytes\n"
        f"Code size: {code} bytes\n"
        f"Serialized model int6+zstd: {model} bytes\n"
        f"Total submission size int6+zstd: {model + code} bytes\n"
        + scores("final_int6_sliding_window", sliding)
        + scores("final_int6_ttt", bpb)
    )


def claims(scores: dict[int, float], headline: float | None = None, **more: object) -> str:
    """A submission.json that claims these scores."""
    mean = sum(scores.values()) / len(scores) if headline is None else headline
    seeds = {str(seed): {"val_bpb": score} for seed, score in scores.items()}
    return json.dumps({"val_bpb": round(mean, 5), "seed_results": seeds, **more})


def honest(**changes: str | bytes | None) -> dict[str, str | bytes | None]:
    """Three seeds, all in order; keyword `train_gpt_py` changes `train_gpt.py` and so on."""
    scores = {1337: 1.12034567, 42: 1.12134567, 2024: 1.12234567}
    files: dict[str, str | bytes | None] = {
        "README.md": README,
        "submission.json": claims(scores),
        "train_gpt.py": SCRIPT,
        **{f"train_seed{seed}.log": log(score, seed=seed) for seed, score in scores.items()},
    }
    for name, content in changes.items():
        stem, _, kind = name.rpartition("_")
        files[f"{stem}.{kind}"] = content
    return files


def judge(rule: Rule, files: Mapping[str, str | bytes | None]) -> Judgement:
    """What a rule says of a folder."""
    return rule.check(inspect(submission(files)), DEFAULT)

"""What a script finds when it is run: a tiny tokenizer, shards from a known source, small sizes.

Sizes of the network and of the training are made small, because the properties are those of the
evaluation code and hold or fail at every size. What changes the mechanism (chunks, tables) is
scaled with the stream so that its load stays. Everything changed is said, by name and value.
"""

import contextlib
import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from auditor import grammar
from auditor.run.recorder import scaling
from auditor.run.streams import Stream, Tokens
from auditor.run.vocabulary import VOCAB_SIZE
from auditor.submission import Submission

STREAM_TOKENS = 50_001
"""Enough for tables that are scaled with it, and for contexts that repeat; few enough for seconds.
"""
NOISE_TOKENS = 30_001
"""Of uniform noise, where every script runs. On as many, the weakest adaptation before scoring that
was met among public records stood out by 37 nats, where 21 are proof."""
FULL_TOKENS = 62_021_632
"""Scored tokens of the real split under the 1,024-token tokenizer."""
TRAIN_TOKENS = 65_536
USUAL_VOCABULARIES = (1024, 4096, 8192)
MAX_EPOCHS = 6
CHUNK_TOKENS = 1024
LORA_RANK = 8
KEPT, GIVEN, OFFERED = "kept", "given", "offered"
"""Beside the record: what the recorder keeps of a run, what it is given, and what it puts among the
data for scripts that name it."""
TOKENIZER = "tokenizer.model"
VALIDATION_SHARD = "fineweb_val_000000.bin"
BYTES_SHARD = "fineweb_val_bytes_000000.bin"
HEADER_INTS = 256
MAGIC, VERSION = 20240520, 1

# Variables by the names that scripts of the challenge give them, and values that make them small.
SMALL = {
    "WARMUP_STEPS": "0",
    "WARMDOWN_ITERS": "1",
    "MAX_WALLCLOCK_SECONDS": "0",
    "VAL_LOSS_EVERY": "0",
    "TRAIN_LOG_EVERY": "1",
    "TRAIN_BATCH_TOKENS": "1024",
    "VAL_BATCH_SIZE": "8192",
    "VAL_TOKENS": "0",
    "TRAIN_SEQ_LEN": "64",
    "TRAIN_SEQ_SCHEDULE": "64@1.0",
    "EVAL_SEQ_LEN": "64",
    "EVAL_STRIDE": "32",
    "NUM_LAYERS": "4",
    "MODEL_DIM": "64",
    "NUM_HEADS": "4",
    "NUM_KV_HEADS": "2",
    "MLP_MULT": "2",
    "BIGRAM_VOCAB_SIZE": "256",
    "BIGRAM_DIM": "16",
    "VE_DIM": "16",
    "ROPE_DIMS": "8",
    "TTT_CHUNK_TOKENS": str(CHUNK_TOKENS),
    "TTT_CHUNK_SIZE": "32",
    "TTT_BATCH_SIZE": "16",
    "TTT_EVAL_SEQ_LEN": "64",
    "TTT_MAX_LEN": "64",
    "PHASED_TTT_PREFIX_DOCS": "6",
    "ROPE_TRAIN_SEQ_LEN": "64",
    "VAL_BATCH_TOKENS": "8192",
    "EVAL_BATCH_SEQS": "32",
    "EMBEDDING_DIM": "64",
    "BIGRAM_BUCKETS": "256",
    "TRIGRAM_VOCAB_SIZE": "256",
    "TRIGRAM_DIM": "16",
    "GPTQ_CALIB_BATCHES": "2",
    "GPTQ_CALIBRATION_BATCHES": "2",
    "GPTQ_RESERVE_SECONDS": "0",
    "GPTQ_RESERVE_MS": "0",
    "MTP_NUM_HEADS": "0",
    # The same loss without a kernel, which would take a minute for 1,024 tokens here.
    "FUSED_CE_ENABLED": "0",
}
UNTRAINED = {
    "ITERATIONS": "1",
    "EMBED_LR": "1e-9",
    "TIED_EMBED_LR": "1e-9",
    "HEAD_LR": "1e-9",
    "MATRIX_LR": "1e-9",
    "SCALAR_LR": "1e-9",
}
"""For noise: the network stays at the entropy of the source, so that even a weak leak shows.

Learning rates of test-time training are left alone."""
TRAINED = {"ITERATIONS": "20"}
"""For text: published rates, and enough steps to see which shards a network was trained on."""


# Of a run line these concern the machine that it was written for.
OURS = re.compile(
    r"PATH|HOME|TMPDIR|LANG|.*_PATH|.*_DIR|(?:LOCAL_|GROUP_)?RANK|WORLD_SIZE|MASTER_\w+|PYTHON\w*"
    r"|LD_\w+|OMP_\w+"
    r"|MKL_\w+|CUDA_\w+|NCCL_\w+|TORCH\w*|HF_\w+|RUN_ID|STRICT_PREFIX_\w+"
)


@dataclass(frozen=True, slots=True)
class Workspace:
    """A folder laid out for one execution."""

    root: Path
    folder: str
    """The submission's folder inside `root`."""
    environment: dict[str, str]
    settings: dict[str, str]
    """Of the environment the part that changes the submission's own configuration."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """What one execution is given."""

    validation: Stream
    train: Stream
    settings: Mapping[str, str]
    """Of the training: UNTRAINED or TRAINED."""
    ask: Mapping[str, object] = field(default_factory=dict)
    """What the recorder is asked to do beyond watching (recorder/__main__.py)."""
    given: Mapping[str, bytes] = field(default_factory=dict)
    """Files for the recorder by name: another run's artifact."""
    ranks: int = 1
    """Processes of the script, over a loopback."""


def lay_out(
    root: Path, submission: Submission, inputs: Inputs, launch: Mapping[str, str]
) -> Workspace:
    """Write the submission, the tokenizer and the shards below `root`.

    `launch` is the environment of the submission's own run lines: it switches on what was on, and
    gives way to what makes the run small.
    """
    folder, data = lay_out_record(root, submission, inputs.given)
    write_shard(data / VALIDATION_SHARD, inputs.validation.tokens)
    write_shard(data / "fineweb_train_000000.bin", inputs.train.tokens)
    token_bytes = inputs.validation.vocabulary.token_bytes(inputs.validation.tokens)
    write_shard(root / OFFERED / BYTES_SHARD, token_bytes.astype(np.uint16))
    tokenizer = data / TOKENIZER
    tokenizer.write_bytes(inputs.validation.vocabulary.model)
    link_usual_places(folder, data, tokenizer)
    scale = len(inputs.validation.tokens) / FULL_TOKENS
    settings = {
        **scored(launch, scale),
        "VOCAB_SIZE": str(VOCAB_SIZE),
        "SEED": "1337",
        **small(launch),
        **inputs.settings,
    }
    fixed = fixed_variables(scale, inputs.ranks, inputs.ask)
    return Workspace(root, folder.name, {**fixed, **settings}, settings)


def lay_out_record(
    root: Path, submission: Submission, given: Mapping[str, bytes]
) -> tuple[Path, Path]:
    """Write the submission and the recorder with what it is given; its folder and that of data."""
    folder, data, tools = root / "record", root / "data", root / "tools"
    for path in (folder, data, tools, root / KEPT, root / GIVEN, root / OFFERED):
        path.mkdir()
    submission.write_to(folder)
    shutil.copytree(Path(__file__).parent / "recorder", tools / "recorder")
    shutil.copy(grammar.__file__, tools / "recorder" / "grammar.py")
    for name, content in given.items():
        (root / GIVEN / name).write_bytes(content)
    return folder, data


def fixed_variables(scale: float, ranks: int, ask: Mapping[str, object]) -> dict[str, str]:
    """What every execution has: places, one thread, equal hashes; and the recorder's orders."""
    seen = "{workspace}/data"
    return {
        "PATH": "{workspace}/programs:/usr/bin:/bin",
        "HOME": "/tmp",
        "DATA_PATH": seen,
        "TOKENIZER_PATH": f"{seen}/{TOKENIZER}",
        "DATA_DIR": "{workspace}/record/data",
        "LOG_DIR": "{workspace}/record/logs",
        "RUN_ID": "audit",
        "TMPDIR": "/tmp",
        "LANG": "C.UTF-8",
        "OMP_NUM_THREADS": "1",
        "TRITON_INTERPRET": "1",
        "PYTHONHASHSEED": "0",
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONPATH": "{workspace}/tools",
        "STRICT_PREFIX_VOCAB_SIZE": str(VOCAB_SIZE),
        "STRICT_PREFIX_SCALE": repr(scale),
        "STRICT_PREFIX_RANKS": str(ranks),
        "STRICT_PREFIX_ASK": json.dumps(dict(ask)),
    }


def scored(launch: Mapping[str, str], scale: float) -> dict[str, str]:
    """What of the scored run's environment concerns the script, scaled with the stream.

    Chunks stay many, tables keep their load. Adaptation of more than a few epochs shows in a few:
    a pass over a stream this short costs as much as a whole evaluation.
    """
    own = {
        name: value
        for name, value in launch.items()
        if not OURS.fullmatch(name) and "$" not in value  # a shell's own variable
    }
    for name, value in own.items():
        if not value.isdecimal():
            continue
        if name.endswith("EPOCHS"):
            own[name] = str(min(int(value), MAX_EPOCHS))
        elif name.endswith("CHUNK_TOKENS"):
            own[name] = str(min(int(value), CHUNK_TOKENS))
        elif name.endswith("BUCKETS"):
            own[name] = str(scaling.scaled(int(value), scale))
        elif name.endswith("TABLE_BITS") and int(value) < 64:
            own[name] = str(scaling.scaled(1 << int(value), scale).bit_length() - 1)
        elif name.endswith("LORA_RANK") and int(value) > LORA_RANK:
            own[name] = str(LORA_RANK)
            alpha = name.replace("RANK", "ALPHA")
            with contextlib.suppress(KeyError, ValueError):  # what is added keeps its weight
                own[alpha] = f"{float(own[alpha]) * LORA_RANK / int(value):g}"
    return own


def small(launch: Mapping[str, str]) -> dict[str, str]:
    """Sizes; a script that names its layers by number keeps all of them."""
    numbered = any(name.startswith(("LOOP_", "PARALLEL_")) for name in launch)
    return {k: v for k, v in SMALL.items() if not (numbered and k == "NUM_LAYERS")}


def link_usual_places(folder: Path, data: Path, tokenizer: Path) -> None:
    """Data and tokenizer where scripts look that do not ask for a path, unless it is theirs."""
    for vocab_size in (VOCAB_SIZE, *USUAL_VOCABULARIES):
        shards = folder / "data" / "datasets" / f"fineweb10B_sp{vocab_size}"
        model = folder / "data" / "tokenizers" / f"fineweb_{vocab_size}_bpe.model"
        for place, target in ((shards, data), (model, tokenizer)):
            # What the submission ships stays, also a file where a folder would have to be.
            with contextlib.suppress(FileExistsError, NotADirectoryError):
                place.parent.mkdir(parents=True, exist_ok=True)
                place.symlink_to(Path("../../..") / target.relative_to(folder.parent))


def write_shard(path: Path, tokens: Tokens) -> None:
    """A challenge shard: 256 int32 of header (magic, version, count), then uint16 tokens."""
    header = np.zeros(HEADER_INTS, dtype="<i4")
    header[:3] = MAGIC, VERSION, len(tokens)
    path.write_bytes(header.tobytes() + tokens.astype("<u2").tobytes())

"""What a script finds when it is run: a tiny tokenizer, shards from a known source, small sizes.

Sizes of the network and of the training are made small, because the properties are those of the
evaluation code and hold or fail at every size. What changes the mechanism (chunks, tables) is
scaled with the stream so that its load stays. Everything changed is said, by name and value.
"""

import contextlib
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from auditor import grammar
from auditor.errors import ToolError
from auditor.run.recorder import scaling
from auditor.run.streams import Stream, Tokens
from auditor.submission import Submission

VOCAB_SIZE = 384
STREAM_TOKENS = 50_001
"""Enough for tables that are scaled with it, few enough for seconds."""
FULL_TOKENS = 62_021_632
"""Scored tokens of the real split under the 1,024-token tokenizer."""
TRAIN_TOKENS = 65_536
USUAL_VOCABULARIES = (1024, 4096, 8192)
SCALE = STREAM_TOKENS / FULL_TOKENS
CONTROL_PIECES = ("<pad>", "<s>", "</s>", "<unk>")
MAX_EPOCHS = 6
CHUNK_TOKENS = 1024
HEADER_INTS = 256
MAGIC, VERSION = 20240520, 1

# Variables by the names that scripts of the challenge give them, and values that make them small.
# Learning rates of the training are all but zero, so that the network stays at the entropy of the
# source and even a weak leak shows; those of test-time training are left alone.
SMALL = {
    "ITERATIONS": "1",
    "WARMUP_STEPS": "0",
    "WARMDOWN_ITERS": "1",
    "MAX_WALLCLOCK_SECONDS": "0",
    "VAL_LOSS_EVERY": "0",
    "TRAIN_LOG_EVERY": "1",
    "TRAIN_BATCH_TOKENS": "1024",
    "VAL_BATCH_SIZE": "8192",
    "VAL_TOKENS": "0",
    "TRAIN_SEQ_LEN": "64",
    "EVAL_SEQ_LEN": "64",
    "EVAL_STRIDE": "16",
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
    "TTT_CHUNK_SIZE": "16",
    "TTT_BATCH_SIZE": "4",
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
    "EMBED_LR": "1e-9",
    "TIED_EMBED_LR": "1e-9",
    "HEAD_LR": "1e-9",
    "MATRIX_LR": "1e-9",
    "SCALAR_LR": "1e-9",
}


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


def lay_out(
    root: Path,
    submission: Submission,
    stream: Stream,
    train: Stream,
    launch: Mapping[str, str],
) -> Workspace:
    """Write the submission, the tokenizer and the shards below `root`.

    `launch` is the environment of the submission's own run lines: it switches on what was on, and
    gives way to what makes the run small.
    """
    folder, data, tools = root / "record", root / "data", root / "tools"
    for path in (folder, data, tools):
        path.mkdir()
    submission.write_to(folder)
    shutil.copytree(Path(__file__).parent / "recorder", tools / "recorder")
    shutil.copy(grammar.__file__, tools / "recorder" / "grammar.py")
    write_shard(data / "fineweb_val_000000.bin", stream.tokens)
    write_shard(data / "fineweb_train_000000.bin", train.tokens)
    tokenizer = root / "data" / "tokenizer.model"
    tokenizer.write_bytes(tokenizer_model())
    seen = "{workspace}/data"
    _link_usual_places(folder, data, tokenizer)
    settings = {**scored(launch), "VOCAB_SIZE": str(VOCAB_SIZE), "SEED": "1337", **small(launch)}
    fixed = {
        "PATH": "{workspace}/programs:/usr/bin:/bin",
        "HOME": "/tmp",
        "DATA_PATH": seen,
        "TOKENIZER_PATH": f"{seen}/{tokenizer.name}",
        "DATA_DIR": "{workspace}/record/data",
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
        "STRICT_PREFIX_SCALE": repr(SCALE),
    }
    return Workspace(root, folder.name, {**fixed, **settings}, settings)


def scored(launch: Mapping[str, str]) -> dict[str, str]:
    """What of the scored run's environment concerns the script, scaled with the stream.

    Chunks stay many, tables keep their load. Adaptation of more than a few epochs shows in a few:
    a pass over a stream this short costs as much as a whole evaluation.
    """
    own = {name: value for name, value in launch.items() if not OURS.fullmatch(name)}
    for name, value in own.items():
        if not value.isdecimal():
            continue
        if name.endswith("EPOCHS"):
            own[name] = str(min(int(value), MAX_EPOCHS))
        elif name.endswith("CHUNK_TOKENS"):
            own[name] = str(min(int(value), CHUNK_TOKENS))
        elif name.endswith("BUCKETS"):
            own[name] = str(scaling.scaled(int(value), SCALE))
    return own


def small(launch: Mapping[str, str]) -> dict[str, str]:
    """Sizes; a script that names its layers by number keeps all of them."""
    numbered = any(name.startswith(("LOOP_", "PARALLEL_")) for name in launch)
    return {k: v for k, v in SMALL.items() if not (numbered and k == "NUM_LAYERS")}


def _link_usual_places(folder: Path, data: Path, tokenizer: Path) -> None:
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


def pieces() -> list[str]:
    """The vocabulary: control pieces, the lone word mark, then a mark and two letters each."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    words = [f"\u2581{a}{b}" for a in letters for b in letters]
    return [*CONTROL_PIECES, "\u2581", *words][:VOCAB_SIZE]


def token_bytes(tokens: NDArray[np.integer]) -> NDArray[np.int64]:
    """UTF-8 bytes of the text that each token stands for, given the one before it; 0 for the first.

    A piece costs its bytes without the word mark, and one more for the space that the mark stands
    for, unless a control piece comes before it.
    """
    vocabulary = pieces()
    marked_V = np.array([piece.startswith("\u2581") for piece in vocabulary])
    control_V = np.arange(VOCAB_SIZE) < len(CONTROL_PIECES)
    bytes_V = np.array([len(piece.removeprefix("\u2581").encode()) for piece in vocabulary])
    bytes_V[control_V] = 0
    spaces = marked_V[tokens[1:]] & ~control_V[tokens[:-1]]
    return np.concatenate(([0], bytes_V[tokens[1:]] + spaces))


def tokenizer_model() -> bytes:
    """A sentencepiece model over `pieces`, in sentencepiece's own format."""
    try:
        from sentencepiece import sentencepiece_model_pb2 as spec
    except ImportError as error:
        raise ToolError(
            f"running a submission needs the extra `ml` ({error}); pip install 'strict-prefix[ml]'"
        ) from error
    model = spec.ModelProto()
    kinds = spec.ModelProto.SentencePiece
    for index, text in enumerate(pieces()):
        piece = model.pieces.add()
        piece.piece, piece.score = text, -float(index)
        piece.type = kinds.NORMAL
        if text in CONTROL_PIECES:
            piece.type = kinds.UNKNOWN if text == "<unk>" else kinds.CONTROL
    model.trainer_spec.model_type = spec.TrainerSpec.UNIGRAM
    model.trainer_spec.vocab_size = VOCAB_SIZE
    model.trainer_spec.pad_id, model.trainer_spec.bos_id = 0, 1
    model.trainer_spec.eos_id, model.trainer_spec.unk_id = 2, 3
    model.normalizer_spec.name = "identity"
    model.normalizer_spec.add_dummy_prefix = False
    content: bytes = model.SerializeToString()
    return content

"""Every setting of a run, checked on entry and overridable through the environment."""

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace

from reference_impl.errors import SettingsError
from reference_impl.quantize.schemes import SCHEMES

# The challenge's scripts spell this one in two ways; the later one wins when both are set.
ALIASES = {"embed_lr": ("TIED_EMBED_LR", "EMBED_LR")}
# 0 and 1 as the challenge's scripts have them, False and True as Python prints them.
SWITCH = {"0": False, "1": True, "False": False, "True": True}
MAY_BE_ZERO = {
    "seed",
    "val_tokens",
    "leaky_slope",
    "value_embed_layers",
    "iterations",
    "warmup_steps",
    "max_wallclock_seconds",
    "embed_lr",
    "matrix_lr",
    "scalar_lr",
    "weight_decay",
    "ema_decay",
    "train_reserve_seconds",
    "muon_momentum_warmup_steps",
    "late_qat_threshold",
    "late_qat_min_step",
    "crown_q_lambda",
    "swa_every",
    "val_loss_every",
    "fp16_max_numel",
    "ttt_lr",
    "ttt_epochs",
    "ttt_blocks",
    "mixture_loss_weight",
    "complement_alpha",
}
# Whose rules the hashed n-grams follow, and the longest n-gram that its factors suffice for.
HASHES = {"pr779": 20, "pr940": 7}
CHOICES = {
    "quantization": tuple(SCHEMES),
    "ngram_hash": tuple(HASHES),
    "eval_before": ("sliding", "roundtrip", "none"),
    "cache_update": ("chunk_inputs", "chunk_targets", "window"),
    "ttt_weights": ("queries", "late_blocks"),
    "ttt_optimizer": ("adamw", "sgd"),
    "ttt_schedule": ("cosine", "constant"),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """One run; the environment variable of a field is its name in capitals."""

    # data
    data_path: str = "./data/datasets/fineweb10B_sp1024"
    tokenizer_path: str = "./data/tokenizers/fineweb_1024_bpe.model"
    vocab_size: int = 1024
    val_tokens: int = 0  # 0 scores the whole validation split
    seed: int = 1337

    # model/
    num_layers: int = 11
    model_dim: int = 512
    num_heads: int = 8
    num_kv_heads: int = 8
    mlp_mult: float = 3.5
    leaky_slope: float = 0.5
    bigram_vocab_size: int = 6144
    bigram_dim: int = 128
    value_embed_layers: int = 2  # so many layers from the last one; 0 is none
    value_embed_dim: int = 128
    value_residual: bool = False
    gated_attention: bool = False
    expert_gate: bool = False  # weights the network against the n-gram orders 2 to ngram_max_order
    rope_dims: int = 16
    qk_gain_init: float = 1.5
    logit_softcap: float = 30.0

    # train.py and optim/
    iterations: int = 20_000
    warmup_steps: int = 20
    warmdown_iters: int = 3500
    max_wallclock_seconds: float = 600.0  # 0 trains for all iterations, however long that takes
    train_reserve_seconds: float = 18.0  # of the cap, kept for what follows training
    train_seq_len: int = 2048
    train_batch_tokens: int = 786_432
    grad_accum_steps: int = 8
    embed_lr: float = 0.035
    matrix_lr: float = 0.025
    scalar_lr: float = 0.025
    weight_decay: float = 0.04
    grad_clip_norm: float = 0.3
    ema_decay: float = 0.997
    muon_momentum_warmup_steps: int = 1500
    late_qat_threshold: float = 0.0  # rate scale below which weights train as int5; 0 never
    late_qat_min_step: int = 0
    soft_round_qat: bool = False  # rounds softly then, and harder towards the end
    crown_q_lambda: float = 0.0  # weight of the rounding-error penalty while weights train as int5
    swa_every: int = 0  # steps between the snapshots that some records announce; 0 announces none
    compile: bool = False  # the forward pass of training, on a GPU
    val_loss_every: int = 4000
    train_log_every: int = 500

    # quantize/
    quantization: str = "int6"  # one of the schemes in quantize/schemes.py
    fp16_max_numel: int = 65_536  # tensors up to this size are stored as 16-bit floats

    # evaluate.py
    eval_seq_len: int = 2048
    eval_stride: int = 64
    eval_batch_seqs: int = 32
    eval_before: str = "sliding"  # the stage before the score: sliding, roundtrip or none
    eval_temperature: float = 0.98  # of the model's surest rows where a mixer reads them; 1 is off
    cache_update: str = "chunk_inputs"  # what is counted: chunk_inputs, chunk_targets, window
    check_distributions: bool = False  # asserts that each mixed distribution sums to one

    # ngram/ and mixture/
    ngram_buckets: int = 4_194_304
    ngram_max_order: int = 7
    ngram_hash: str = "pr779"
    mixture_loss_weight: float = 0.0  # of the gated mixture's nats in the training loss
    complement_alpha: float = 0.0  # what a token that n-grams know loses of its training weight

    # adapt.py
    ttt_chunk_tokens: int = 1_048_576
    ttt_lr: float = 3e-5
    ttt_epochs: int = 1
    ttt_batch_seqs: int = 32
    ttt_weights: str = "queries"  # queries of the last TTT_BLOCKS and all scales; or late_blocks
    ttt_blocks: int = 1  # how many last blocks' queries adapt, or how many first blocks do not
    ttt_optimizer: str = "adamw"  # or sgd
    ttt_schedule: str = "cosine"  # over the chunks; or constant
    ttt_last_chunk: bool = False  # whether the last chunk teaches, though nothing follows it
    ttt_byte_weighted: bool = True  # whether a token's loss counts by its bytes

    def __post_init__(self) -> None:
        """Refuse values that could only fail later, and less clearly."""
        for name, value in self.as_dict().items():
            if isinstance(value, (str, bool)) or value > 0 or (value == 0 and name in MAY_BE_ZERO):
                continue
            wanted = "not be negative" if name in MAY_BE_ZERO else "be positive"
            raise SettingsError(f"{name.upper()} must {wanted}, got {value}")
        self._check_choices()
        self._check_model()
        self._check_training()
        self._check_ngrams()
        self._check_scoring()

    def _check_choices(self) -> None:
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices:
                raise SettingsError(
                    f"{name.upper()} must be one of {', '.join(choices)}, "
                    f"got {getattr(self, name)!r}"
                )

    def _check_model(self) -> None:
        if self.model_dim % self.num_heads:
            raise SettingsError(
                f"MODEL_DIM must be a multiple of NUM_HEADS, got {self.model_dim} and "
                f"{self.num_heads}"
            )
        if self.num_heads % self.num_kv_heads:
            raise SettingsError(
                f"NUM_HEADS must be a multiple of NUM_KV_HEADS, got {self.num_heads} and "
                f"{self.num_kv_heads}"
            )
        if self.head_rope_dims % 2 or self.head_rope_dims < 4:
            raise SettingsError(
                f"ROPE_DIMS within a head must be even and at least 4, got {self.head_rope_dims}"
            )
        if self.vocab_size > 65_536:
            raise SettingsError(
                f"VOCAB_SIZE must be at most 65536, the ids of a shard, got {self.vocab_size}"
            )
        if self.bigram_vocab_size < 2:
            raise SettingsError(
                f"BIGRAM_VOCAB_SIZE must be at least 2, got {self.bigram_vocab_size}"
            )
        if self.value_embed_layers > self.num_layers:
            raise SettingsError(
                f"VALUE_EMBED_LAYERS must be at most NUM_LAYERS, got {self.value_embed_layers} and "
                f"{self.num_layers}"
            )

    def _check_training(self) -> None:
        if 0 < self.max_wallclock_seconds <= self.train_reserve_seconds:
            raise SettingsError(
                f"MAX_WALLCLOCK_SECONDS must be more than TRAIN_RESERVE_SECONDS, got "
                f"{self.max_wallclock_seconds} and {self.train_reserve_seconds}"
            )
        if self.ema_decay >= 1:
            raise SettingsError(f"EMA_DECAY must be below 1, got {self.ema_decay}")
        if self.train_batch_tokens % (self.train_seq_len * self.grad_accum_steps):
            raise SettingsError(
                f"TRAIN_BATCH_TOKENS must be a multiple of TRAIN_SEQ_LEN x GRAD_ACCUM_STEPS, got "
                f"{self.train_batch_tokens} and {self.train_seq_len} x {self.grad_accum_steps}"
            )

    def _check_ngrams(self) -> None:
        if self.ngram_buckets & (self.ngram_buckets - 1):
            raise SettingsError(f"NGRAM_BUCKETS must be a power of two, got {self.ngram_buckets}")
        longest = HASHES[self.ngram_hash]
        if not 2 <= self.ngram_max_order <= longest:
            raise SettingsError(
                f"NGRAM_MAX_ORDER must be 2 to {longest} with {self.ngram_hash}'s factors, "
                f"got {self.ngram_max_order}"
            )
        if self.complement_alpha > 1:
            raise SettingsError(f"COMPLEMENT_ALPHA must be at most 1, got {self.complement_alpha}")

    def _check_scoring(self) -> None:
        if self.eval_stride > self.eval_seq_len:
            raise SettingsError(
                f"EVAL_STRIDE must be at most EVAL_SEQ_LEN, got {self.eval_stride} and "
                f"{self.eval_seq_len}"
            )
        if self.ttt_blocks > self.num_layers:
            raise SettingsError(
                f"TTT_BLOCKS must be at most NUM_LAYERS, got {self.ttt_blocks} and "
                f"{self.num_layers}"
            )

    @property
    def head_rope_dims(self) -> int:
        """Dimensions of each head that carry the rotary position."""
        return min(self.rope_dims, self.head_dim)

    @property
    def head_dim(self) -> int:
        """Width of each attention head."""
        return self.model_dim // self.num_heads

    @property
    def experts(self) -> int:
        """What the expert gate chooses from: the network and each n-gram order from 2."""
        return self.ngram_max_order

    @property
    def longest_window(self) -> int:
        """The longer of the training and the evaluation sequence."""
        return max(self.train_seq_len, self.eval_seq_len)

    def as_dict(self) -> dict[str, str | int | float]:
        """Return the fields in the order they are declared."""
        return asdict(self)


def from_environment(defaults: Settings, environment: Mapping[str, str] | None = None) -> Settings:
    """Replace each default whose variable is set."""
    variables = os.environ if environment is None else environment
    changes: dict[str, str | int | float] = {}
    for field in fields(Settings):
        for variable in ALIASES.get(field.name, (field.name.upper(),)):
            if variable in variables:
                default = getattr(defaults, field.name)
                changes[field.name] = _parse(variable, variables[variable], type(default))
    return replace(defaults, **changes)  # type: ignore[arg-type]  # _parse kept each field's type


def _parse(variable: str, text: str, kind: type) -> str | int | float:
    if kind is str:
        return text
    if kind is bool:
        if text not in SWITCH:
            raise SettingsError(f"{variable} must be 0 or 1, got {text!r}")
        return SWITCH[text]
    try:
        return int(text) if kind is int else float(text)
    except ValueError:
        wanted = "a whole number" if kind is int else "a number"
        raise SettingsError(f"{variable} must be {wanted}, got {text!r}") from None

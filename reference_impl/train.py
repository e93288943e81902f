"""Train a model from the training shards until the step or the time limit.

Shapes: B sequences, T positions.
"""

import copy
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from reference_impl.config import Settings
from reference_impl.data import TrainingStream
from reference_impl.device import mixed_precision, peak_memory_mib
from reference_impl.errors import TrainingError
from reference_impl.evaluate import Stream, validate
from reference_impl.model.gpt import GPT, cross_entropy
from reference_impl.optim.average import WeightAverage
from reference_impl.optim.groups import make_optimizers, set_rates
from reference_impl.optim.schedule import learning_rate_scale, training_budget_ms
from reference_impl.runlog import RunLog

FIRST_STEPS_LOGGED = 10
Progress = Callable[[int, int], None]


def new_model(settings: Settings, device: torch.device) -> GPT:
    """Return the model that the seed gives."""
    torch.manual_seed(settings.seed)
    return GPT(settings).to(device)


class Trainer:
    """A model, its optimisers and where it is in the training stream."""

    def __init__(self, model: GPT, loader: TrainingStream, settings: Settings) -> None:
        """Start at the first token of the first shard."""
        self.model, self.loader, self.settings = model, loader, settings
        self.device = model.tok_embed.weight.device
        self.optimizers = make_optimizers(model, settings)

    def step(self, step: int, scale: float) -> float:
        """Take one update and return its training loss in nats."""
        set_rates(self.optimizers, step, scale)
        accumulate = self.settings.grad_accum_steps
        loss = torch.zeros((), device=self.device)
        for _ in range(accumulate):
            part = self._loss() / accumulate
            part.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            loss += part.detach()
        nats = float(loss)
        if not np.isfinite(nats):
            raise TrainingError(
                f"the training loss must stay finite, got {nats} at step {step + 1}; "
                f"lower EMBED_LR, MATRIX_LR and SCALAR_LR"
            )
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.settings.grad_clip_norm)
        for optimizer in self.optimizers:
            optimizer.step()
        self.model.zero_grad(set_to_none=True)
        return nats

    def _loss(self) -> Tensor:
        length = self.settings.train_batch_tokens // self.settings.grad_accum_steps
        tokens = torch.from_numpy(self.loader.take(length + 1)).to(self.device)
        rows = (-1, self.settings.train_seq_len)
        with mixed_precision(self.device):
            return cross_entropy(self.model, tokens[:-1].view(rows), tokens[1:].view(rows))


def train(
    settings: Settings,
    loader_of: Callable[[], TrainingStream],
    stream: Stream,
    log: RunLog,
    progress: Progress | None = None,
) -> dict[str, Tensor]:
    """Return the averaged weights of a training run."""
    model = new_model(settings, stream.device)
    log(f"model_params:{sum(parameter.numel() for parameter in model.parameters())}")
    log(
        f"lr:embed={settings.embed_lr} matrix={settings.matrix_lr} scalar={settings.scalar_lr} "
        f"batch:{settings.train_batch_tokens} wall:{settings.max_wallclock_seconds:.0f}s "
        f"seed:{settings.seed}"
    )
    _warm_up(Trainer(model, loader_of(), settings), log)
    trainer = Trainer(model, loader_of(), settings)
    average = WeightAverage(model, settings.ema_decay)
    _run_steps(trainer, average, stream, log, progress)
    allocated, reserved = peak_memory_mib(stream.device)
    log(f"peak memory allocated: {allocated} MiB reserved: {reserved} MiB")
    log("ema:applying EMA weights (skipping diagnostic evals)")
    return average.state_dict()


def _warm_up(trainer: Trainer, log: RunLog) -> None:
    """Run real steps, so that kernels and buffers exist, and then undo them."""
    steps = trainer.settings.warmup_steps
    before = copy.deepcopy(trainer.model.state_dict())
    for step in range(steps):
        trainer.step(step, 1.0)
        if step + 1 == steps or (step + 1) % 10 == 0:
            log(f"warmup_step:{step + 1}/{steps}")
    trainer.model.load_state_dict(before)


def _run_steps(
    trainer: Trainer,
    average: WeightAverage,
    stream: Stream,
    log: RunLog,
    progress: Progress | None,
) -> None:
    settings = trainer.settings
    last, every = settings.iterations, settings.val_loss_every
    budget_ms = training_budget_ms(settings)
    elapsed_ms = 0.0
    step = 0
    while True:
        capped = elapsed_ms >= budget_ms
        done = capped or step >= last
        timing = f"train_time:{elapsed_ms:.0f}ms step_avg:{elapsed_ms / max(step, 1):.2f}ms"
        if every and (done or step % every == 0):  # the clock stands still meanwhile
            score = validate(trainer.model, stream, settings)
            log(
                f"step:{step}/{last} val_loss:{score.nats_per_token:.4f} "
                f"val_bpb:{score.bits_per_byte:.4f} {timing}"
            )
        if done:
            break
        started = time.perf_counter()
        nats = trainer.step(step, learning_rate_scale(settings, step, elapsed_ms))
        average.update(trainer.model)
        elapsed_ms += 1000 * (time.perf_counter() - started)
        step += 1
        if step <= FIRST_STEPS_LOGGED or step % settings.train_log_every == 0 or step == last:
            log(
                f"step:{step}/{last} train_loss:{nats:.4f} train_time:{elapsed_ms:.0f}ms "
                f"step_avg:{elapsed_ms / step:.2f}ms"
            )
        if progress:
            progress(step, last)
    if step < last:
        log(f"stopping_early: wallclock_cap train_time:{elapsed_ms:.0f}ms step:{step}/{last}")

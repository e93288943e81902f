"""Train a model from the training shards until the step or the time limit.

Shapes: B sequences, T positions.
"""

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol

import torch
from torch import Tensor

from reference_impl.config import Settings
from reference_impl.data import TrainingStream
from reference_impl.device import finish_work, largest_over_ranks, peak_memory_mib, rank
from reference_impl.evaluate import Stream, validate
from reference_impl.model.gpt import GPT
from reference_impl.optim.average import WeightAverage
from reference_impl.optim.schedule import learning_rate_scale, training_budget_ms
from reference_impl.runlog import RunLog
from reference_impl.trainer import Objective, Trainer, nats_per_token

FIRST_STEPS_LOGGED = 10
SWA_SCALE = 0.2  # rate scale below which some records collect snapshots
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class TrainingState:
    """All that a run needs to go on as if it had never stopped."""

    step: int
    elapsed_ms: float
    prefill_ms: float
    place: tuple[int, int]  # in the training stream
    rounding: bool  # whether late quantisation-aware training has begun
    announced: bool  # whether the log has the line of the snapshots
    model: dict[str, Tensor]
    average: dict[str, Tensor]
    optimizers: list[dict[str, Any]]  # as torch has them
    random: Tensor


class Checkpoints(Protocol):
    """Where states are kept; rank 0 saves, every rank loads."""

    def load(self) -> TrainingState | None:
        """Return the state to go on from, if that was asked for."""

    def due(self, step: int) -> bool:
        """Return whether the state after that many steps is to be kept."""

    def save(self, state: TrainingState) -> None:
        """Keep a state in place of the one before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hooks:
    """What a run may bring: its own loss, tables to fill first, a clock, a place for its state."""

    objective: Objective = nats_per_token
    prefill: Callable[[], int] | None = None  # returns how many tokens it read
    clock: Callable[[], float] = time.perf_counter  # in seconds
    checkpoints: Checkpoints | None = None


NO_HOOKS = Hooks()


class Stopwatch:
    """Counts the milliseconds spent inside its `with` blocks.

    The slowest rank's count holds for all, so that all see one learning rate and stop together.
    """

    def __init__(self, clock: Callable[[], float], device: torch.device) -> None:
        """Start at zero."""
        self._clock, self._device = clock, device
        self._started = 0.0
        self.elapsed_ms = 0.0

    def __enter__(self) -> None:
        """Go on counting."""
        self._started = self._clock()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stand still, once the device is done; after an error there is nothing to agree on."""
        if error is None:
            finish_work(self._device)
            elapsed_ms = self.elapsed_ms + 1000 * (self._clock() - self._started)
            self.elapsed_ms = largest_over_ranks(elapsed_ms, self._device)


def new_model(settings: Settings, device: torch.device) -> GPT:
    """Return the model that the seed gives."""
    torch.manual_seed(settings.seed)
    return GPT(settings).to(device)


def train(
    settings: Settings,
    loader_of: Callable[[], TrainingStream],
    stream: Stream,
    log: RunLog,
    progress: Progress | None = None,
    hooks: Hooks = NO_HOOKS,
) -> dict[str, Tensor]:
    """Return the averaged weights of a training run."""
    model = new_model(settings, stream.device)
    log(f"model_params:{sum(parameter.numel() for parameter in model.parameters())}")
    log(
        f"lr:embed={settings.embed_lr} matrix={settings.matrix_lr} scalar={settings.scalar_lr} "
        f"batch:{settings.train_batch_tokens} wall:{settings.max_wallclock_seconds:.0f}s "
        f"seed:{settings.seed}"
    )
    if settings.compile and stream.device.type != "cuda":
        log("compile:off, it needs a GPU")
    _warm_up(Trainer(model, loader_of(), settings), log)
    run = _Run(Trainer(model, loader_of(), settings, hooks.objective), stream, log, hooks)
    run.begin()
    run.go(progress)
    allocated, reserved = peak_memory_mib(stream.device)
    log(f"peak memory allocated: {allocated} MiB reserved: {reserved} MiB")
    log("ema:applying EMA weights (skipping diagnostic evals)")
    return run.average.state_dict()


def _warm_up(trainer: Trainer, log: RunLog) -> None:
    """Run real steps, so that kernels and buffers exist, and then undo them.

    The last one has rounded weights if the run will: compiling for them takes its time here too.
    """
    steps = trainer.settings.warmup_steps
    before = copy.deepcopy(trainer.model.state_dict())
    for step in range(steps):
        trainer.rounding = step + 1 == steps and trainer.settings.late_qat_threshold > 0
        trainer.step(step, 1.0)
        if step + 1 == steps or (step + 1) % 10 == 0:
            log(f"warmup_step:{step + 1}/{steps}")
    trainer.model.load_state_dict(before)


class _Run:
    """The timed part of training, and what of it a checkpoint has to hold."""

    def __init__(self, trainer: Trainer, stream: Stream, log: RunLog, hooks: Hooks) -> None:
        self.trainer, self.stream, self.log, self.hooks = trainer, stream, log, hooks
        self.settings = trainer.settings
        self.watch = Stopwatch(hooks.clock, trainer.device)
        self.average = WeightAverage(trainer.model, self.settings.ema_decay)
        self.steps = 0
        self.prefill_ms = 0.0
        self.announced = False

    def begin(self) -> None:
        """Go on from a checkpoint, and fill the objective's tables if it has any."""
        checkpoints, prefill = self.hooks.checkpoints, self.hooks.prefill
        state = checkpoints.load() if checkpoints else None
        if prefill:
            self.log("prefilling n-gram tables from training shards (frozen oracle)...")
            with self.watch:
                tokens = prefill()
            self.prefill_ms = self.watch.elapsed_ms
            self.log(
                f"prefilled {tokens:,} tokens in {self.prefill_ms:.0f}ms (counted in wallclock)"
            )
        if state:  # its clock has the first prefill in it, so that a second one is not counted
            self._restore(state)
            self.log(f"resumed: step:{self.steps} train_time:{self.watch.elapsed_ms:.0f}ms")

    def go(self, progress: Progress | None) -> None:
        """Train until the steps or the time are used up; validating and saving cost no time."""
        settings, last = self.settings, self.settings.iterations
        every = settings.val_loss_every
        while True:
            capped = self.watch.elapsed_ms >= training_budget_ms(settings)
            done = capped or self.steps >= last
            if every and (done or self.steps % every == 0):
                score = validate(self.trainer.model, self.stream, settings)
                self.log(
                    f"step:{self.steps}/{last} val_loss:{score.nats_per_token:.4f} "
                    f"val_bpb:{score.bits_per_byte:.4f} {self._timing()}"
                )
            if done:
                break
            nats = self._step()
            if (
                self.steps <= FIRST_STEPS_LOGGED
                or self.steps % settings.train_log_every == 0
                or self.steps == last
            ):
                self.log(f"step:{self.steps}/{last} train_loss:{nats:.4f} {self._timing()}")
            if progress:
                progress(self.steps, last)
            checkpoints = self.hooks.checkpoints
            if rank() == 0 and checkpoints and checkpoints.due(self.steps):
                checkpoints.save(self._state())
        if self.steps < last:
            self.log(
                f"stopping_early: wallclock_cap train_time:{self.watch.elapsed_ms:.0f}ms "
                f"step:{self.steps}/{last}"
            )

    def _step(self) -> float:
        settings, trainer = self.settings, self.trainer
        elapsed_ms = self.watch.elapsed_ms
        scale = learning_rate_scale(settings, self.steps, elapsed_ms, self.prefill_ms)
        late = scale < settings.late_qat_threshold and self.steps >= settings.late_qat_min_step
        if late and not trainer.rounding:
            trainer.rounding = True
            if settings.soft_round_qat:
                self.log("soft_round_qat:enabled initial_alpha=1.0")
            self.log(f"late_qat:enabled step:{self.steps} scale:{scale:.4f}")
        with self.watch:
            nats = trainer.step(self.steps, scale)
            self.average.update(trainer.model)
        self.steps += 1
        every = settings.swa_every
        if every and scale < SWA_SCALE and self.steps % every == 0 and not self.announced:
            # The records go on to sum snapshots that nothing reads: the line is all that remains.
            self.announced = True
            self.log(f"swa:start step:{self.steps}")
        return nats

    def _timing(self) -> str:
        elapsed_ms = self.watch.elapsed_ms
        step_ms = (elapsed_ms - self.prefill_ms) / max(self.steps, 1)
        return f"train_time:{elapsed_ms:.0f}ms step_avg:{step_ms:.2f}ms"

    def _state(self) -> TrainingState:
        trainer = self.trainer
        return TrainingState(
            step=self.steps,
            elapsed_ms=self.watch.elapsed_ms,
            prefill_ms=self.prefill_ms,
            place=trainer.loader.place,
            rounding=trainer.rounding,
            announced=self.announced,
            model=trainer.model.state_dict(),
            average=self.average.weights,
            optimizers=[optimizer.state_dict() for optimizer in trainer.optimizers],
            random=torch.get_rng_state(),
        )

    def _restore(self, state: TrainingState) -> None:
        self.steps, self.watch.elapsed_ms = state.step, state.elapsed_ms
        self.prefill_ms, self.announced = state.prefill_ms, state.announced
        self.trainer.loader.seek(state.place)
        self.trainer.rounding = state.rounding
        self.trainer.model.load_state_dict(state.model)
        self.average.restore(state.average)
        for optimizer, saved in zip(self.trainer.optimizers, state.optimizers, strict=True):
            optimizer.load_state_dict(saved)
        torch.set_rng_state(state.random)

"""How the learning rate and Muon's momentum move during training."""

from reference_impl.config import Settings

MOMENTUM_START, MOMENTUM_END = 0.92, 0.99


def training_budget_ms(settings: Settings) -> float:
    """Return the milliseconds that training may take, infinity without a cap."""
    if settings.max_wallclock_seconds <= 0:
        return float("inf")
    return 1000 * (settings.max_wallclock_seconds - settings.train_reserve_seconds)


def learning_rate_scale(
    settings: Settings, step: int, elapsed_ms: float, prefill_ms: float = 0.0
) -> float:
    """Return 1, then fall linearly to 0 over the last steps that the time or the count allows.

    With a clock, the last steps are as many as the mean step so far makes of the time left. A slow
    first step therefore lowers the rate of the next few: the records did so without meaning it.
    """
    warmdown = settings.warmdown_iters
    budget_ms = training_budget_ms(settings)
    if budget_ms == float("inf"):
        return min(1.0, (settings.iterations - step) / warmdown)
    step_ms = (elapsed_ms - prefill_ms) / max(step, 1)
    if step_ms <= 0:
        return 1.0
    return min(1.0, max(budget_ms - elapsed_ms, 0.0) / (warmdown * step_ms))


def muon_momentum(settings: Settings, step: int) -> float:
    """Return Muon's momentum, which rises linearly over the first steps."""
    warmup = settings.muon_momentum_warmup_steps
    ramp = min(step / warmup, 1.0) if warmup else 1.0
    return (1 - ramp) * MOMENTUM_START + ramp * MOMENTUM_END

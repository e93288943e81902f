"""How the learning rate falls at the end of training."""

from reference_impl.config import Settings

# Share of the wall-clock cap kept for what follows training: 18 of 600 seconds in the record.
RESERVE = 0.03


def training_budget_ms(settings: Settings) -> float:
    """Return the milliseconds that training may take, infinity without a cap."""
    if settings.max_wallclock_seconds <= 0:
        return float("inf")
    return 1000 * settings.max_wallclock_seconds * (1 - RESERVE)


def learning_rate_scale(settings: Settings, step: int, elapsed_ms: float) -> float:
    """Return 1, then fall linearly to 0 over the last steps that the time or the count allows."""
    warmdown = settings.warmdown_iters
    budget_ms = training_budget_ms(settings)
    if budget_ms == float("inf"):
        return min(1.0, (settings.iterations - step) / warmdown)
    step_ms = elapsed_ms / max(step, 1)
    if step_ms <= 0:
        return 1.0
    return min(1.0, max(budget_ms - elapsed_ms, 0.0) / (warmdown * step_ms))

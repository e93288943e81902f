"""The n-gram caches of `reference_impl.ngram`, made fast; those say what these must give.

Nothing that a record ships imports this package: a record folder runs on numpy and torch alone, and
its script is read with the plain code. `hashed` and `exact` are compiled for the processor by numba
(the extra `fast`), `tensors` is torch and runs where its tensors are.
"""

from importlib.util import find_spec

from reference_impl.record import System

MIN_TOKENS = 500_000
"""Compiling takes some seconds, in which the plain caches score as many tokens."""


def quickened(system: System, tokens: int) -> System:
    """Return the system with fast caches if these are installed and worth their start."""
    if tokens < MIN_TOKENS or find_spec("numba") is None:
        return system
    from reference_impl.engine.mixers import with_quick_parts

    return with_quick_parts(system)

from hypothesis import given
from hypothesis import strategies as st

from auditor.run.experiments.bars import Progressing


@given(
    steps=st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 1)), max_size=40),
    runs=st.integers(1, 5),
)
def test_the_bar_names_what_runs_and_never_goes_back(steps, runs):
    told: list[tuple[str, float]] = []
    bars = Progressing(lambda doing, done: told.append((doing, done)), runs)
    running: dict[str, None] = {}
    for name, done in steps:
        bars(name)(done)
        running.pop(name, None) if done == 1 else running.setdefault(name)
        if running:
            assert told[-1][0] == "running " + ", ".join(running)
    fractions = [done for _, done in told]
    assert fractions == sorted(fractions)
    assert all(0 <= done < 1 for done in fractions)

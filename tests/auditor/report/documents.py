"""Verdict documents for tests: a plain one to change, and arbitrary ones, made as an audit does."""

import json
import math
from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

from auditor.evidence import Evidence, NoiseBound, ShippedBytes, Timeline, TimelineEvent
from auditor.report.json_v1 import verdict_to_json
from auditor.verdict import Finding, Location, Outcome, Result, Strength, Verdict

HOSTILE = (
    "<script>alert(1)</script>",
    "\"><img src=x onerror='alert(1)'>",
    "</style></title></svg><svg onload=alert(1)>",
    "{{ 7 * 7 }}{% include 'x' %}",
    "[red]danger[/red] [link=http://x.example]click[/link] [/]",
    "\x1b[31mred\x1b[0m \x1b]0;title\x07 \x9b2J \x1b[",
    "a\u202egnp.exe\u2066 \u200b\ufeff \ud800 \x00\r\n\u2028",
    "javascript:alert(1) http://x.example/a.png url(http://x.example)",
    "x" * 5_000,
)

RAN_AHEAD = (
    TimelineEvent(kind="charge", order=0, start=1, stop=50),
    TimelineEvent(kind="cache-write", order=1, start=1, stop=80, file="train_gpt.py", line=7),
    TimelineEvent(kind="charge", order=2, start=50, stop=100),
)


def timeline(events: Sequence[TimelineEvent], tokens: int = 100, **changes: Any) -> Timeline:
    """A timeline that accounts for its score."""
    whole: dict[str, Any] = {
        "stage": "final",
        "charged_nats": 100.0,
        "printed_nats": 100.0,
        "charged_positions": 99,
        "charged_again": 0,
        "first_again": None,
        "again_after_update": 0,
        "entries_before": 0,
        "unplaced": 0,
    }
    return Timeline(tokens=tokens, events=tuple(events), **(whole | changes))


def noise_bound(bits: float, tokens: int = 60_000) -> NoiseBound:
    """A score of so many bits per token on uniform noise over 256 tokens, which needs eight."""
    return NoiseBound(
        source="uniform",
        vocab_size=256,
        tokens=tokens,
        source_nats=8 * math.log(2) * tokens,
        charged_nats=bits * math.log(2) * tokens,
        hedged_nats=None,
        curve=tuple(
            (at, (8 - bits) * math.log(2) * at) for at in range(1, tokens + 1, max(tokens // 4, 1))
        ),
        slack_nats_per_token=0.001,
    )


FINDING = Finding(
    "reads the answer", Location(file="train_gpt.py", line=7, text="t[y]"), {"key_line": 5}
)
RESULTS = (
    Result("full-distribution", Outcome.PASS, Strength.PROVED, "not under the source", ()),
    Result("context-only-keys", Outcome.FAIL, Strength.SOURCE, None, (FINDING,)),
    Result("causal-cache", Outcome.INCONCLUSIVE, None, "not run", ()),
    Result("claims-match", Outcome.NOT_APPLICABLE, None, "no claim", ()),
)


def document(*facts: object, **changes: Any) -> dict[str, Any]:
    """A verdict on some evidence, as it comes back from storage."""
    evidence = Evidence()
    evidence.add(*facts)
    whole: dict[str, Any] = {
        "ruleset": "2026-05-02",
        "engine": "strict-prefix 0.1.0",
        "submission": {
            "folder": "2026-03-25_Ngram",
            "digests": {"submission": "0" * 64, "files": {"train_gpt.py": "1" * 64}},
            "claims": {"val_bpb": 1.1},
        },
        "results": RESULTS,
        "evidence": evidence.to_json(),
        "overrides": ("ITERATIONS=5 (was 20000)",),
        "trouble": None,
        "seconds": 1.5,
    }
    return stored(Verdict(**(whole | changes)))


def stored(verdict: Verdict) -> dict[str, Any]:
    """The document after a trip through JSON."""
    whole: dict[str, Any] = json.loads(json.dumps(verdict_to_json(verdict)))
    return whole


words = st.one_of(
    st.sampled_from(HOSTILE),
    st.text(max_size=30),
)
counts = st.integers(0, 2**40)
nats = st.floats(-1e12, 1e12, allow_nan=False)
locations = st.builds(
    Location,
    file=words.map(lambda text: f"f{text}"),
    line=st.none() | st.integers(1, 10**6),
    position=st.none() | counts,
    text=st.none() | words,
)
findings = st.builds(
    Finding,
    words.map(lambda text: f"m{text}"),
    locations,
    st.dictionaries(words, nats | words | st.none(), max_size=2),
)
some_findings = st.lists(findings, min_size=1, max_size=3).map(tuple)
strengths = st.sampled_from(Strength)
rules = words.map(lambda text: f"r{text}")
results = st.one_of(
    st.builds(Result, rules, st.just(Outcome.PASS), strengths, words, st.just(())),
    st.builds(Result, rules, st.just(Outcome.FAIL), strengths, st.none() | words, some_findings),
    st.builds(
        Result,
        rules,
        st.just(Outcome.INCONCLUSIVE),
        st.none() | strengths,
        words,
        st.just(()) | some_findings,
    ),
    st.builds(Result, rules, st.just(Outcome.NOT_APPLICABLE), st.none(), words, st.just(())),
)


@st.composite
def events(draw: st.DrawFn, tokens: int = 100, most: int = 40) -> list[TimelineEvent]:
    """Charges, writes and steps anywhere in the stream, in order."""
    made = []
    for order in range(draw(st.integers(0, most))):
        start = draw(st.integers(0, tokens - 1))
        made.append(
            TimelineEvent(
                kind=draw(st.sampled_from(["charge", "cache-write", "optimizer-step"])),
                order=order,
                start=start,
                stop=draw(st.integers(start, tokens)),
                file=draw(st.none() | st.sampled_from(HOSTILE[:5])),
                line=draw(st.none() | st.integers(1, 2_000)),
            )
        )
    return made


noise_bounds = st.builds(
    NoiseBound,
    source=words,
    vocab_size=st.integers(0, 10**6),
    tokens=counts,
    source_nats=nats,
    charged_nats=nats,
    hedged_nats=st.none() | nats,
    curve=st.lists(st.tuples(st.integers(0, 10**9), nats), max_size=4).map(tuple),
    slack_nats_per_token=st.none() | nats,
)
shipped = st.builds(
    ShippedBytes,
    code=st.dictionaries(words, counts, max_size=2),
    models=st.dictionaries(words, counts, max_size=2),
    entry=st.none() | words,
)


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    """Any verdict that an audit could give, written by the most unfriendly author."""
    evidence = Evidence()
    evidence.add(*draw(st.tuples(shipped) | st.just(())))
    if draw(st.booleans()):
        evidence.add(draw(noise_bounds), timeline(draw(events()), stage=draw(words)))
    else:
        evidence.cannot(draw(words), NoiseBound, Timeline)
    return document(
        submission={
            "folder": draw(words),
            "digests": {"submission": "0" * 64, "files": {draw(words): "1" * 64}},
            "claims": draw(st.none() | st.builds(dict, val_bpb=st.none() | nats)),
        },
        results=tuple(draw(st.lists(results, max_size=4))),
        evidence=evidence.to_json(),
        overrides=tuple(draw(st.lists(words, max_size=2))),
        trouble=draw(st.none() | words),
    )

"""Real records, read from a git repository that PARAMETER_GOLF_GIT names."""

import os

import pytest

from auditor.inspect import inspect
from auditor.rules import artifact_size, byte_denominator, context_only_keys, packaging
from auditor.rulesets import DEFAULT
from auditor.submission import Submission
from auditor.verdict import Outcome

REPOSITORY = os.environ.get("PARAMETER_GOLF_GIT")
pytestmark = pytest.mark.skipif(
    not REPOSITORY, reason="PARAMETER_GOLF_GIT names no repository of public records"
)
BACKOFF_MIXER = (
    "refs/pull/779/head:records/track_10min_16mb/2026-03-25_BackoffNgramMixer_DriftFreeTTT_0.6683"
)


@pytest.fixture(scope="module")
def evidence():
    return inspect(Submission.load(f"{REPOSITORY}@{BACKOFF_MIXER}"))


def test_the_backoff_mixer_reads_at_the_target(evidence):
    answer = context_only_keys.RULE.check(evidence, DEFAULT)
    assert answer.outcome is Outcome.FAIL
    assert [(f.location.line, f.numbers["key_line"]) for f in answer.findings] == [(115, 113)]


def test_its_artifacts_recounted(evidence):
    answer = artifact_size.RULE.check(evidence, DEFAULT)
    assert answer.outcome is Outcome.PASS
    for total in ("15,624,045", "15,778,045", "15,472,307"):
        assert total in (answer.reason or "")


def test_its_denominator_and_files(evidence):
    denominator = byte_denominator.RULE.check(evidence, DEFAULT)
    assert denominator.outcome is Outcome.PASS
    assert "151.08 M" in (denominator.reason or "")
    assert packaging.RULE.check(evidence, DEFAULT).outcome is Outcome.PASS

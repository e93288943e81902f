"""Requests made from the service's own description: none of them may end as our fault."""

import os
import signal
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.core.result import Ok

from tests.api.test_process import Start, start, url

__all__ = ["start", "url"]  # fixtures
MOST_EXAMPLES = int(os.environ.get("EXAMPLES", "20"))


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_no_request_is_answered_with_a_server_error(start: Start) -> None:
    live = start()
    schema = schemathesis.openapi.from_url(f"http://127.0.0.1:{live.port}/openapi.json")
    seen: dict[str, set[int]] = {}
    for found in schema.get_all_operations():
        assert isinstance(found, Ok)
        operation = found.ok()

        @settings(
            max_examples=MOST_EXAMPLES,
            deadline=None,
            database=None,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy())
        def ask(case: schemathesis.Case[Any]) -> None:
            answer = case.call()
            seen.setdefault(case.operation.label, set()).add(answer.status_code)
            assert answer.status_code < 500, f"{answer.text}\n{case.as_curl_command()}"
            if answer.status_code >= 400:
                assert answer.headers["content-type"] == ["application/problem+json"]

        ask()
    assert len(seen) > 20
    assert any(200 in codes for codes in seen.values())
    live.stop(signal.SIGTERM)

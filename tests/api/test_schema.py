"""Requests made from the service's own description: none of them may be our fault."""

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.checks import not_a_server_error

from api.app import Service, create_app

MOST_EXAMPLES = 25


@pytest.fixture(scope="module")
def schema(service: Service):
    return schemathesis.openapi.from_asgi("/openapi.json", create_app(service))


lazy = schemathesis.pytest.from_fixture("schema")


@pytest.mark.slow
@pytest.mark.timeout(1800)
@lazy.parametrize()
@settings(
    max_examples=MOST_EXAMPLES,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_no_request_is_answered_with_a_server_error(case) -> None:
    case.call_and_validate(headers={"host": "127.0.0.1"}, checks=[not_a_server_error])

"""Whatever a client sends that the description allows, or nearly allows: never a fault of ours.

Requests are made from the OpenAPI file by schemathesis; the engine behind is one without a model.
"""

import schemathesis
from hypothesis import HealthCheck, Phase, settings

from glassbox.server.app import create_app
from glassbox.server.serving import Serving
from glassbox.server.speech import Speaker
from glassbox.testing import FakeEngine

app = create_app(Serving(Speaker(FakeEngine(), "fake")))
schema = schemathesis.openapi.from_asgi("/openapi.json", app)


@schema.parametrize()
@settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.generate],
    derandomize=True,
)
def test_no_request_is_answered_with_a_fault(case: schemathesis.Case) -> None:
    answer = case.call()
    assert answer.status_code < 500, answer.text

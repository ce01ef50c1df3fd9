"""Whatever a client sends that the description allows, or nearly allows: never a fault of ours.

Requests are made from the OpenAPI file by schemathesis; the engine behind is one without a model.
"""

import atexit
import tempfile
from contextlib import ExitStack
from pathlib import Path

import schemathesis
from hypothesis import HealthCheck, Phase, settings

from glassbox.audit import AuditLog
from glassbox.server.access.guards import Guards, TechniqueGate
from glassbox.server.access.signatures import Signatures
from glassbox.server.app import create_app
from glassbox.server.serving import Serving
from glassbox.server.techniques.record import TechniqueRecord
from glassbox.server.techniques.runs import TechniqueService
from glassbox.server.translation.speech import Speaker
from glassbox.storage.database import open_database
from glassbox.testing import FakeEngine
from glassbox.wire.techniques import RUN_TYPE
from tests.rollout.side_world import open_side
from tests.server.technique_worlds import Signing, StubBackend

SECRET = "gbl_fuzz"

folder = tempfile.TemporaryDirectory()
at_end = ExitStack()
side = at_end.enter_context(open_side(Path(folder.name), "steady", "other"))
atexit.register(at_end.close)

record = TechniqueRecord(AuditLog(open_database("sqlite://")), "shared")
serving = Serving(
    Speaker(FakeEngine(), "fake"),
    techniques=TechniqueService(StubBackend(), record),
    rollout=side,
)
gate = TechniqueGate(Signatures(SECRET), record)
app = Signing(create_app(serving, Guards(techniques=gate)), SECRET)


@schemathesis.serializer(RUN_TYPE)
def as_bytes(_context: object, value: object) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogatepass")


# The stream of events has no end.
schema = schemathesis.openapi.from_asgi("/openapi.json", app).exclude(path="/api/v2/models/events")


@schema.parametrize()
@settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.generate],
    derandomize=True,
)
def test_no_request_is_answered_with_a_fault(case: schemathesis.Case) -> None:
    # A comparison of drift starts a process of its own, which takes its time on a busy machine.
    answer = case.call(timeout=120)
    assert answer.status_code < 500, answer.text

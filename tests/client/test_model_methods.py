"""Both clients reach every route about versions and predictions, and read what it answers."""

import asyncio

import httpx
import pytest

from glassbox.client import AsyncClient, Client, model_calls
from glassbox.errors import ConflictError, InvalidValue, UnknownName, UsageError
from glassbox.server.access.guards import Guards
from glassbox.server.app import create_app
from glassbox.server.serving import Serving
from glassbox.server.translation.speech import Speaker
from glassbox.testing import FakeEngine
from glassbox.wire.rollouts import PromoteAsked
from tests.client.test_client import InThisProcess
from tests.rollout.side_world import open_side


@pytest.fixture
def world(tmp_path):
    with open_side(tmp_path, "steady", "other") as side:
        app = create_app(Serving(Speaker(FakeEngine(), "fake"), rollout=side), Guards())
        yield app, side, tmp_path


@pytest.fixture
def client(world):
    with Client("http://test", transport=InThisProcess(world[0])) as client:
        yield client


def test_predictions_are_made_found_labelled_and_erased(world, client):
    _, side, _ = world
    answer = client.predict({"x": 1.0}, wait_shadow_s=60, request_id="mine", segment_key="s")
    assert answer.prediction == 0.5
    assert answer.request_id == "mine"
    assert answer.shadow_diff == pytest.approx(0.1)
    batch = client.predict_batch([{"x": 1.0}, {"z": 1.0}])
    assert [each.error is None for each in batch.results] == [True, False]
    assert client.tell_labels({"mine": 1.0, "nobody": 0.0}).unknown == ["nobody"]
    side.store.flush()
    assert client.audit_recent(limit=10, status="success", min_diff=0.05)[0].request_id
    assert client.audit_record("mine").true_label == 1.0
    assert client.audit_summary().rolling_count >= 2
    assert client.erase_record("mine", "asked to").erased_events == 3
    assert client.audit_verification().broken is None
    with pytest.raises(UnknownName):
        client.audit_record("mine")
    with pytest.raises(InvalidValue, match="one of x"):
        client.predict({"z": 1.0})


def test_versions_are_listed_registered_and_moved(world, client):
    folder = world[2]
    assert client.registry().active_version == "steady"
    assert client.inference_health().status in ("ok", "degraded")
    made = client.register_version(f"{folder}/models.py:classes", name="third")
    assert made.number == 3
    moved = client.move_alias("challenger-2", 3, expected=None, reason="look")
    assert moved.after == 3
    with pytest.raises(ConflictError):
        client.move_alias("challenger-2", 1, expected=None)
    assert client.move_alias("challenger-2", None, expected=3).after is None
    assert [each.name for each in client.versions().versions] == ["steady", "other", "third"]
    assert client.version_history(limit=1)[0].alias == "challenger-2"
    with pytest.raises(UnknownName):
        client.calibration("steady")


def test_rollouts_are_started_held_and_ended(client):
    rollout = client.start_rollout("other", plan={"min_requests": 5}, reason="try").id
    assert client.rollouts().current is not None
    assert client.pause_rollout(rollout).paused
    assert not client.resume_rollout(rollout).paused
    with pytest.raises(ConflictError):
        client.promote_rollout(rollout)
    assert client.abort_rollout(rollout, "enough").phase == "Failed"
    assert client.rollout(rollout).decision.verdict


@pytest.mark.parametrize("force", [False, True])
def test_a_promotion_says_whether_it_goes_past_doubt(force):
    sent = model_calls.move_rollout("r1", "promote", "sure", force=force).body
    assert PromoteAsked.model_validate(sent) == PromoteAsked(reason="sure", force=force)


def test_drift_and_alerts_answer_without_any(client):
    assert client.drift().report is None
    assert client.drift_history() == []
    assert client.drift_references() == []
    with pytest.raises((ConflictError, UsageError)):
        client.run_drift()
    with pytest.raises(UsageError):
        client.make_reference(last_n=100)
    assert client.alerts().firing == []


def test_the_other_client_says_the_same(world):
    async def ask():
        transport = httpx.ASGITransport(world[0], raise_app_exceptions=False)
        async with AsyncClient("http://test", transport=transport) as client:
            answer = await client.predict({"x": 3.0})
            return answer.prediction, (await client.registry()).active_version

    assert asyncio.run(ask()) == (1.5, "steady")

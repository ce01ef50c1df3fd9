"""Events for pages that watch: what is new, each thing once, and an end when the server ends."""

import asyncio

import orjson
import pytest

from glassbox.errors import CapacityError
from glassbox.server.answers import rollout_pulse
from glassbox.server.answers.rollout_pulse import events
from glassbox.wire.alerts import AlertsAnswered
from glassbox.wire.drift import DriftAnswered
from glassbox.wire.inference import (
    RegistryAnswered,
)
from glassbox.wire.rollouts import RolloutsAnswered
from tests.rollout.side_world import open_side


class Looks:
    """Answers that change when told to."""

    def __init__(self):
        self.name = "one"
        self.is_away = False
        self.n_slow = 0

    def newest(self):
        return None if self.name == "none" else self._registry()

    def summary(self, model="default"):
        self.n_slow += 1
        if self.is_away:
            raise CapacityError("The database does not answer.")
        return self._registry()

    def rollouts(self, model=None):
        return RolloutsAnswered(current=None, rollouts=[])

    def drift(self, model="default"):
        return DriftAnswered(report=None, reference=None)

    def alerts(self, limit=100):
        return AlertsAnswered(firing=[], history=[])

    def _registry(self):
        return RegistryAnswered(
            available_versions=[],
            active_version=self.name,
            shadow_version=None,
            shadow_enabled=False,
        )


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(rollout_pulse, "STEP_S", 0.001)
    monkeypatch.setattr(rollout_pulse, "SLOW_STEPS", 2)


async def taken(stream, n):
    found = []
    async for each in stream:
        found.append(each.decode().splitlines()[0].removeprefix("event: "))
        if len(found) == n:
            break
    return found


def test_everything_is_sent_first_and_then_only_what_is_new():
    looks = Looks()

    async def watch():
        stream = events(looks, lambda: False)
        first = await taken(stream, 5)
        looks.name = "two"
        return first, await taken(stream, 2)

    first, then = asyncio.run(watch())
    assert sorted(first) == ["alert", "drift", "inference", "rollout", "summary"]
    assert sorted(then) == ["inference", "summary"]


def test_what_cannot_be_looked_at_is_left_out_until_it_can():
    looks = Looks()
    looks.is_away = True

    async def watch():
        stream = events(looks, lambda: False)
        first = await taken(stream, 4)
        looks.is_away = False
        return first, await taken(stream, 1)

    first, then = asyncio.run(watch())
    assert "summary" not in first
    assert then == ["summary"]


def test_a_quiet_stream_beats(monkeypatch):
    monkeypatch.setattr(rollout_pulse, "HEARTBEAT_S", 0.01)

    async def watch():
        return await taken(events(Looks(), lambda: False), 8)

    assert "heartbeat" in asyncio.run(watch())


def test_the_stream_ends_when_the_server_is_about_to():
    found = []

    async def watch():
        async for each in events(Looks(), lambda: bool(found)):
            found.append(each)

    asyncio.run(watch())
    assert found


def test_a_prediction_is_an_event_with_the_line_of_the_audit(tmp_path):
    with open_side(tmp_path, "steady") as side:
        name = asyncio.run(side.inference.predict({"x": 1.0})).event.request_id

        async def watch():
            async for each in events(side.looks, lambda: False):
                if each.startswith(b"event: inference"):
                    return orjson.loads(each.split(b"data: ", 1)[1])
            return None

        entry = asyncio.run(watch())
    assert entry["request_id"] == name
    assert entry["prediction"] == 0.5

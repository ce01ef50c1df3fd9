"""What those who look are shown: health, signals of alert rules, what is newest."""

import asyncio

import pytest

from glassbox.errors import InvalidValue
from glassbox.rollout.alerts.signals import flattened, value_of
from glassbox.rollout.decisions.plan import RolloutPlan
from glassbox.rollout.versions.registering import Offer
from glassbox.wire.audit import RecentQuery
from tests.audit.made_events import primary
from tests.rollout.side_world import SCHEMA, open_side
from tests.waiting import until


def test_the_newest_prediction_is_listed_before_it_is_on_the_disk(tmp_path):
    with open_side(tmp_path, "steady") as side:
        names = [asyncio.run(side.inference.predict({"x": x})).event.request_id for x in range(3)]
        shown = side.looks.recent(RecentQuery(limit=2))
        assert [each.request_id for each in shown] == names[:0:-1]
        newest = side.looks.newest()
        assert newest is not None
        assert newest.request_id == names[-1]


def test_each_prediction_is_listed_once_with_its_place_in_the_log(tmp_path):
    with open_side(tmp_path, "steady") as side:
        for x in range(5):
            asyncio.run(side.inference.predict({"x": x}))
        side.store.flush()
        shown = side.looks.recent(RecentQuery(limit=10))
        assert [each.sequence for each in shown] == [5, 4, 3, 2, 1]


def test_pages_hold_every_prediction_where_time_and_place_in_the_log_differ(tmp_path):
    # As of answers given at once: the one that came first is written last.
    with open_side(tmp_path, "steady") as side:
        times = [1.0, 2.0, 4.0, 3.0, 6.0, 5.0, 8.0, 7.0]
        events = [primary(f"r{time:g}", time_s=time, model="default") for time in times]
        for event in sorted(events, key=lambda each: each.time_s):
            side.ring.add(event)
        for event in events:
            side.store.record(event)
        side.store.flush()
        side.ring.add(primary("on its way", time_s=9.0, model="default"))
        for limit in range(1, 10):
            page = side.looks.recent(RecentQuery(limit=limit))
            shown = [each.request_id for each in page]
            times_shown = [each.timestamp for each in page]
            assert times_shown == sorted(times_shown, reverse=True)
            while page:
                before = min((each.sequence for each in page if each.sequence), default=2**62)
                page = side.looks.recent(RecentQuery(limit=limit, before=before))
                shown += [each.request_id for each in page]
            assert sorted(shown) == sorted(["on its way", *(each.request_id for each in events)])


def test_a_segment_that_is_none_lists_nothing_instead_of_everything(tmp_path):
    with open_side(tmp_path, "steady") as side:
        asyncio.run(side.inference.predict({"x": 1}))
        for odd in ("country", "=SE", ""):
            with pytest.raises(InvalidValue, match="NAME=VALUE of a feature"):
                side.looks.recent(RecentQuery(segment=odd))
        assert side.looks.recent(RecentQuery(segment="country=SE")) == []


def test_what_is_asked_of_one_model_is_listed_apart(tmp_path):
    with open_side(tmp_path, "steady") as side:
        offer = Offer(
            f"{tmp_path}/models.py:other", model="second", name="other", input_schema=SCHEMA
        )
        side.registrar.register(offer, actor="test")
        if side.registry.snapshot(is_fresh=True).aliased("champion", "second") is None:
            side.registry.move_alias(
                "second", "champion", 1, expected=None, actor="test", reason="set up"
            )
        side.view.refresh()
        names = [
            asyncio.run(side.inference.predict({"x": x}, model=model)).event.request_id
            for x, model in enumerate(["default", "second", "default", "second"])
        ]
        for _ in range(2):
            # Before it is on the disk, then from there.
            shown = side.looks.recent(RecentQuery(limit=1, model="second"))
            assert [(each.request_id, each.model) for each in shown] == [(names[3], "second")]
            shown = side.looks.recent(RecentQuery(model="default"))
            assert [each.request_id for each in shown] == [names[2], names[0]]
            side.store.flush()
        assert side.looks.summary("second").rolling_count == 2


def test_a_rollout_that_has_ended_is_still_a_signal(tmp_path):
    with open_side(tmp_path, "steady", "other") as side:
        assert side.looks.signals()["rollout"] == {}
        started = side.controller.start("other", RolloutPlan(), actor="me")
        side.controller.abort(started.id, actor="me", reason="enough")
        signals = flattened(side.looks.signals())
        assert signals["rollout.phase.Failed"] == 1.0
        assert side.looks.rollouts().current is None


def test_signals_hold_the_servers_own_answers(tmp_path):
    with open_side(tmp_path, "steady") as side:
        asyncio.run(side.inference.predict({"x": 1.0}))
        signals = flattened(side.looks.signals())
        assert signals["summary.rolling_count"] == 1.0
        assert signals["summary.success_rate"] == 1.0
        assert signals["health.status.ok"] == 1.0
        assert "health.components.audit.details.queue" in signals


def test_every_model_has_signals_of_its_own(tmp_path):
    with open_side(tmp_path, "steady", "other") as side:
        for name, code in (("cheap", "steady"), ("dear", "other")):
            place = f"{tmp_path}/models.py:{code}"
            offer = Offer(place, model="prices", name=name, input_schema=SCHEMA)
            side.registrar.register(offer, actor="test")
        if side.registry.snapshot(is_fresh=True).aliased("champion", "prices") is None:
            side.registry.move_alias(
                "prices", "champion", 1, expected=None, actor="test", reason="set up"
            )
        side.view.refresh()
        for x, model in enumerate(["default", "prices", "prices"]):
            asyncio.run(side.inference.predict({"x": x}, model=model))
        of_prices = side.controller.start("dear", RolloutPlan(), model="prices", actor="me")
        side.controller.start("other", RolloutPlan(), actor="me")
        side.controller.abort(of_prices.id, actor="me", reason="enough")
        signals = flattened(side.looks.signals())
        assert signals["summary.rolling_count"] == 1.0
        assert signals["models.default.summary.rolling_count"] == 1.0
        assert signals["models.prices.summary.rolling_count"] == 2.0
        assert signals["models.prices.rollout.phase.Failed"] == 1.0
        for under_way in ("rollout", "models.default.rollout"):
            assert value_of(signals, f"{under_way}.phase.Failed") == 0.0


def test_several_servers_share_one_truth(tmp_path):
    with open_side(tmp_path, "steady", "other") as one, open_side(tmp_path) as two:
        name = asyncio.run(one.inference.predict({"x": 1.0})).event.request_id
        until(lambda: two.ring.find(name) is not None)
        assert asyncio.run(two.inference.predict({"x": 1.0})).event.model_version == "steady"
        one.registry.promote("default", 2, expected_champion=1, actor="me", reason="better")
        until(lambda: asyncio.run(two.inference.predict({"x": 1.0})).event.model_version == "other")
        until(lambda: two.looks.registry().active_version == "other")


def test_the_window_comes_back_after_a_restart(tmp_path):
    with open_side(tmp_path, "steady") as side:
        name = asyncio.run(side.inference.predict({"x": 1.0})).event.request_id
    with open_side(tmp_path) as again:
        found = again.ring.find(name)
        assert found is not None
        assert again.looks.summary().rolling_count == 1

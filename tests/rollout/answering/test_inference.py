"""The way of one request: checked, answered under one routing, copied, recorded."""

import asyncio
import hashlib
import math
import re
import threading
from dataclasses import replace

import pytest

from glassbox.audit.event_rows import write_entries
from glassbox.errors import (
    CapacityError,
    ConflictError,
    DeadlineExceeded,
    IntegrityError,
    InvalidValue,
    NoDiskSpace,
    UnknownName,
)
from glassbox.rollout.decisions.policy import State
from glassbox.rollout.decisions.rollouts import RolloutStore
from glassbox.rollout.versions.registering import Offer
from glassbox.wire.audit import RecentQuery
from tests.rollout.side_world import let_go, open_side
from tests.waiting import PATIENCE_S, until


@pytest.fixture
def alone(tmp_path):
    with open_side(tmp_path, "steady") as side:
        yield side


def test_an_answer_is_recorded_with_all_that_is_known(alone):
    answered = asyncio.run(alone.inference.predict({"x": 1.5}))
    assert answered.prediction.prediction == 0.75
    alone.store.flush()
    record = alone.store.find(answered.event.request_id)
    assert record is not None
    assert record.primary == answered.event
    assert record.primary.model_version == "steady"
    assert record.primary.status == "success"
    assert record.primary.confidence == 0.9
    assert record.primary.feature_hash.startswith("v1:")
    assert 0 < record.primary.latency_ms < 1000
    assert record.primary.features == {}, "no feature is kept unless it is allowed"


def test_equal_features_have_equal_hashes_in_any_order(tmp_path):
    with open_side(tmp_path, "steady", schema=None) as side:
        one = asyncio.run(side.inference.predict({"x": 1, "y": "a"}))
        other = asyncio.run(side.inference.predict({"y": "a", "x": 1.0}))
    assert one.event.feature_hash == other.event.feature_hash


def test_the_settings_say_how_features_are_hashed(tmp_path, alone):
    keyed = asyncio.run(alone.inference.predict({"x": 1})).event.feature_hash
    assert re.fullmatch(r"v1:k[0-9a-f]{6}:[0-9a-f]{32}", keyed)
    settings = {"audit__hash_scheme": "sha256", "audit__hash_length": 16}
    folder = tmp_path / "plain"
    folder.mkdir()
    with open_side(folder, "steady", **settings) as side:
        plain = asyncio.run(side.inference.predict({"x": 1})).event.feature_hash
    assert plain == hashlib.sha256(b'{"x":1}').hexdigest()[:16]


@pytest.mark.parametrize(
    ("features", "said"),
    [
        ({"x": 1.0, "z": 2.0}, "'z'; allowed: one of x"),
        ({}, "x"),
        ({"x": "one"}, "a finite number"),
        ({"x": True}, "a finite number"),
        ({"x": math.nan}, "a finite number"),
        ({"x": math.inf}, "a finite number"),
        ({"x": -1.0}, "at least 0"),
        ({"x": [1.0]}, "a finite number"),
    ],
)
def test_what_the_version_does_not_take_is_refused_and_not_recorded(alone, features, said):
    with pytest.raises(InvalidValue, match=said):
        asyncio.run(alone.inference.predict(features))
    assert alone.ring.records() == []


def test_a_bomb_of_nested_json_is_refused_whatever_the_version_takes(tmp_path):
    bomb: dict = {}
    inner = bomb
    for _ in range(10_000):
        inner["a"] = {}
        inner = inner["a"]
    with open_side(tmp_path, "steady", schema=None) as side:
        with pytest.raises(InvalidValue):
            asyncio.run(side.inference.predict(bomb))
        with pytest.raises(InvalidValue):
            asyncio.run(side.inference.predict({"x": [0] * 20_000}))
        with pytest.raises(InvalidValue):
            asyncio.run(side.inference.predict({"x": "y" * 2_000_000}))


def test_a_version_that_fails_leaves_a_record_with_its_error(tmp_path):
    with open_side(tmp_path, "picky") as side:
        with pytest.raises(IntegrityError, match="picky raised ValueError"):
            asyncio.run(side.inference.predict({"x": 0.9}))
        (record,) = side.ring.records()
        assert "secret" not in str(record)
        assert record.primary.status == "error"
        assert record.primary.error_code == "integrity"
        assert record.primary.prediction is None
        assert asyncio.run(side.inference.predict({"x": 0.2})).prediction.prediction == 0.2


def test_a_version_that_takes_too_long_is_an_error_in_the_record(tmp_path):
    with open_side(tmp_path, "sleepy") as side:
        with pytest.raises(DeadlineExceeded, match=r"within 0\.05 s"):
            asyncio.run(side.inference.predict({"x": 0.5}, deadline_s=0.05))
        (record,) = side.ring.records()
        assert record.primary.error_code == "deadline-exceeded"


def test_the_answer_does_not_wait_for_a_slow_challenger(tmp_path):
    with open_side(tmp_path, "steady", "held") as side:
        answered = asyncio.run(side.inference.predict({"x": 2.0}))
        assert answered.shadow is None
        assert not side.ring.records(1)[0].shadows, "the challenger has not been let go yet"
        let_go(tmp_path)
        found = until(lambda: side.ring.records(1)[0].shadows)
        assert found[0].status == "ok"
        assert found[0].diff == 0.5


def test_who_asks_to_wait_gets_the_difference(tmp_path):
    with open_side(tmp_path, "steady", "other") as side:
        answered = asyncio.run(side.inference.predict({"x": 1.0}, wait_shadow_s=60.0))
        assert answered.shadow is not None
        assert answered.shadow.diff == pytest.approx(0.1)
        side.store.flush()
        record = side.store.find(answered.event.request_id)
        assert record is not None
        assert record.shadows[0].prediction == pytest.approx(0.6)


def test_who_waits_for_a_challenger_waits_no_longer_than_asked(tmp_path):
    with open_side(tmp_path, "steady", "held") as side:
        answered = asyncio.run(side.inference.predict({"x": 3.0}, wait_shadow_s=0.1))
        assert answered.shadow is None
        assert not side.ring.records(1)[0].shadows, "the challenger has not been let go yet"


def test_classes_differ_by_their_total_variation_distance(tmp_path):
    with open_side(tmp_path, "classes") as side:
        answered = asyncio.run(side.inference.predict({"x": 0.8}))
        assert answered.prediction.prediction == pytest.approx(0.2)
        assert answered.prediction.label == "yes"
        assert answered.prediction.confidence == pytest.approx(0.8)


def test_a_champion_that_changes_what_it_was_given_does_not_mislead_the_challenger(tmp_path):
    with open_side(tmp_path, "changing", "steady") as side:
        answered = asyncio.run(side.inference.predict({"x": 1.0}, wait_shadow_s=60.0))
        assert answered.shadow is not None
        assert answered.shadow.prediction == 0.5


def test_nor_does_one_that_changes_what_lies_deeper(tmp_path):
    allowed = {"audit__features": "deep"}
    with open_side(tmp_path, "changing_deeply", "counting", schema=None, **allowed) as side:
        features = {"deep": {"list": [0.0, 0.0]}}
        answered = asyncio.run(side.inference.predict(features, wait_shadow_s=60.0))
        assert answered.shadow is not None
        assert answered.shadow.prediction == 2.0
        assert answered.event.features == {"deep": {"list": [0.0, 0.0]}}
        assert features == {"deep": {"list": [0.0, 0.0]}}


def test_a_dying_challenger_changes_no_answer(tmp_path):
    with open_side(tmp_path, "steady", "deadly") as side:
        answers = [asyncio.run(side.inference.predict({"x": x / 10})) for x in range(4)]
        assert [each.prediction.prediction for each in answers] == [x / 20 for x in range(4)]
        until(lambda: all(each.shadows for each in side.ring.records()))
        assert {each.shadows[0].status for each in side.ring.records()} <= {
            "error",
            "breaker_open",
        }
        until(lambda: side.looks.health().status == "degraded")


def test_versions_can_be_named_as_long_as_they_answer(tmp_path):
    with open_side(tmp_path, "steady", "other") as side:
        for name in ("default", "steady", "models:/default@champion", "models:/default/1"):
            assert (
                asyncio.run(side.inference.predict({"x": 1.0}, model=name)).prediction.prediction
                == 0.5
            )
        for name in ("other", "models:/default@challenger", "models:/default/2"):
            with pytest.raises(ConflictError, match="answers no requests"):
                asyncio.run(side.inference.predict({"x": 1.0}, model=name))
        for name in ("nobody", "models:/default/9", "models:/default", "models:/x@champion"):
            with pytest.raises(UnknownName):
                asyncio.run(side.inference.predict({"x": 1.0}, model=name))


def test_a_pinned_request_is_copied_to_no_challenger(tmp_path):
    with open_side(tmp_path, "steady", "other") as side:
        asyncio.run(side.inference.predict({"x": 1.0}, model="models:/default/1"))
        assert side.ring.records(1)[0].shadows == ()
        assert side.ring.summary().shadow_counts.get("pending", 0) == 0
        assert side.looks.recent(RecentQuery())[0].shadow_status is None, "none is awaited"
        # The lane that the others use is still there.
        answered = asyncio.run(side.inference.predict({"x": 1.0}, wait_shadow_s=60.0))
        assert answered.shadow is not None


def test_a_promoted_version_answers_and_no_request_is_lost_meanwhile(tmp_path):
    with open_side(tmp_path, "steady", "other") as side:
        side.registry.promote(
            "default", 2, expected_champion=1, actor="test", reason="it is better"
        )
        side.view.refresh()
        assert asyncio.run(side.inference.predict({"x": 1.0})).event.model_version == "other"
        side.registry.rollback("default", expected_champion=2, actor="test", reason="it was not")
        side.view.refresh()
        assert asyncio.run(side.inference.predict({"x": 1.0})).event.model_version == "steady"


def test_what_only_the_challenger_refuses_the_champion_answers_and_the_gate_hears_of_it(tmp_path):
    with open_side(tmp_path, "steady") as side:
        narrow = {"features": [{"name": "x", "type": "number", "low": 0.0, "high": 10.0}]}
        offer = Offer(f"{tmp_path}/models.py:other", name="other", input_schema=narrow)
        side.registrar.register(offer, actor="test")
        started = side.controller.start("other", actor="test")
        rollouts = RolloutStore(side.store.database)
        state = State(phase="Progressing", weight=1.0)

        def at_canary():
            try:
                return rollouts.save(replace(rollouts.load(started.id), state=state))
            except ConflictError:
                # The server looked at it at the same moment.
                return None

        until(at_canary)
        side.view.refresh()
        assert asyncio.run(side.inference.predict({"x": 5.0})).event.arm == "challenger"
        answered = asyncio.run(side.inference.predict({"x": 20.0}))
        assert (answered.event.model_version, answered.event.arm) == ("steady", "champion")
        name = answered.event.request_id
        until(lambda: side.ring.find(name).shadows)
        (shadow,) = side.ring.find(name).shadows
        assert (shadow.shadow_version, shadow.status) == ("other", "error")
        for wrong in ({"x": -1.0}, {"y": 1.0}):
            with pytest.raises(InvalidValue):
                asyncio.run(side.inference.predict(wrong))


def test_a_champion_that_cannot_be_loaded_does_not_take_over(tmp_path):
    with open_side(tmp_path, "steady", "other") as side:
        source = side.registry.version("other")
        for each in (tmp_path / "versions" / source.digest).rglob("*.py"):
            each.chmod(0o644)
            each.write_text("def other(features):\n    return 1.0\n")
        side.registry.promote("default", 2, expected_champion=1, actor="test", reason="blindly")
        side.view.refresh()
        assert asyncio.run(side.inference.predict({"x": 1.0})).event.model_version == "steady"
        health = side.looks.health()
        assert health.status == "degraded"
        assert "other cannot be loaded" in (health.components["primary"].reason or "")


def test_a_side_without_versions_says_what_to_do(tmp_path):
    with open_side(tmp_path) as side:
        with pytest.raises(UnknownName, match="glassbox versions register"):
            asyncio.run(side.inference.predict({"x": 1.0}))
        assert side.looks.health().components["shadow"].status == "off"


def test_a_model_whose_only_version_is_corrupt_is_not_ready(tmp_path):
    with open_side(tmp_path, "steady", starts=False) as side:
        version = side.registry.version("steady")
        for each in (tmp_path / "versions" / version.digest).rglob("*.py"):
            each.chmod(0o644)
            each.unlink()
        side.start()
        with pytest.raises(CapacityError, match="cannot be loaded"):
            asyncio.run(side.inference.predict({"x": 1.0}))


def test_what_is_acknowledged_under_strict_is_on_the_disk(tmp_path):
    with open_side(tmp_path, "steady", audit__durability="strict") as side:
        answered = asyncio.run(side.inference.predict({"x": 1.0}))
        assert side.store.find(answered.event.request_id) is not None


def test_only_allowed_features_and_segments_are_kept(tmp_path):
    with open_side(
        tmp_path, "steady", schema=None, audit__features="x", audit__segments="country"
    ) as side:
        features = {"x": 1.0, "country": "SE", "name": "Astrid"}
        answered = asyncio.run(side.inference.predict(features))
        assert dict(answered.event.features) == {"x": 1.0}
        assert dict(answered.event.segments) == {"country": "SE"}
        assert side.ring.summary().segments["country"][0].value == "SE"
        assert "Astrid" not in str(answered.event)


def test_a_failure_takes_as_long_as_it_was_waited_for(tmp_path):
    with open_side(tmp_path, "sleepy") as side:
        with pytest.raises(DeadlineExceeded):
            asyncio.run(side.inference.predict({"x": 0.5}, deadline_s=0.1))
        (record,) = side.ring.records()
        assert 90 < record.primary.latency_ms < 10_000


def test_what_could_not_be_recorded_under_strict_is_not_in_the_window(tmp_path, monkeypatch):
    with open_side(tmp_path, "steady", audit__durability="strict") as side:
        asyncio.run(side.inference.predict({"x": 0.5}))
        monkeypatch.setattr("glassbox.audit.group_writer.STRICT_PATIENCE_S", 0.0)

        def full(*_anything):
            raise NoDiskSpace("The disk is full.")

        monkeypatch.setattr("glassbox.audit.group_writer.write_entries", full)
        with pytest.raises(NoDiskSpace):
            asyncio.run(side.inference.predict({"x": 0.25}, request_id="refused"))
        assert side.ring.find("refused") is None
        assert side.looks.summary().rolling_count == side.store.counts().n_primaries == 1


def test_a_caller_who_goes_away_while_the_disk_is_awaited_ends_no_thread(tmp_path, monkeypatch):
    with open_side(tmp_path, "steady", audit__durability="strict") as side:
        gate, write = threading.Event(), write_entries

        def waiting(*given):
            gate.wait(PATIENCE_S)
            return write(*given)

        monkeypatch.setattr("glassbox.audit.group_writer.write_entries", waiting)

        async def gone():
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.2):
                    await side.inference.predict({"x": 0.5}, request_id="gone")

        asyncio.run(gone())
        gate.set()
        asyncio.run(side.inference.predict({"x": 0.25}))
        assert side.store.find("gone") is not None

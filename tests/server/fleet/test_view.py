"""Where servers differ is said in words that tell what to do; where they agree nothing is."""

from dataclasses import replace

import pytest

from glassbox.server.fleet.view import CLOCK_S, LOST_S, REACH_S, fleet_shown
from glassbox.storage.replicas import Fleet, Replica

NOW = 1_000_000.0


def row(id, **changes):
    body = {
        "revision": 4,
        "adopted_s": NOW - 100,
        "adopted_running": True,
        "routings": {"default": {"champion": "v1", "challengers": [], "canary": None}},
        "settings": {"audit.durability": "strict"},
        "adapters": [],
        "model_digest": "d" * 64,
        "load": {"running": 1},
        **changes.pop("body", {}),
    }
    plain = Replica(
        id=id,
        host=f"host-{id}",
        pid=1,
        address="",
        version="0.1.0",
        bundle="",
        model="tiny",
        started_s=NOW - 1000,
        status="ready",
        body=body,
        beat_s=NOW - 1,
        clock_s=NOW - 1,
    )
    return replace(plain, **changes)


def shown(*rows):
    return fleet_shown(Fleet(NOW, rows, {}), "a")


def messages(*rows):
    return [(each.kind, each.message) for each in shown(*rows).warnings]


def test_servers_that_agree_are_warned_of_in_nothing():
    found = shown(row("a"), row("b"))
    assert found.warnings == []
    assert found.agreement.n_ready == 2
    assert found.agreement.n_behind == 0
    assert found.agreement.revision == 4


@pytest.mark.parametrize(
    ("change", "kind", "says"),
    [
        ({"version": "0.2.0"}, "versions", "0.1.0 on a; 0.2.0 on b. Finish the update"),
        ({"bundle": "f" * 64}, "bundles", "ffffffffffff on b; none on a"),
        ({"body": {"model_digest": "e" * 64}}, "models", "start them with the same model"),
        (
            {"body": {"settings": {"audit.durability": "group"}}},
            "settings",
            "audit.durability differs: group on b; strict on a",
        ),
        ({"body": {"adapters": ["support"]}}, "adapters", "requests for it fail on a"),
        (
            {"body": {"failures": {"default": "v2 cannot be loaded: no file"}}},
            "routing",
            "default is not answered as it should be on b: v2 cannot be loaded",
        ),
        ({"body": {"degraded": {"audit": "disk"}}}, "part", "audit on b: disk"),
        ({"clock_s": NOW + 60}, "clock", "61 s ahead of"),
        ({"clock_s": NOW - 1 - 2 * CLOCK_S}, "clock", "4 s behind"),
        ({"beat_s": NOW - 2 * LOST_S}, "lost", "has said nothing for 20 s"),
    ],
)
def test_a_difference_is_said_with_what_to_do(change, kind, says):
    if "beat_s" in change:
        change["clock_s"] = change["beat_s"]
    (warning,) = messages(row("a"), row("b", **change))
    assert warning[0] == kind
    assert says in warning[1]


def test_a_move_may_take_its_seconds_before_it_is_said_to_be_late():
    new = row("a", body={"revision": 5, "adopted_s": NOW - REACH_S / 2})
    assert messages(new, row("b")) == []
    assert shown(new, row("b")).agreement.n_behind == 1
    late = row("a", body={"revision": 5, "adopted_s": NOW - 3 * REACH_S})
    ((kind, message),) = messages(late, row("b"))
    assert kind == "routing"
    assert "b still answers under an older revision than 5, 15 s after" in message


def test_how_long_a_move_took_is_told_by_one_clock():
    # The second clock is an hour behind; both look at the database's.
    first = row("a", body={"adopted_s": NOW - 50})
    second = row("b", clock_s=NOW - 1 - 3600, body={"adopted_s": NOW - 49.6 - 3600})
    assert shown(first, second).agreement.reached_s == pytest.approx(0.4)
    fresh = row("b", body={"adopted_running": False})
    assert shown(first, fresh).agreement.reached_s is None


def test_weights_that_stay_different_under_one_revision_are_said():
    canary = {"default": {"champion": "v1", "canary": "v2", "canary_weight": 0.5}}
    ((kind, message),) = messages(row("a"), row("b", body={"routings": canary}))
    assert kind == "routing"
    assert "answer differently under the same revision 4" in message


def test_one_that_fell_silent_before_the_databases_clock_was_set_back_is_lost():
    found = shown(row("a"), row("b", beat_s=NOW + 3600))
    assert [each.status for each in found.replicas] == ["ready", "lost"]
    assert [each.kind for each in found.warnings] == ["lost"]


@pytest.mark.parametrize("status", ["left", "failed"])
def test_one_that_ended_is_neither_lost_nor_compared(status):
    found = shown(row("a"), row("b", status=status, beat_s=NOW - 300, version="0.0.9"))
    assert found.warnings == []
    assert [each.status for each in found.replicas] == ["ready", status]


def test_a_stage_of_a_newer_version_is_let_through():
    found = shown(row("a"), row("b", status="hibernating", body={"load": {"unheard": 1}}))
    assert [each.status for each in found.replicas] == ["ready", "ready"]


def test_totals_hold_those_that_are_gone():
    body = {"counters": {"numbers": {"requests|2xx": 5, "labels": 1}, "durations": {}}}
    found = fleet_shown(Fleet(NOW, (row("a", body=body), row("b", body=body)), body), "a")
    assert found.totals.requests == {"2xx": 15}
    assert found.totals.labels == 3

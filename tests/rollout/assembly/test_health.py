"""Health in words: what is said of a challenger that cannot keep up, or fails."""

import pytest

from glassbox.rollout.assembly import health
from glassbox.rollout.shadow.lane import LaneStatus


def lane(counts, *, role="challenger", state="ready", circuit="closed", last_error=""):
    return LaneStatus(
        version="next_v2",
        role=role,
        state=state,
        circuit=circuit,
        pid=7,
        resident_bytes=1,
        n_waiting=0,
        counts=counts,
        n_lost=0,
        n_untold=0,
        last_error=last_error,
    )


def test_without_a_challenger_the_shadow_is_off():
    assert health._shadow([lane({"ok": 3}, role="noise_floor")]).status == "off"


@pytest.mark.parametrize("counts", [{"ok": 9, "dropped": 3}, {"ok": 1}, {}])
def test_a_challenger_that_keeps_up_is_well(counts):
    assert health._shadow([lane(counts)]).status == "ok"


def test_a_challenger_that_drops_more_than_it_answers_is_said_to_be_slow():
    found = health._shadow([lane({"ok": 117, "dropped": 883})])
    assert found.status == "degraded"
    assert "883 copies were dropped, 117 answered" in found.reason
    assert "shadow_sampling" in found.reason


def test_a_challenger_that_loads_is_not_called_slow():
    found = health._shadow([lane({"dropped": 52}, state="loading")])
    assert found.reason == "next_v2 is loading: 52 copies were dropped until now"


def test_a_challenger_that_fails_is_said_to_fail():
    found = health._shadow([lane({"error": 4}, circuit="open", last_error="integrity (KeyError)")])
    assert (found.status, found.reason) == ("degraded", "next_v2: integrity (KeyError)")

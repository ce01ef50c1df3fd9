"""Copies, tickets, counts, breakers: lanes as requests and routings meet them."""

import os
import signal
import time
from dataclasses import replace

import pytest

from glassbox.errors import NoDiskSpace
from glassbox.rollout.answering.primary import Champions
from glassbox.rollout.prediction import Prediction
from glassbox.rollout.routing import Routing, share_of
from glassbox.rollout.shadow.shadows import Shadows
from tests.descriptors import none_left
from tests.rollout.shadow.challengers import Challenger, honest, version
from tests.rollout.shadow.lanes import CHAMPION, ROWS, routing
from tests.waiting import PATIENCE_S, clock_of_this_process, until

pytestmark = pytest.mark.usefixtures("nothing_is_left")


def test_a_copy_is_answered_beside_the_request(make, seen):
    shadows, challenger = make(), version("near")
    answer = honest(dict(ROWS[0]))
    ticket = shadows.offer(routing(challenger), "r1", ROWS[0], answer)
    event = ticket.wait(PATIENCE_S)
    assert (event.request_id, event.shadow_version, event.status, event.role) == (
        "r1",
        challenger.name,
        "ok",
        "challenger",
    )
    assert event.prediction == answer.prediction + 0.125
    assert event.diff == pytest.approx(0.125)
    assert event.latency_ms > 0
    assert abs(event.time_s - time.time()) < 60
    assert seen.events == [event]


def test_classes_are_compared_by_total_variation(make):
    shadows = make()
    answer = Prediction(0.9, 0.9, "a", {"a": 0.9, "b": 0.1})
    row = {"x": 0.4}
    event = shadows.offer(routing(version("classes")), "r1", row, answer).wait(PATIENCE_S)
    assert event.label_probs == {"a": 0.4, "b": 0.6}
    assert event.diff == pytest.approx(0.5)


def test_without_challengers_there_is_no_ticket_and_no_process(make, seen):
    shadows = make()
    assert shadows.offer(routing(), "r1", ROWS[0], honest(dict(ROWS[0]))) is None
    assert shadows.status() == ()
    assert seen.events == []


def test_a_row_that_a_challenger_raises_over_is_evidence_and_no_reason_to_stop(make):
    shadows = make()
    named = routing(version("refuse"))
    for place in range(12):
        ticket = shadows.offer(named, f"r{place}", ROWS[0], Prediction(0.5))
        assert ticket.wait(PATIENCE_S).status == "error"
    status = shadows.status()[0]
    assert (status.circuit, status.state, status.counts["error"]) == ("closed", "ready", 12)
    assert status.last_error == "invalid-value (InvalidValue)", "nothing that was asked is quoted"


def test_a_full_queue_drops_the_newest_and_says_so(make, seen):
    shadows = make(shadow_queue=2)
    named = routing(version("slow"))
    shadows.offer(named, "warm", ROWS[0], Prediction(0.5)).wait(PATIENCE_S)
    tickets = [shadows.offer(named, f"r{i}", ROWS[0], Prediction(0.5)) for i in range(8)]
    dropped = [each.event.status for each in tickets if each.event is not None]
    assert dropped.count("dropped") == len(dropped) >= 5
    assert tickets[0].wait(PATIENCE_S).status == "ok"
    seen.wait_for(9)
    counts = shadows.status()[0].counts
    assert counts["dropped"] == len(dropped)
    assert counts["ok"] == 9 - len(dropped)


def test_sampling_takes_the_same_requests_for_all_challengers(make, seen):
    shadows = make(shadow_sampling=0.3, shadow_queue=1000)
    named = routing(version("honest", 2), version("near", 3))
    for place in range(200):
        shadows.offer(named, f"r{place}", ROWS[0], Prediction(0.5))
    seen.wait_for(400)
    taken = {
        name: {e.request_id for e in seen.events if e.shadow_version == name and e.status == "ok"}
        for name in ("v2-honest", "v3-near")
    }
    assert taken["v2-honest"] == taken["v3-near"]
    assert taken["v2-honest"] == {f"r{i}" for i in range(200) if share_of(f"shadow:r{i}") < 0.3}
    for status in shadows.status():
        assert status.counts["sampled_out"] == 200 - len(taken["v2-honest"])


def test_the_ticket_is_the_first_challengers(make):
    shadows = make()
    named = routing(version("near", 2), version("honest", 3))
    event = shadows.offer(named, "r1", ROWS[0], honest(dict(ROWS[0]))).wait(PATIENCE_S)
    assert event.shadow_version == "v2-near"


def test_a_version_gets_no_copy_of_what_it_answered_itself(make, seen):
    shadows, canary = make(), version("near", 2)
    named = replace(routing(canary), canary=canary, canary_weight=1.0)
    assert shadows.offer(named, "r1", ROWS[0], Prediction(0.5), answered_by=canary) is None
    assert shadows.offer(named, "r2", ROWS[0], Prediction(0.5)).wait(PATIENCE_S).status == "ok"
    assert [each.request_id for each in seen.events] == ["r2"]


def test_features_that_are_no_json_are_an_error_of_the_copy_alone(make, seen):
    shadows = make()
    ticket = shadows.offer(routing(version("near")), "r1", {"x": {1, 2}}, Prediction(0.5))
    assert ticket.event.status == "error"
    assert shadows.status()[0].counts["error"] == 1


def test_losing_its_process_again_and_again_opens_the_breaker(make, seen):
    shadows = make()
    named = routing(version("kill_itself"))
    statuses = []
    for place in range(9):
        ticket = shadows.offer(named, f"r{place}", ROWS[0], Prediction(0.5))
        statuses.append(ticket.wait(PATIENCE_S).status)
    assert statuses == ["error"] * 5 + ["breaker_open"] * 4
    status = shadows.status()[0]
    assert (status.state, status.circuit, status.pid) == ("broken", "open", None)
    # After the pause one is tried; it fails, and the pause is longer.
    until(lambda: shadows.status()[0].circuit == "half_open")
    assert (
        shadows.offer(named, "trial", ROWS[0], Prediction(0.5)).wait(PATIENCE_S).status == "error"
    )
    assert shadows.offer(named, "next", ROWS[0], Prediction(0.5)).event.status == "breaker_open"


def test_a_trial_that_goes_well_closes_the_breaker(make):
    shadows = make()
    named = routing(version("honest_then_leave"))
    for place in range(5):
        shadows.offer(named, f"r{place}", {"x": 0.9}, Prediction(0.5)).wait(PATIENCE_S)
    assert shadows.offer(named, "shed", {"x": 0.1}, Prediction(0.5)).event.status == "breaker_open"
    until(lambda: shadows.status()[0].circuit == "half_open")
    assert (
        shadows.offer(named, "trial", {"x": 0.1}, Prediction(0.5)).wait(PATIENCE_S).status == "ok"
    )
    assert shadows.status()[0].circuit == "closed"


def test_a_challenger_that_cannot_be_loaded_is_broken_at_once_and_tried_again(make):
    shadows = make()
    named = routing(version("corrupt"))
    shadows.reconfigure(named)
    until(lambda: shadows.status()[0].state == "broken")
    assert "its digest is another one" in shadows.status()[0].last_error
    assert (
        shadows.offer(named, "r1", ROWS[0], Prediction(0.5)).wait(PATIENCE_S).status
        == "breaker_open"
    )
    until(lambda: shadows.status()[0].n_lost >= 2)


def test_a_challenger_lost_while_no_descriptor_is_free_comes_back(make):
    shadows, named = make(), routing(version("honest"))
    shadows.reconfigure(named)
    until(lambda: shadows.status()[0].state == "ready")
    with none_left():
        assert shadows.status()[0].resident_bytes == 0, "nobody can tell"
        os.kill(shadows.status()[0].pid, signal.SIGKILL)
        lost = shadows.offer(named, "r1", ROWS[0], Prediction(0.5)).wait(PATIENCE_S)
        assert lost.status == "error"
        until(lambda: "could be started" in shadows.status()[0].last_error)
    until(lambda: shadows.status()[0].state == "ready")
    assert shadows.offer(named, "r2", ROWS[0], Prediction(0.5)).wait(PATIENCE_S).status == "ok"


def test_memory_beyond_the_limit_replaces_the_process(make):
    shadows = make(shadow_memory_bytes=250 * 2**20, shadow_timeout_s=30.0)
    named = routing(version("leak"))
    for place in range(12):
        shadows.offer(named, f"r{place}", ROWS[0], Prediction(0.5)).wait(PATIENCE_S)
    status = shadows.status()[0]
    assert status.n_lost >= 1
    assert "memory" in status.last_error
    assert status.counts["ok"] >= 5


def test_a_new_routing_ends_old_challengers_and_starts_new_ones(make, seen):
    shadows = make()
    shadows.offer(routing(version("near", 2)), "r1", ROWS[0], Prediction(0.5)).wait(PATIENCE_S)
    first = shadows.status()[0].pid
    now = routing(version("honest", 3), revision=2)
    assert (
        shadows.offer(now, "r2", ROWS[0], Prediction(0.5)).wait(PATIENCE_S).shadow_version
        == "v3-honest"
    )
    assert [each.version for each in shadows.status()] == ["v3-honest"]
    # A request from before the move does not bring the old challenger back.
    late = shadows.offer(routing(version("near", 2)), "r3", ROWS[0], Prediction(0.5))
    assert late.event.status == "disabled"
    assert [each.version for each in shadows.status()] == ["v3-honest"]
    assert shadows.status()[0].pid != first
    shadows.reconfigure(routing(revision=3))
    assert shadows.status() == ()


def test_the_same_challenger_goes_on_over_a_new_routing(make):
    shadows, challenger = make(), version("near")
    shadows.offer(routing(challenger), "r1", ROWS[0], Prediction(0.5)).wait(PATIENCE_S)
    pid = shadows.status()[0].pid
    shadows.reconfigure(routing(challenger, revision=2))
    assert shadows.status()[0].pid == pid
    assert shadows.status()[0].counts["ok"] == 1


def test_a_request_for_one_version_alone_ends_no_challenger(make):
    shadows, challenger = make(), version("near")
    shadows.offer(routing(challenger), "r1", ROWS[0], Prediction(0.5)).wait(PATIENCE_S)
    pid = shadows.status()[0].pid
    alone = Routing("default", challenger, revision=1)
    assert Shadows.offer(shadows, alone, "r2", ROWS[0], Prediction(0.5)) is None
    assert shadows.status()[0].pid == pid


def test_models_do_not_disturb_each_other(make):
    shadows = make()
    other = replace(version("near", 5), model="other")
    shadows.offer(routing(version("near", 2)), "r1", ROWS[0], Prediction(0.5)).wait(PATIENCE_S)
    elsewhere = Routing("other", CHAMPION, (other,), revision=1)
    shadows.offer(elsewhere, "r2", ROWS[0], Prediction(0.5)).wait(PATIENCE_S)
    assert {each.version for each in shadows.status()} == {"v2-near", "v5-near"}


def test_what_waits_at_the_end_is_told_too(make, seen):
    shadows = make()
    named = routing(version("hang"))
    tickets = [shadows.offer(named, f"r{i}", ROWS[0], Prediction(0.5)) for i in range(5)]
    until(lambda: shadows.status()[0].n_waiting == 4)
    with clock_of_this_process() as clock:
        shadows.close()
        assert clock() < 5
    assert [each.event.status for each in tickets] == ["disabled"] * 5
    after = shadows.offer(named, "late", ROWS[0], Prediction(0.5))
    assert after.event.status == "disabled"


def test_closing_while_a_challenger_loads_does_not_wait_for_it(make):
    shadows = make()
    shadows.reconfigure(routing(version("hang_at_import")))
    until(lambda: shadows.status()[0].pid is not None)
    with clock_of_this_process() as clock:
        shadows.close()
        assert clock() < 5


def test_endings_that_cannot_be_recorded_stop_nothing(make):
    def full(_event):
        raise NoDiskSpace("The disk is full.")

    shadows = make(on_event=full)
    named = routing(version("near"))
    for place in range(3):
        assert (
            shadows.offer(named, f"r{place}", ROWS[0], Prediction(0.5)).wait(PATIENCE_S).status
            == "ok"
        )
    status = shadows.status()[0]
    assert (status.n_untold, status.state) == (3, "ready")
    assert "no-disk-space" in status.last_error


def test_an_offer_takes_microseconds(make):
    shadows = make(shadow_queue=100_000)
    named = routing(version("slow"))
    row = {f"x{i}": i / 7 for i in range(20)}
    shadows.offer(named, "warm", row, Prediction(0.5)).wait(PATIENCE_S)
    times = []
    for place in range(2000):
        began = time.thread_time()
        Shadows.offer(shadows, named, f"r{place}", row, Prediction(0.5))
        times.append(time.thread_time() - began)
    # About five of this thread's own time; tests check their types.
    assert sorted(times)[1000] < 500e-6


def test_the_noise_floor_asks_the_champion_once_more(make, seen):
    champions = Champions(lambda _: Challenger(honest))
    champions.load(CHAMPION)
    shadows = make(noise_floor=0.5, again=champions.again)
    named = routing()
    for place in range(40):
        answer = champions.submit(CHAMPION, ROWS[0]).result(PATIENCE_S).prediction
        assert shadows.offer(named, f"r{place}", ROWS[0], answer) is None
    expected = {f"r{i}" for i in range(40) if share_of(f"noise:r{i}") < 0.5}
    events = seen.wait_for(len(expected))
    assert {each.request_id for each in events} == expected
    assert {(e.role, e.status, e.diff, e.shadow_version) for e in events} == {
        ("noise_floor", "ok", 0.0, CHAMPION.name)
    }
    assert shadows.status()[0].pid is None
    shadows.close()
    champions.close()


def test_the_noise_floor_is_not_asked_about_what_another_version_answered(make, seen):
    champions = Champions(lambda _: Challenger(honest))
    champions.load(CHAMPION)
    shadows, canary = make(noise_floor=1.0, again=champions.again), version("near")
    named = replace(routing(), canary=canary, canary_weight=1.0)
    shadows.offer(named, "r1", ROWS[0], Prediction(0.5), answered_by=canary)
    shadows.offer(named, "r2", ROWS[0], Prediction(0.5))
    assert [each.request_id for each in seen.wait_for(1)] == ["r2"]
    shadows.close()
    champions.close()

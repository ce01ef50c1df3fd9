"""Who is told, when, and how often: over a database of either kind."""

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glassbox.errors import ConflictError, UnknownName
from glassbox.rollout.alerts.engine import MOST_ALERTS, AlertEngine
from glassbox.rollout.alerts.outbox import CLAIM_S, FIRST_WAIT_S, GIVE_UP_S, KEEP_S, MOST_WAIT_S
from glassbox.rollout.alerts.receivers import Outcome
from glassbox.rollout.alerts.rules import AlertRule, Condition
from glassbox.storage.database import Database, open_database
from tests.rollout.alerts.worlds import START_S, Clock, Told

DOWN = Outcome("hooks.example cannot be reached: Connection refused")
DIFFERS = AlertRule(
    name="differs", signal="summary.shadow_avg_diff", above=0.05, keep_firing_for_s=0.0
)
BAD, GOOD = {"summary.shadow_avg_diff": 0.1}, {"summary.shadow_avg_diff": 0.01}


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    opened = open_database(database_url)
    yield opened
    opened.close()


def test_an_alert_is_told_once_and_its_end_once(database: Database, clock: Clock) -> None:
    team = Told()
    engine = AlertEngine(database, [DIFFERS], {"team": team}, clock)
    for _ in range(5):
        engine.look(BAD)
        engine.deliver()
        clock.now += 5
    for _ in range(5):
        engine.look(GOOD)
        engine.deliver()
        clock.now += 5
    assert team.states == [("differs", "firing"), ("differs", "resolved")]
    first, last = team.got
    assert (first.value, first.limit, first.severity) == (0.1, 0.05, "warn")
    assert first.summary == "differs: summary.shadow_avg_diff is 0.1, above 0.05."
    assert last.summary == "differs: over; summary.shadow_avg_diff is 0.01, limit 0.05."
    assert last.since_s == first.since_s == START_S
    assert last.time_s == START_S + 25


def test_what_fires_is_shown_with_its_latest_value(database: Database, clock: Clock) -> None:
    engine = AlertEngine(database, [DIFFERS], {}, clock)
    engine.look(BAD)
    engine.look({"summary.shadow_avg_diff": 0.7})
    (firing,) = engine.firing()
    assert (firing.rule, firing.value, firing.since_s) == ("differs", 0.7, START_S)
    engine.look(GOOD)
    assert engine.firing() == ()


def test_the_history_says_what_became_of_each_message(database: Database, clock: Clock) -> None:
    good, bad = Told(), Told()
    bad.outcome = DOWN
    engine = AlertEngine(database, [DIFFERS], {"good": good, "bad": bad}, clock)
    engine.look(BAD)
    assert engine.waiting() == {"good": 1, "bad": 1}
    assert engine.deliver() == 1
    (shown,) = engine.history()
    assert [each.receiver for each in shown.delivered] == ["bad", "good"]
    failed, taken = shown.delivered
    assert (failed.attempts, failed.delivered_s, failed.last_error) == (1, None, DOWN.error)
    assert (taken.attempts, taken.delivered_s, taken.last_error) == (1, START_S, "")
    assert engine.waiting() == {"bad": 1}


def test_a_storm_of_flapping_values_is_told_by_its_edges(database: Database, clock: Clock) -> None:
    rules = [
        AlertRule(name="flaps", signal="drift.features.*.effect", above=0.1, keep_firing_for_s=60)
    ]
    team = Told(most=20)
    engine = AlertEngine(database, rules, {"team": team}, clock)
    for index in range(60):
        noisy = 0.2 if index % 2 == 0 else 0.0
        engine.look({f"drift.features.f{each}.effect": noisy for each in range(20)})
        engine.deliver()
        clock.now += 5
    assert len(team.got) == 20
    assert {each.state for each in team.got} == {"firing"}
    assert team.n_calls == 1
    for _ in range(14):
        engine.look({f"drift.features.f{each}.effect": 0.0 for each in range(20)})
        clock.now += 5
    engine.deliver()
    assert len(team.got) == 40
    assert {each.state for each in team.got[20:]} == {"resolved"}


def test_a_receiver_that_is_down_for_an_hour_misses_nothing(
    database: Database, clock: Clock
) -> None:
    team = Told()
    team.outcome = DOWN
    engine = AlertEngine(database, [DIFFERS], {"team": team}, clock)
    back_s = START_S + 3600.0
    while clock.now < back_s:
        engine.look(BAD if (clock.now - START_S) % 1200 < 600 else GOOD)
        engine.deliver()
        clock.now += 5
    n_tried = team.n_calls
    # Doubling from five seconds to five minutes, each wait shortened by up to a half.
    assert 3600 / MOST_WAIT_S < n_tried < 3600 / (MOST_WAIT_S / 2) + 14
    assert engine.waiting() == {"team": 6}
    team.outcome = Outcome()
    while engine.waiting() and clock.now < back_s + 2 * MOST_WAIT_S:
        engine.deliver()
        clock.now += 5
    assert clock.now <= back_s + MOST_WAIT_S + 5
    assert team.states == [("differs", "firing"), ("differs", "resolved")] * 3
    assert [each.time_s for each in team.got] == sorted(each.time_s for each in team.got)


def test_a_restart_with_messages_waiting_loses_and_repeats_nothing(
    database_url: str, clock: Clock
) -> None:
    team = Told()
    team.outcome = DOWN
    rules = [DIFFERS, AlertRule(name="slow", signal="summary.p99", above=1.0, for_s=60.0)]
    first = open_database(database_url)
    engine = AlertEngine(first, rules, {"team": team}, clock)
    engine.look({**BAD, "summary.p99": 2.0})
    engine.deliver()
    first.close()
    clock.now += 60
    second = open_database(database_url)
    team.outcome = Outcome()
    engine = AlertEngine(second, rules, {"team": team}, clock)
    assert [each.rule for each in engine.firing()] == ["differs"]
    # What was about to fire goes on waiting from where it was.
    engine.look({**BAD, "summary.p99": 2.0})
    engine.deliver()
    assert team.states == [("differs", "firing"), ("slow", "firing")]
    engine.look({**BAD, "summary.p99": 2.0})
    assert engine.deliver() == 0
    second.close()


class Died(BaseException):
    """The process is gone."""


def test_a_process_that_dies_while_it_sends_sends_the_same_message_again(
    database: Database, clock: Clock
) -> None:
    class Dies(Told):
        def send(self, messages):
            super().send(messages)
            raise Died("killed")

    dying, team = Dies(), Told()
    engine = AlertEngine(database, [DIFFERS], {"team": dying}, clock)
    engine.look(BAD)
    with pytest.raises(Died, match="killed"):
        engine.deliver()
    again = AlertEngine(database, [DIFFERS], {"team": team}, clock)
    assert again.deliver() == 0, "it may still be on its way"
    clock.now += CLAIM_S
    assert again.deliver() == 1
    assert team.got[0].id == dying.got[0].id


@pytest.mark.parametrize("has_died", [False, True])
def test_a_clock_that_was_set_back_holds_no_message_up(
    memory: Database, clock: Clock, has_died: bool
) -> None:
    team = Told()
    clock.now += 86400.0
    engine = AlertEngine(memory, [DIFFERS], {"team": team}, clock)
    engine.look(BAD)
    if has_died:
        assert engine._outbox._store.claim("team", 1, clock.now, clock.now + CLAIM_S)
    clock.now -= 86400.0
    assert AlertEngine(memory, [DIFFERS], {"team": team}, clock).deliver() == 1
    assert team.states == [("differs", "firing")]


def test_two_servers_over_one_database_tell_once(database_url: str, clock: Clock) -> None:
    team = Told()
    databases = [open_database(database_url) for _ in range(2)]
    engines = [AlertEngine(each, [DIFFERS], {"team": team}, clock) for each in databases]
    for signals in (BAD, BAD, GOOD):
        for engine in engines:
            engine.look(signals)
        for engine in engines:
            engine.deliver()
        clock.now += 5
    assert team.states == [("differs", "firing"), ("differs", "resolved")]
    for each in databases:
        each.close()


def test_a_message_that_is_refused_lets_others_through(memory: Database, clock: Clock) -> None:
    class Picky(Told):
        def send(self, messages):
            if messages[0].rule == "a":
                return Outcome("hooks.example answered 400", is_refused=True)
            return super().send(messages)

    rules = [AlertRule(name=name, signal="x", above=0.0, keep_firing_for_s=0) for name in "ab"]
    picky = Picky()
    engine = AlertEngine(memory, rules, {"picky": picky}, clock)
    engine.look({"x": 1.0})
    assert engine.deliver() == 1
    clock.now += 1
    engine.look({"x": 0.0})
    assert engine.deliver() == 1
    # What is over is not told before what began, where that was refused.
    assert picky.states == [("b", "firing"), ("b", "resolved")]
    refused = [each for each in engine.history() if each.rule == "a"]
    assert [each.delivered[0].attempts for each in refused] == [0, 1]


def test_a_message_is_given_up_after_a_week_and_the_history_says_so(
    memory: Database, clock: Clock
) -> None:
    team = Told()
    team.outcome = DOWN
    engine = AlertEngine(memory, [DIFFERS], {"team": team}, clock)
    engine.look(BAD)
    engine.deliver()
    clock.now += GIVE_UP_S + 1
    engine.deliver()
    assert engine.waiting() == {}
    assert engine.history()[0].delivered[0].gave_up_s == clock.now
    clock.now += KEEP_S
    engine.deliver()
    assert engine.history() == ()


def test_a_message_does_not_wait_for_ever_for_a_receiver_that_there_is_no_more(
    memory: Database, clock: Clock
) -> None:
    team = Told()
    team.outcome = DOWN
    AlertEngine(memory, [DIFFERS], {"old name": team}, clock).look(BAD)
    engine = AlertEngine(memory, [DIFFERS], {"new name": Told()}, clock)
    engine.deliver()
    assert engine.waiting() == {"old name": 1}, "another server may know it"
    clock.now += GIVE_UP_S + 1
    engine.deliver()
    assert engine.waiting() == {}
    assert "no receiver" in engine.history()[0].delivered[0].last_error
    clock.now += KEEP_S
    engine.deliver()
    assert engine.history() == ()


def test_a_receiver_may_ask_for_a_longer_pause(memory: Database, clock: Clock) -> None:
    team = Told()
    team.outcome = Outcome("hooks.example answered 429", retry_after_s=120.0)
    engine = AlertEngine(memory, [DIFFERS], {"team": team}, clock)
    engine.look(BAD)
    engine.deliver()
    clock.now += FIRST_WAIT_S + 1
    engine.deliver()
    assert team.n_calls == 1
    clock.now += 120
    engine.deliver()
    assert team.n_calls == 2


def test_too_few_requests_are_not_judged(memory: Database, clock: Clock) -> None:
    rule = AlertRule(
        name="errors",
        signal="summary.success_rate",
        below=0.9,
        keep_firing_for_s=0.0,
        only_if=Condition(signal="summary.rolling_count", above=100),
    )
    engine = AlertEngine(memory, [rule], {}, clock)
    assert engine.look({"summary.success_rate": 0.0, "summary.rolling_count": 1.0}) == ()
    assert engine.look({"summary.success_rate": 0.0}) == ()
    assert len(engine.look({"summary.success_rate": 0.0, "summary.rolling_count": 101.0})) == 1
    # Nor is it over because there are too few.
    assert engine.look({"summary.success_rate": 1.0, "summary.rolling_count": 1.0}) == ()
    assert len(engine.firing()) == 1


def test_a_signal_that_must_be_there_fires_when_it_is_not(memory: Database, clock: Clock) -> None:
    rule = AlertRule(
        name="silent", signal="summary.rolling_count", below=1, missing="fire", for_s=60
    )
    engine = AlertEngine(memory, [rule], {}, clock)
    assert engine.look({}) == ()
    clock.now += 60
    (told,) = engine.look({})
    assert told.value is None
    assert told.summary == "silent: summary.rolling_count is not reported, below 1 for 60 s."


def test_a_counter_fires_by_how_much_it_grew(memory: Database, clock: Clock) -> None:
    rule = AlertRule(
        name="dropped",
        signal="health.components.shadow.details.challengers.*.counts.dropped",
        above=10,
        increase_over_s=60,
    )
    counter = "health.components.shadow.details.challengers.new.counts.dropped"
    engine = AlertEngine(memory, [rule], {}, clock)
    assert engine.look({counter: 1000.0}) == ()
    clock.now += 5
    (told,) = engine.look({counter: 1020.0})
    assert "grew in 60 s by 20, above 10 in 60 s" in told.summary


def test_a_rule_that_was_taken_away_ends_what_it_began(memory: Database, clock: Clock) -> None:
    team, other = Told(), Told()
    rule = AlertRule(name="old", signal="x", above=0.0, receivers=("team",))
    pending = AlertRule(name="soon", signal="x", above=0.0, for_s=60)
    receivers = {"team": team, "other": other}
    AlertEngine(memory, [rule, pending], receivers, clock).look({"x": 1.0})
    engine = AlertEngine(memory, [], receivers, clock)
    (told,) = engine.look({"x": 1.0})
    assert (told.rule, told.state, told.summary) == (
        "old",
        "resolved",
        "old: the rule was removed.",
    )
    assert engine.look({"x": 1.0}) == ()
    engine.deliver()
    assert team.states == [("old", "firing"), ("old", "resolved")]
    assert other.states == []


def test_a_star_that_fits_too_much_is_cut_off_and_the_log_says_so(
    memory: Database, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    engine = AlertEngine(memory, [AlertRule(name="all", signal="x.*", above=0.0)], {}, clock)
    told = engine.look({f"x.{index:04d}": 1.0 for index in range(MOST_ALERTS + 7)})
    assert len(told) == MOST_ALERTS
    assert "7 signals left out" in caplog.text


def test_where_nothing_changes_nothing_is_written(
    memory: Database, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = AlertEngine(memory, [DIFFERS], {}, clock)
    engine.look(BAD)
    monkeypatch.setattr(memory, "transaction", None)
    for _ in range(3):
        clock.now += 5
        assert engine.look(BAD) == ()


def test_rules_that_cannot_be_are_refused(memory: Database) -> None:
    with pytest.raises(ConflictError, match="one name"):
        AlertEngine(memory, [DIFFERS, DIFFERS], {})
    rule = AlertRule(name="r", signal="x", above=0.0, receivers=("taem",))
    with pytest.raises(UnknownName, match=r"receiver of rule 'r' 'taem'.*Did you mean 'team'"):
        AlertEngine(memory, [rule], {"team": Told()})


@settings(max_examples=30)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["bad", "good", "none", "down", "up", "restart"]), st.floats(1.0, 400.0)
        ),
        max_size=40,
    )
)
def test_every_edge_arrives_once_and_in_order_whatever_happens(happens) -> None:
    database, clock, team = open_database("sqlite://"), Clock(), Told()
    engine, edges = AlertEngine(database, [DIFFERS], {"team": team}, clock), []
    for what, seconds in happens:
        clock.now += seconds
        if what == "restart":
            engine = AlertEngine(database, [DIFFERS], {"team": team}, clock)
        elif what in ("down", "up"):
            team.outcome = DOWN if what == "down" else Outcome()
        else:
            told = engine.look({"bad": BAD, "good": GOOD, "none": {}}[what])
            edges += [each.id for each in told]
        engine.deliver()
    team.outcome = Outcome()
    clock.now += MOST_WAIT_S
    engine.deliver()
    assert [each.id for each in team.got] == edges
    states = [each.state for each in team.got]
    assert states == ["firing", "resolved"] * (len(states) // 2) + ["firing"] * (len(states) % 2)
    database.close()

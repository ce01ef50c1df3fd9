import threading

from glassbox.audit.records import ShadowEvent
from glassbox.rollout.shadow.ticket import ShadowTicket
from tests.waiting import PATIENCE_S, clock_of_this_process

EVENT = ShadowEvent("r1", 0.0, "v2", "ok")


def test_waiting_ends_with_the_event_or_with_the_time():
    ticket = ShadowTicket()
    with clock_of_this_process() as clock:
        assert ticket.wait(0.05) is None
        assert ticket.wait(0.0) is None
        assert clock() < 1
    threading.Timer(0.05, ticket.fulfil, (EVENT,)).start()
    assert ticket.wait(PATIENCE_S) is EVENT
    assert ticket.event is EVENT
    assert ticket.wait(PATIENCE_S) is EVENT


def test_everybody_is_called_once_however_late_they_ask():
    ticket, called = ShadowTicket(), []
    ticket.when_done(lambda: called.append("early"))
    assert not called
    ticket.fulfil(EVENT)
    ticket.when_done(lambda: called.append("late"))
    assert called == ["early", "late"]

import threading
import time

from glassbox.audit.records import ShadowEvent
from glassbox.rollout.shadow.ticket import ShadowTicket

EVENT = ShadowEvent("r1", 0.0, "v2", "ok")


def test_waiting_ends_with_the_event_or_with_the_time():
    ticket = ShadowTicket()
    began = time.monotonic()
    assert ticket.wait(0.05) is None
    assert ticket.wait(0.0) is None
    assert time.monotonic() - began < 1
    threading.Timer(0.05, ticket.fulfil, (EVENT,)).start()
    assert ticket.wait(10) is EVENT
    assert ticket.event is EVENT
    assert ticket.wait(10) is EVENT


def test_everybody_is_called_once_however_late_they_ask():
    ticket, called = ShadowTicket(), []
    ticket.when_done(lambda: called.append("early"))
    assert not called
    ticket.fulfil(EVENT)
    ticket.when_done(lambda: called.append("late"))
    assert called == ["early", "late"]

"""What tests of all lanes together share: requests, routings, and somebody who sees the endings."""

import threading

from glassbox.rollout.routing import Routing
from glassbox.rollout.shadow.process import Origin
from glassbox.rollout.shadow.shadows import Shadows
from tests.rollout.shadow.challengers import version
from tests.waiting import PATIENCE_S

ORIGIN = Origin("tests.rollout.shadow.challengers:load")
CHAMPION = version("honest", 1)
ROWS = [{"x": 0.1 * i, "y": i / 7} for i in range(1, 13)]


class Seen:
    """Collects endings, and waits for them."""

    def __init__(self):
        self.events = []
        self._more = threading.Condition()

    def __call__(self, event):
        with self._more:
            self.events.append(event)
            self._more.notify_all()

    def wait_for(self, n, timeout_s=PATIENCE_S):
        with self._more:
            assert self._more.wait_for(lambda: len(self.events) >= n, timeout_s), self.events
        return self.events


class Following(Shadows):
    """Told of each routing by the requests themselves, as a server's view would tell it."""

    def offer(self, routing, *args, **more):
        self.reconfigure(routing)
        return super().offer(routing, *args, **more)


def routing(*shadows, revision=1, **more):
    return Routing("default", CHAMPION, shadows, revision=revision, **more)


def unstalled_s(took_s):
    """The longest of some times but for two: so many a machine may hold up that others use.

    What waits for a challenger that hangs or is slow waits more often.
    """
    return sorted(took_s)[-3]

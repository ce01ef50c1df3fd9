"""Messages on their way: sent at least once, in order, tried again until they are taken.

What a receiver took is written down after it took it, so a process that ends in between sends the
same message again, under the same id. A receiver that does not answer is left alone for longer and
longer, up to five minutes; one that refuses a message is given others meanwhile. Knows no rule.
"""

import logging
import random
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from glassbox.rollout.alerts.alert_store import AlertStore
from glassbox.rollout.alerts.messages import AlertMessage
from glassbox.rollout.alerts.receivers import Outcome, Receiver

FIRST_WAIT_S: Final = 5.0
"""Seconds before the second attempt; twice as many before each further one."""

MOST_WAIT_S: Final = 300.0
"""Most seconds between two attempts."""

GIVE_UP_S: Final = 7 * 86400.0
"""Seconds after which a message is not tried any more; it stays in the history as undelivered."""

KEEP_S: Final = 90 * 86400.0
"""Seconds for which messages stay in the history."""

CLAIM_S: Final = 120.0
"""Seconds for which messages belong to the one who is sending them; it may have died."""

PASS_S: Final = 30.0
"""Seconds after which a receiver's turn ends; what is left comes next time."""

_log = logging.getLogger("glassbox.server.alerts")


@dataclass
class _Pause:
    """How often in a row a receiver did not answer, and until when it is left alone."""

    failures: int = 0
    until_s: float = 0.0


class Outbox:
    """What is to be sent.

    Args:
        store: Where it is kept.
        receivers: Who is told, by name.
        clock: Unix time in seconds.
    """

    def __init__(
        self,
        store: AlertStore,
        receivers: Mapping[str, Receiver],
        clock: Callable[[], float],
    ) -> None:
        self._store = store
        self._receivers = dict(receivers)
        self._clock = clock
        self._pauses = {name: _Pause() for name in receivers}
        self._lock = threading.Lock()
        self._forgotten_s = 0.0

    def deliver(self) -> int:
        """Send what is due and return how many messages were taken, one for each receiver.

        A receiver that hangs holds up no other one, and this call for seconds at most. A second
        call at the same time returns 0.

        Raises:
            CapacityError: The database cannot be reached; nothing is lost by that.
        """
        if not self._lock.acquire(blocking=False):
            return 0
        try:
            self._forget()
            now_s = self._clock()
            waiting = self._store.waiting()
            due = [
                name
                for name, pause in self._pauses.items()
                # A clock that was set back must not lengthen a pause.
                if waiting.get(name) and not now_s < pause.until_s <= now_s + 2 * MOST_WAIT_S
            ]
            if len(due) < 2:
                return sum(self._turn(name) for name in due)
            with ThreadPoolExecutor(len(due), thread_name_prefix="alerts") as pool:
                return sum(pool.map(self._turn, due))
        finally:
            self._lock.release()

    def _turn(self, name: str) -> int:
        receiver, pause, n_taken, began_s = self._receivers[name], self._pauses[name], 0, None
        while True:
            now_s = self._clock()
            began_s = now_s if began_s is None else began_s
            if now_s - began_s > PASS_S:
                return n_taken
            messages = self._store.claim(name, receiver.most, now_s, now_s + CLAIM_S)
            if not messages:
                return n_taken
            outcome = receiver.send(messages)
            now_s = self._clock()
            ids = [each.id for each in messages]
            if not outcome.error:
                pause.failures = 0
                self._store.settle(name, ids, delivered_s=now_s, last_error="")
                n_taken += len(ids)
                continue
            self._failed(name, messages, outcome, now_s)
            if not outcome.is_refused:
                pause.failures += 1
                pause.until_s = now_s + self._wait(pause.failures, outcome)
                return n_taken

    def _failed(
        self, name: str, messages: Sequence[AlertMessage], outcome: Outcome, now_s: float
    ) -> None:
        _log.warning(
            "receiver %r did not take %d message(s): %s", name, len(messages), outcome.error
        )
        for each in messages:
            gave_up_s = now_s if now_s - each.time_s > GIVE_UP_S else None
            if gave_up_s is not None:
                _log.error("message %s is not sent to %r any more", each.id, name)
            wait_s = 0.0
            if outcome.is_refused:
                wait_s = self._wait(1 + sum(one.attempts for one in each.delivered), outcome)
            self._store.settle(
                name,
                [each.id],
                last_error=outcome.error,
                next_attempt_s=now_s + wait_s,
                gave_up_s=gave_up_s,
            )

    def _wait(self, n_failures: int, outcome: Outcome) -> float:
        wait_s = min(MOST_WAIT_S, FIRST_WAIT_S * 2.0 ** min(n_failures - 1, 16))
        # Half is fixed, half by chance. Source: M. Brooker, "Exponential Backoff And Jitter", 2015.
        wait_s *= 0.5 + 0.5 * random.random()
        return max(wait_s, min(outcome.retry_after_s or 0.0, MOST_WAIT_S))

    def _forget(self) -> None:
        now_s = self._clock()
        if abs(now_s - self._forgotten_s) >= 3600.0:
            self._forgotten_s = now_s
            # Another server may know a receiver that this one does not: not before its time.
            if n_given_up := self._store.abandon(tuple(self._receivers), now_s - GIVE_UP_S, now_s):
                _log.error("%d message(s) waited for receivers that there are not", n_given_up)
            self._store.forget(now_s - KEEP_S)

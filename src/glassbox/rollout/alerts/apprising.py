"""Telling through Apprise, which knows over a hundred services. Knows no rule."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from glassbox.errors import DependencyMissing, InvalidSetting
from glassbox.rollout.alerts.messages import AlertMessage
from glassbox.rollout.alerts.receivers import TAKEN, Outcome
from glassbox.rollout.alerts.wording import bodies, titles

CHATTY: Final = ("apprise", "requests", "urllib3.connectionpool", "urllib3.util.retry")
"""Loggers that write addresses, which are secrets."""

KINDS: Final = {"info": "info", "warn": "warning", "error": "failure"}
"""Severities under Apprise's names; what is over is its ``success``."""


@dataclass(frozen=True, repr=False)
class Apprise:
    """Sends several messages as one notification to one address of Apprise."""

    url: str
    """Where to, as Apprise writes it."""

    @property
    def most(self) -> int:
        """Messages that it takes at a time."""
        return 20

    def send(self, messages: Sequence[AlertMessage]) -> Outcome:
        """Notify and return what came of it."""
        last = messages[-1]
        kind = "success" if last.state == "resolved" else KINDS[last.severity]
        with _quiet():
            notifier = _notifier(self.url)
            if notifier is None:
                return Outcome("Apprise does not know this address", is_refused=True)
            is_taken = notifier.notify(
                title=titles(messages), body=bodies(messages), notify_type=kind
            )
        scheme = self.url.partition(":")[0]
        return TAKEN if is_taken else Outcome(f"Apprise's {scheme} did not take it")


def check_apprise(url: str, receiver: str) -> str:
    """Return an address that Apprise knows.

    Raises:
        InvalidSetting: It knows none such.
        DependencyMissing: Apprise is not installed.
    """
    with _quiet():
        is_known = _notifier(url) is not None
    if not is_known:
        problem = "has an address that Apprise does not know; see its list of services"
        raise InvalidSetting(f"receivers.{receiver}", "alert rules", problem=problem)
    return url


def _notifier(url: str) -> Any:
    try:
        from apprise import Apprise as Notifier
    except ModuleNotFoundError as error:
        raise DependencyMissing("apprise", "notify") from error
    notifier = Notifier()
    return notifier if notifier.add(url) else None


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep these loggers silent meanwhile, on all threads: Apprise sends on threads of its own."""

    def nothing(_record: logging.LogRecord) -> bool:
        return False

    loggers = [logging.getLogger(name) for name in CHATTY]
    for each in loggers:
        each.addFilter(nothing)
    try:
        yield
    finally:
        for each in loggers:
            each.removeFilter(nothing)

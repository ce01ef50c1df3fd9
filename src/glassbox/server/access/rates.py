"""How often one caller may ask: counted per key, or per address where there are no keys.

Counted in this process: several servers behind one address each allow the whole. A caller's count
is found and renewed in a time that does not depend on how many callers there are. Knows no route.
"""

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from limits import RateLimitItem, parse

from glassbox.errors import InvalidValue
from glassbox.server.errors.refusals import Refusal
from glassbox.storage.keys import KeyScope

CODE: Final = "too-many-requests"
"""Stable code of a request that is one too many."""

ALL: Final = "requests"
OBSERVING: Final = "observe"

MOST_CALLERS: Final = 100_000
"""Callers that are remembered at a time, those who asked last; others begin anew."""

_LEAST_WAIT_S: Final = 1e-6


class Windows:
    """Counts of callers in a window that slides.

    What came in the fixed window before counts by the share of it that is still in the sliding one,
    as if it had come evenly. Source: Cloudflare, "How we built rate limiting capable of scaling to
    millions of domains", 2017.

    Args:
        most: Most requests in a window.
        period_s: Length of the window in seconds.
        clock: Seconds.
        most_callers: Callers to remember.
    """

    def __init__(
        self,
        most: int,
        period_s: float,
        clock: Callable[[], float] = time.monotonic,
        *,
        most_callers: int = MOST_CALLERS,
    ) -> None:
        self._most = most
        self._period_s = period_s
        self._clock = clock
        self._most_callers = most_callers
        # (number of the fixed window, count in the one before, count in it)
        self._counts: OrderedDict[str, tuple[int, int, int]] = OrderedDict()

    def take(self, caller: str) -> float:
        """Count a request and return 0, or return the seconds until one more is allowed.

        A request that is one too many is not counted.
        """
        number, into_s = divmod(self._clock(), self._period_s)
        last, before, count = self._counts.get(caller, (int(number), 0, 0))
        if last != number:
            before, count = (count if last == number - 1 else 0), 0
        room = self._most - 1 - count
        if before * (1 - into_s / self._period_s) > room:
            return self._wait_s(before, count, into_s)
        self._counts[caller] = (int(number), before, count + 1)
        self._counts.move_to_end(caller)
        if len(self._counts) > self._most_callers:
            self._counts.popitem(last=False)
        return 0.0

    def _wait_s(self, before: int, count: int, into_s: float) -> float:
        room = self._most - 1 - count
        if room >= 0:
            wait_s = self._period_s * (1 - room / before) - into_s
        elif count:
            # Full by itself: it has to slide out of the next window.
            wait_s = self._period_s * (2 - (self._most - 1) / count) - into_s
        else:
            # Nothing is allowed at all.
            wait_s = self._period_s
        return max(wait_s, _LEAST_WAIT_S)


class Rates:
    """The limits of one server.

    Args:
        all_requests: Most requests of one caller, as in ``100/second``; empty sets no limit.
        observing: Most of those that read records, drift and rollouts; empty sets no limit.

    Raises:
        InvalidValue: No such limit can be.
    """

    def __init__(self, all_requests: str = "", observing: str = "") -> None:
        self._all = _parsed("server.rate_limit", all_requests)
        self._observing = _parsed("server.observe_rate_limit", observing)

    async def take(self, client: str, scope: KeyScope) -> None:
        """Count a request.

        Args:
            client: Who asks.
            scope: What the request needs.

        Raises:
            Refusal: 429, with the seconds after which to try again.
        """
        if self._all is not None:
            _take(*self._all, ALL, client)
        if self._observing is not None and scope == "observe":
            _take(*self._observing, OBSERVING, client)


def _take(limit: RateLimitItem, windows: Windows, what: str, client: str) -> None:
    left_s = windows.take(client)
    if not left_s:
        return
    wait_s = max(1, math.ceil(left_s))
    setting = "server.rate_limit" if what == ALL else "server.observe_rate_limit"
    raise Refusal(
        429,
        f"More than {limit} of one caller ({setting}). Try again in {wait_s} s.",
        code=CODE,
        headers={"retry-after": str(wait_s)},
    )


def _parsed(name: str, text: str) -> tuple[RateLimitItem, Windows] | None:
    if not text.strip():
        return None
    try:
        limit = parse(text)
    except ValueError as error:
        raise InvalidValue(name, text, "a limit such as 100/second or 5000/hour") from error
    return limit, Windows(limit.amount, limit.get_expiry())

"""How often one caller may ask: counted per key, or per address where there are no keys.

Counted in this process: several servers behind one address each allow the whole. Knows no route.
"""

import math
import time
from typing import Final

from limits import RateLimitItem, parse
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter

from glassbox.errors import InvalidValue
from glassbox.server.refusals import Refusal
from glassbox.storage.keys import KeyScope

CODE: Final = "too-many-requests"
"""Stable code of a request that is one too many."""

ALL: Final = "requests"
OBSERVING: Final = "observe"


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
        self._limiter = SlidingWindowCounterRateLimiter(MemoryStorage())

    async def take(self, client: str, scope: KeyScope) -> None:
        """Count a request.

        Args:
            client: Who asks.
            scope: What the request needs.

        Raises:
            Refusal: 429, with the seconds after which to try again.
        """
        if self._all is not None:
            await self._take(self._all, ALL, client)
        if self._observing is not None and scope == "observe":
            await self._take(self._observing, OBSERVING, client)

    async def _take(self, limit: RateLimitItem, what: str, client: str) -> None:
        if await self._limiter.hit(limit, what, client):
            return
        reset_s, _ = await self._limiter.get_window_stats(limit, what, client)
        wait_s = max(1, math.ceil(reset_s - time.time()))
        setting = "server.rate_limit" if what == ALL else "server.observe_rate_limit"
        raise Refusal(
            429,
            f"More than {limit} of one caller ({setting}). Try again in {wait_s} s.",
            code=CODE,
            headers={"retry-after": str(wait_s)},
        )


def _parsed(name: str, text: str) -> RateLimitItem | None:
    if not text.strip():
        return None
    try:
        return parse(text)
    except ValueError as error:
        raise InvalidValue(name, text, "a limit such as 100/second or 5000/hour") from error

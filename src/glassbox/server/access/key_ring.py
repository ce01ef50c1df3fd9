"""Which key a request carries and what it allows, remembered for a few seconds.

Without any key in the database everyone who can reach the server may do everything, which is why
the server then listens on this machine alone. While the database does not answer, keys that it has
named within the last minute stay good, and nobody else is let in. A key that was revoked through
another server is refused here as soon: within ``REMEMBER_S`` and ``PATIENCE_S``, together less than
five seconds.
"""

import asyncio
import hashlib
import logging
import math
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

import anyio

from glassbox.errors import CapacityError
from glassbox.storage.keys import START, ApiKey, KeyScope, KeyStore
from glassbox.storage.signing_keys import SigningKey

T = TypeVar("T")

REMEMBER_S = 2.0
"""How long an answer of the database holds."""

PATIENCE_S = 2.0
"""How long a request waits for it to say whether a key that it named lately is still good; slower
than that, it does not answer."""

AWAY_PATIENCE_S = 0.25
"""The same while it has not answered the last time: requests go on at their usual speed."""

STALE_S = 60.0
"""How long an answer holds where the database does not answer."""

MOST_REMEMBERED = 4096
"""Keys remembered at a time, those used last."""

MOST_MISSED = 1024
"""Secrets of no key that are remembered at a time: strangers' guesses push out one another."""

_SECRET = re.compile(rf"{START}[A-Za-z0-9_-]{{43}}")
"""What a key looks like; anything else is none, without asking the database."""

_log = logging.getLogger("glassbox.server")


@dataclass(frozen=True)
class Caller:
    """Who asks."""

    client: str
    """Key's id, or the address of the other end: whose turn it is in the queue."""
    key: ApiKey | None
    """The key; None where the server has none."""

    def allows(self, scope: KeyScope) -> bool:
        """Whether a call that needs a scope may be made."""
        return self.key is None or self.key.allows(scope)


class KeyRing:
    """The keys as the server sees them.

    Args:
        store: Where they are; None is a server without keys.
        always: Whether requests need a key even while the database holds none, because others than
            this machine reach the server.
        clock: Seconds.
    """

    def __init__(
        self,
        store: KeyStore | None = None,
        *,
        always: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._always = always
        self._clock = clock
        # By digest: what strangers send as a key is not kept.
        self._found: OrderedDict[str, tuple[float, ApiKey]] = OrderedDict()
        self._missed: OrderedDict[str, float] = OrderedDict()
        self._signing: OrderedDict[str, tuple[float, tuple[ApiKey, SigningKey]]] = OrderedDict()
        self._looking: dict[str, asyncio.Task[Any]] = {}
        self._is_away = False
        self._failed_s = -math.inf
        self._has_warned = False
        self._needed: tuple[float, bool] | None = None

    async def needs_key(self) -> bool:
        """Return whether requests need a key; once they do, they do until the server ends.

        Raises:
            CapacityError: The database does not answer, and has not for a minute.
        """
        if self._always or self._store is None:
            return self._always
        moment, known = self._clock(), self._needed
        if known is not None and (known[1] or moment - known[0] <= REMEMBER_S):
            return known[1]
        store = self._store

        async def look() -> bool:
            self._needed = (moment, await anyio.to_thread.run_sync(store.any_active))
            return self._needed[1]

        return await self._told("", look, known)

    async def find(self, secret: str) -> ApiKey | None:
        """Return the key that a secret is of; None for a stranger's or a revoked one.

        Raises:
            CapacityError: The database does not answer, and has not for a minute.
        """
        if self._store is None or not _SECRET.fullmatch(secret):
            return None
        store = self._store

        def ask() -> ApiKey | None:
            return self._noted(store, store.find(secret))

        return await self._kept(self._found, hashlib.sha256(secret.encode()).hexdigest(), ask)

    async def find_signing(self, signing_id: str) -> tuple[ApiKey, SigningKey] | None:
        """Return the key that signs under a name; None for a stranger's or a revoked one.

        Raises:
            CapacityError: The database does not answer, and has not for a minute.
        """
        if self._store is None:
            return None
        store = self._store

        def ask() -> tuple[ApiKey, SigningKey] | None:
            found = store.find_signing(signing_id)
            return None if found is None or self._noted(store, found[0]) is None else found

        return await self._kept(self._signing, signing_id, ask)

    async def _kept(
        self, table: OrderedDict[str, tuple[float, T]], name: str, ask: Callable[[], T | None]
    ) -> T | None:
        """Return what the database holds under a name, or held a moment ago; None for nothing.

        Args:
            table: What was found before, and when.
            name: Its name there; those of which there is nothing are remembered beside it.
            ask: Asks the database, on a thread.
        """
        moment, known = self._clock(), table.get(name)
        if known is not None and moment - known[0] <= REMEMBER_S:
            table.move_to_end(name)
            return known[1]
        if moment - self._missed.get(name, -math.inf) <= REMEMBER_S:
            return None

        async def look() -> T | None:
            found = await anyio.to_thread.run_sync(ask)
            table.pop(name, None)
            if found is None:
                _remember(self._missed, name, moment, MOST_MISSED)
            else:
                _remember(table, name, (moment, found), MOST_REMEMBERED)
            return found

        return await self._told(name, look, known)

    async def _told(
        self, name: str, look: Callable[[], Coroutine[Any, Any, T]], known: tuple[float, T] | None
    ) -> T:
        """Return what the database says now, or what it said where asking it fails or takes long.

        Args:
            name: A thousand requests that ask for the same at once ask the database once.
            look: Asks it, and remembers the answer.
            known: What it said last, and when.

        Raises:
            CapacityError: It does not answer, and what it said is too old or nothing.
        """
        moment = self._clock()
        may_be_old = known is not None and moment - known[0] <= STALE_S
        if known is not None and may_be_old and moment - self._failed_s <= AWAY_PATIENCE_S:
            return known[1]
        looking: asyncio.Task[T] | None = self._looking.get(name)
        if looking is None:
            looking = asyncio.create_task(look())
            self._looking[name] = looking
            looking.add_done_callback(lambda task: self._looked(name, task))
        if known is None or not may_be_old:
            return await asyncio.shield(looking)
        await asyncio.wait({looking}, timeout=AWAY_PATIENCE_S if self._is_away else PATIENCE_S)
        if looking.done() and not looking.cancelled() and looking.exception() is None:
            return looking.result()
        self._is_away, self._failed_s = True, self._clock()
        return known[1]

    def _noted(self, store: KeyStore, key: ApiKey | None) -> ApiKey | None:
        """Return a key whose use was written down; None where there is none that is good."""
        if key is None or key.revoked_s is not None:
            return None
        try:
            store.note_use(key)
        except CapacityError as error:
            # A key is good whether or not its use can be written down.
            if not self._has_warned:
                _log.warning("the last use of keys cannot be noted: %s", error)
            self._has_warned = True
        return key

    def _looked(self, name: str, task: "asyncio.Task[Any]") -> None:
        self._looking.pop(name, None)
        if task.cancelled():
            return
        # Whoever waited has it; where nobody waits any more, nobody misses it.
        error = task.exception()
        if error is None:
            self._is_away = False
        elif not isinstance(error, CapacityError):
            # Requests may go on by what was said before, so that nobody else would tell of it.
            _log.error("keys cannot be looked up", exc_info=error)


def _remember(table: OrderedDict[str, T], name: str, value: T, most: int) -> None:
    table[name] = value
    table.move_to_end(name)
    while len(table) > most:
        table.popitem(last=False)

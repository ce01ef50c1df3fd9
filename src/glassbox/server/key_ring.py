"""Which key a request carries and what it allows, remembered for a few seconds.

Without any key in the database everyone who can reach the server may do everything, which is why
the server then listens on this machine alone. While the database does not answer, keys that it has
named within the last minute stay good, and nobody else is let in.
"""

import asyncio
import hashlib
import logging
import math
import re
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import anyio

from glassbox.errors import CapacityError
from glassbox.storage.keys import START, ApiKey, KeyScope, KeyStore
from glassbox.storage.signing_keys import SigningKey

T = TypeVar("T")

REMEMBER_S = 5.0
"""How long an answer of the database holds: a revoked key works no longer than this."""

STALE_S = 60.0
"""How long it holds where the database does not answer."""

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
        self._looking: dict[str, asyncio.Task[ApiKey | None]] = {}
        self._has_warned = False
        self._needed: tuple[float, bool] | None = None

    async def needs_key(self) -> bool:
        """Return whether requests need a key; once they do, they do until the server ends.

        Raises:
            CapacityError: The database does not answer, and has not for a minute.
        """
        if self._always or self._store is None:
            return self._always
        moment = self._clock()
        needed = self._needed
        if needed is not None and (needed[1] or moment - needed[0] <= REMEMBER_S):
            return needed[1]
        try:
            self._needed = (moment, await anyio.to_thread.run_sync(self._store.any_active))
        except CapacityError:
            if needed is None or moment - needed[0] > STALE_S:
                raise
            return needed[1]
        return self._needed[1]

    async def find(self, secret: str) -> ApiKey | None:
        """Return the key that a secret is of; None for a stranger's or a revoked one.

        Raises:
            CapacityError: The database does not answer, and has not for a minute.
        """
        if self._store is None or not _SECRET.fullmatch(secret):
            return None
        digest = hashlib.sha256(secret.encode()).hexdigest()
        moment = self._clock()
        known = self._found.get(digest)
        if known is not None and moment - known[0] <= REMEMBER_S:
            self._found.move_to_end(digest)
            return known[1]
        if moment - self._missed.get(digest, -math.inf) <= REMEMBER_S:
            return None
        looking = self._looking.get(digest)
        if looking is None:
            # A thousand requests of one key at once ask the database once.
            looking = asyncio.create_task(self._look(self._store, secret, digest, moment))
            self._looking[digest] = looking
            looking.add_done_callback(lambda task: self._looked(digest, task))
        try:
            return await asyncio.shield(looking)
        except CapacityError:
            if known is None or moment - known[0] > STALE_S:
                raise
            return known[1]

    async def find_signing(self, signing_id: str) -> tuple[ApiKey, SigningKey] | None:
        """Return the key that signs under a name; None for a stranger's or a revoked one.

        Raises:
            CapacityError: The database does not answer, and has not for a minute.
        """
        if self._store is None:
            return None
        moment = self._clock()
        known = self._signing.get(signing_id)
        if known is not None and moment - known[0] <= REMEMBER_S:
            self._signing.move_to_end(signing_id)
            return known[1]
        if moment - self._missed.get(signing_id, -math.inf) <= REMEMBER_S:
            return None
        try:
            found = await anyio.to_thread.run_sync(self._store.find_signing, signing_id)
        except CapacityError:
            if known is None or moment - known[0] > STALE_S:
                raise
            return known[1]
        self._signing.pop(signing_id, None)
        if found is None or found[0].revoked_s is not None:
            _remember(self._missed, signing_id, moment, MOST_MISSED)
            return None
        await anyio.to_thread.run_sync(self._note, self._store, found[0])
        _remember(self._signing, signing_id, (moment, found), MOST_REMEMBERED)
        return found

    async def _look(
        self, store: KeyStore, secret: str, digest: str, moment: float
    ) -> ApiKey | None:
        key = await anyio.to_thread.run_sync(self._asked, store, secret)
        self._found.pop(digest, None)
        if key is None:
            _remember(self._missed, digest, moment, MOST_MISSED)
        else:
            _remember(self._found, digest, (moment, key), MOST_REMEMBERED)
        return key

    def _asked(self, store: KeyStore, secret: str) -> ApiKey | None:
        key = store.find(secret)
        if key is None or key.revoked_s is not None:
            return None
        self._note(store, key)
        return key

    def _note(self, store: KeyStore, key: ApiKey) -> None:
        try:
            store.note_use(key)
        except CapacityError as error:
            # A key is good whether or not its use can be written down.
            if not self._has_warned:
                _log.warning("the last use of keys cannot be noted: %s", error)
            self._has_warned = True

    def _looked(self, digest: str, task: "asyncio.Task[ApiKey | None]") -> None:
        self._looking.pop(digest, None)
        if not task.cancelled():
            # Whoever waited has it; where nobody waits any more, nobody misses it.
            task.exception()


def _remember(table: OrderedDict[str, T], digest: str, value: T, most: int) -> None:
    table[digest] = value
    table.move_to_end(digest)
    while len(table) > most:
        table.popitem(last=False)

"""API keys: made once, kept as digests, looked up on every request.

A key is 256 random bits, so its SHA-256 cannot be guessed back and needs no salt; a slow password
hash would only let strangers keep the processor busy. Of a key that may run functions the key
that it signs with is kept too, from which the key itself does not follow. Knows nothing of HTTP.
"""

import hashlib
import hmac
import secrets
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, get_args

import sqlalchemy as sa

from glassbox.errors import InvalidValue, UnknownName
from glassbox.storage.database import Database
from glassbox.storage.key_record import KeyRecord
from glassbox.storage.signing_keys import SigningKey, signing_key
from glassbox.storage.tables import table

KeyScope = Literal["predict", "observe", "admin", "techniques"]
"""What a key allows: asking the model; metrics and records; everything; running functions."""

KEY_SCOPES: tuple[KeyScope, ...] = get_args(KeyScope)

START = "gbx_"
"""First characters of every key, so that scanners for leaked secrets can find one."""

N_SHOWN = len(START) + 6
"""Characters of a key that lists show."""

LAST_USED_STEP_S = 3600.0
"""The last use is known to the hour: a busy key does not write on every request."""

_TABLE = table(
    "api_keys",
    "id digest prefix name scopes created_s last_used_s revoked_s signing_id signing_key",
)


@dataclass(frozen=True)
class ApiKey:
    """What is known of a key; the key itself is not."""

    id: str
    """Names it in lists, in logs and when it is revoked."""
    prefix: str
    """Its first characters."""
    name: str
    """What its owner called it."""
    scopes: tuple[KeyScope, ...]
    """What it allows, sorted."""
    created_s: float
    """Unix time."""
    last_used_s: float | None
    """Unix time to the hour; None is never."""
    revoked_s: float | None
    """Unix time from which it is refused; None is not revoked."""

    def allows(self, scope: KeyScope) -> bool:
        """Whether a call that needs a scope may be made; ``admin`` may make every call."""
        return scope in self.scopes or "admin" in self.scopes


class KeyStore:
    """The keys of one database.

    Args:
        database: Where they are.
        clock: Unix time in seconds.
    """

    def __init__(self, database: Database, *, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock

    def create(
        self, name: str, scopes: Sequence[str] = ("predict", "observe")
    ) -> tuple[ApiKey, str]:
        """Return a new key and its secret, which exists nowhere else and cannot be shown again.

        Raises:
            InvalidValue: No name, or no or unknown scopes.
        """
        unknown = [scope for scope in scopes if scope not in KEY_SCOPES]
        if unknown or not scopes:
            raise InvalidValue(
                "scopes", ",".join(unknown), f"one or more of {', '.join(KEY_SCOPES)}"
            )
        if not name.strip():
            raise InvalidValue("name", name, "a few characters that say whose key it is")
        secret = START + secrets.token_urlsafe(32)
        key = ApiKey(
            id=secrets.token_hex(4),
            prefix=secret[:N_SHOWN],
            name=name.strip(),
            scopes=tuple(sorted(scope for scope in KEY_SCOPES if scope in scopes)),
            created_s=self._clock(),
            last_used_s=None,
            revoked_s=None,
        )
        signs = signing_key(secret)
        with self._database.transaction() as connection:
            connection.execute(
                _TABLE.insert().values(
                    id=key.id,
                    digest=_digest(secret),
                    prefix=key.prefix,
                    name=key.name,
                    scopes=",".join(key.scopes),
                    created_s=key.created_s,
                    signing_id=signs.id,
                    # Whoever reads it can sign: it is kept only where signing is of use.
                    signing_key=signs.key.hex() if key.allows("techniques") else None,
                )
            )
        return key, secret

    def find_signing(self, signing_id: str) -> tuple[ApiKey, SigningKey] | None:
        """Return the key that signs under a name, revoked ones too; None for a stranger's.

        Of a key without scope ``techniques`` the second has no bytes: nothing it signed is checked.
        """
        query = _TABLE.select().where(_TABLE.c.signing_id == signing_id)
        with self._database.reading() as connection:
            row = connection.execute(query).first()
        if row is None:
            return None
        return _key(row), SigningKey(signing_id, bytes.fromhex(row.signing_key or ""))

    def find(self, secret: str) -> ApiKey | None:
        """Return the key that a secret is of, revoked ones too; None for a stranger's.

        How long it takes tells something of the digest at most, from which nothing follows for the
        secret.
        """
        digest = _digest(secret)
        with self._database.reading() as connection:
            row = connection.execute(_TABLE.select().where(_TABLE.c.digest == digest)).first()
        if row is None or not hmac.compare_digest(row.digest, digest):
            return None
        return _key(row)

    def all(self) -> list[ApiKey]:
        """Return every key, revoked ones too, oldest first."""
        with self._database.reading() as connection:
            rows = connection.execute(_TABLE.select().order_by(_TABLE.c.created_s, _TABLE.c.id))
            return [_key(row) for row in rows]

    def any_active(self) -> bool:
        """Whether there is a key that has not been revoked."""
        query = sa.select(_TABLE.c.id).where(_TABLE.c.revoked_s.is_(None)).limit(1)
        with self._database.reading() as connection:
            return connection.execute(query).first() is not None

    def records(self) -> list[KeyRecord]:
        """Return what another database needs to let the active keys in, oldest first.

        What they sign with stays here, so that functions cannot be run with them there.
        """
        query = _TABLE.select().where(_TABLE.c.revoked_s.is_(None))
        with self._database.reading() as connection:
            rows = connection.execute(query.order_by(_TABLE.c.created_s, _TABLE.c.id)).all()
        return [
            KeyRecord(
                row.id,
                row.digest,
                row.prefix,
                row.name,
                tuple(row.scopes.split(",")),
                float(row.created_s),
                row.signing_id,
            )
            for row in rows
        ]

    def adopt(self, records: Iterable[KeyRecord]) -> None:
        """Let keys of another database in; those that are known already stay as they are."""
        known = {each.id for each in self.all()}
        with self._database.transaction() as connection:
            for each in records:
                if each.id not in known:
                    row = {**asdict(each), "scopes": ",".join(each.scopes)}
                    connection.execute(_TABLE.insert().values(**row))

    def revoke(self, id_or_prefix: str) -> ApiKey:
        """Refuse a key from now on and return it; a revoked one stays as it is.

        Raises:
            UnknownName: No key has this id or these first characters, or several have.
        """
        keys = self.all()
        found = [key for key in keys if id_or_prefix in (key.id, key.prefix)]
        if len(found) != 1:
            raise UnknownName("API key", id_or_prefix, [key.id for key in keys])
        if found[0].revoked_s is not None:
            return found[0]
        revoked = replace(found[0], revoked_s=self._clock())
        self._set(revoked.id, revoked_s=revoked.revoked_s)
        return revoked

    def note_use(self, key: ApiKey) -> None:
        """Remember that a key was used, to the hour."""
        moment = self._clock() // LAST_USED_STEP_S * LAST_USED_STEP_S
        if key.last_used_s is None or key.last_used_s < moment:
            self._set(key.id, last_used_s=moment)

    def _set(self, id: str, **values: float | None) -> None:
        with self._database.transaction() as connection:
            connection.execute(_TABLE.update().where(_TABLE.c.id == id).values(**values))


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _key(row: Any) -> ApiKey:
    return ApiKey(
        id=row.id,
        prefix=row.prefix,
        name=row.name,
        scopes=tuple(row.scopes.split(",")),
        created_s=float(row.created_s),
        last_used_s=None if row.last_used_s is None else float(row.last_used_s),
        revoked_s=None if row.revoked_s is None else float(row.revoked_s),
    )

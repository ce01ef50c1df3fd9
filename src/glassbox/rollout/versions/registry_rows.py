"""The rows behind the registry: read and written inside the caller's transaction."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import orjson
import sqlalchemy as sa

from glassbox.artifacts import canonical_json
from glassbox.errors import ConflictError, InvalidValue, UnknownName
from glassbox.rollout.version import CHAMPION, AliasMove, Version
from glassbox.rollout.versions.alias_rules import MoveVerb
from glassbox.storage.tables import table

Moves = Mapping[str, tuple[int | None, int | None]]
"""Alias to the version numbers before and after."""

Reigns = Iterable[tuple[MoveVerb, int | None, int]]
"""Every move of ``champion`` of a model, oldest first: verb, number before, number after."""


_VERSIONS: Final = table(
    "model_versions", "model number name kind digest source created_s actor metadata"
)
_ALIASES: Final = table("model_aliases", "model alias number")
_MOVES: Final = table(
    "alias_moves",
    "sequence time_s verb model alias number_before number_after actor reason evidence",
)

# Both tables only grow, so the sum grows with every change and no counter can be forgotten.
_REVISION: Final = sa.text(
    "SELECT (SELECT count(*) FROM model_versions) "
    "+ (SELECT coalesce(max(sequence), 0) FROM alias_moves)"
)


@dataclass(frozen=True)
class Deed:
    """What somebody does to an alias."""

    verb: MoveVerb
    """How."""
    model: str
    """Registered model."""
    alias: str
    """The alias that is meant; others may follow from it."""
    actor: str
    """Who."""
    reason: str
    """Why."""
    evidence: Mapping[str, Any]
    """What the decision rests on, as JSON."""


def as_json(what: str, value: Mapping[str, Any]) -> str:
    """Return canonical JSON text.

    Raises:
        InvalidValue: The value is no JSON.
    """
    try:
        return canonical_json(dict(value)).decode()
    except orjson.JSONEncodeError as error:
        raise InvalidValue(what, value, f"JSON ({error})") from error


def revision(connection: sa.Connection) -> int:
    """Return a number that grows with every change."""
    return int(connection.execute(_REVISION).scalar() or 0)


def all_versions(connection: sa.Connection) -> list[Version]:
    """Return all versions, by model and number."""
    query = _VERSIONS.select().order_by(_VERSIONS.c.model, _VERSIONS.c.number)
    return [_version(row) for row in connection.execute(query)]


def all_aliases(connection: sa.Connection) -> dict[str, dict[str, int]]:
    """Return for each model its aliases and their version numbers."""
    found: dict[str, dict[str, int]] = {}
    for row in connection.execute(_ALIASES.select().order_by(_ALIASES.c.alias)):
        found.setdefault(row.model, {})[row.alias] = int(row.number)
    return found


def aliases_of(connection: sa.Connection, model: str) -> dict[str, int]:
    """Return the aliases of one model."""
    query = _ALIASES.select().where(_ALIASES.c.model == model).order_by(_ALIASES.c.alias)
    return {row.alias: int(row.number) for row in connection.execute(query)}


def version_of_digest(connection: sa.Connection, model: str, digest: str) -> Version | None:
    """Return the version with some content, None where there is none."""
    query = _VERSIONS.select().where(_VERSIONS.c.model == model, _VERSIONS.c.digest == digest)
    row = connection.execute(query).first()
    return None if row is None else _version(row)


def next_number(connection: sa.Connection, model: str) -> int:
    """Return the number of a model's next version."""
    query = sa.select(sa.func.max(_VERSIONS.c.number)).where(_VERSIONS.c.model == model)
    return int(connection.execute(query).scalar() or 0) + 1


def add_version(connection: sa.Connection, version: Version, metadata: str, actor: str) -> None:
    """Write a version.

    Raises:
        ConflictError: Its name is another version's.
    """
    query = _VERSIONS.select().where(_VERSIONS.c.name == version.name)
    row = connection.execute(query).first()
    if row is not None:
        taken = _version(row)
        raise ConflictError(
            f"The name {version.name!r} is that of {taken.uri}, which has another content "
            f"(digest {taken.digest[:12]}). Names are unique and versions never change: choose "
            "another name."
        )
    values = {**vars(version), "metadata": metadata, "actor": actor}
    connection.execute(_VERSIONS.insert().values(values))


def reigns(connection: sa.Connection, model: str) -> Reigns:
    """Return every move of a model's champion, oldest first."""
    query = _MOVES.select().where(_MOVES.c.model == model, _MOVES.c.alias == CHAMPION)
    return [
        (row.verb, row.number_before, row.number_after)
        for row in connection.execute(query.order_by(_MOVES.c.sequence))
    ]


def read_moves(
    connection: sa.Connection,
    model: str | None,
    limit: int,
    *,
    alias: str | None = None,
    before: int | None = None,
) -> list[AliasMove]:
    """Return lines of the history, newest first."""
    query = _MOVES.select()
    for column, value in ((_MOVES.c.model, model), (_MOVES.c.alias, alias)):
        if value is not None:
            query = query.where(column == value)
    if before is not None:
        query = query.where(_MOVES.c.sequence < before)
    query = query.order_by(_MOVES.c.sequence.desc()).limit(limit)
    return [_alias_move(row) for row in connection.execute(query)]


def write_moves(connection: sa.Connection, deed: Deed, moves: Moves, time_s: float) -> AliasMove:
    """Set aliases, add the lines to the history and return the line of the alias that was meant.

    Raises:
        UnknownName: There is no such version.
        InvalidValue: The evidence is no JSON.
    """
    evidence = as_json("evidence", deed.evidence)
    _check_known(connection, deed.model, {to for _, to in moves.values() if to is not None})
    last = int(connection.execute(sa.select(sa.func.max(_MOVES.c.sequence))).scalar() or 0)
    # What was meant comes first, what follows from it after.
    ordered = sorted(moves, key=lambda each: each != deed.alias)
    lines = [
        AliasMove(
            sequence=last + place,
            time_s=time_s,
            model=deed.model,
            alias=alias,
            before=moves[alias][0],
            after=moves[alias][1],
            actor=deed.actor,
            reason=deed.reason,
            evidence=orjson.loads(evidence),
        )
        for place, alias in enumerate(ordered, 1)
    ]
    for line in lines:
        row = {**vars(line), "evidence": evidence, "verb": deed.verb}
        row |= {"number_before": row.pop("before"), "number_after": row.pop("after")}
        connection.execute(_MOVES.insert().values(row))
        _set(connection, line)
    return lines[0]


def _set(connection: sa.Connection, line: AliasMove) -> None:
    here = (_ALIASES.c.model == line.model) & (_ALIASES.c.alias == line.alias)
    if line.after is None:
        connection.execute(_ALIASES.delete().where(here))
    elif line.before is None:
        row = {"model": line.model, "alias": line.alias, "number": line.after}
        connection.execute(_ALIASES.insert().values(row))
    else:
        connection.execute(_ALIASES.update().where(here).values(number=line.after))


def moved_meanwhile(
    connection: sa.Connection, deed: Deed, expected: int | None, aliases: Mapping[str, int]
) -> str:
    """Return the words of a compare-and-set that failed: who moved the alias, when and why."""
    now = aliases.get(deed.alias)
    words = (
        f"{deed.alias} of {deed.model!r} is {_spoken(now)} now, not {_spoken(expected)} as you "
        "expected"
    )
    last = read_moves(connection, deed.model, 1, alias=deed.alias)
    if last:
        when = datetime.fromtimestamp(last[0].time_s, UTC)
        words += f": {last[0].actor} moved it at {when:%Y-%m-%d %H:%M:%S} UTC ({last[0].reason})"
    return f"{words}. Nothing was changed; look again and decide anew."


def _spoken(number: int | None) -> str:
    return "unset" if number is None else f"version {number}"


def _check_known(connection: sa.Connection, model: str, numbers: set[int]) -> None:
    query = sa.select(_VERSIONS.c.number).where(_VERSIONS.c.model == model)
    known = sorted(int(row.number) for row in connection.execute(query))
    for number in sorted(numbers - set(known)):
        raise UnknownName(
            f"version of {model!r}",
            str(number),
            [str(each) for each in known],
            remedy="Register it with 'glassbox versions register'.",
        )


def _version(row: Any) -> Version:
    return Version(
        model=row.model,
        number=int(row.number),
        name=row.name,
        kind=row.kind,
        digest=row.digest,
        source=row.source,
        created_s=float(row.created_s),
        metadata=orjson.loads(row.metadata),
    )


def _alias_move(row: Any) -> AliasMove:
    return AliasMove(
        sequence=int(row.sequence),
        time_s=float(row.time_s),
        model=row.model,
        alias=row.alias,
        before=row.number_before,
        after=row.number_after,
        actor=row.actor,
        reason=row.reason,
        evidence=orjson.loads(row.evidence),
    )

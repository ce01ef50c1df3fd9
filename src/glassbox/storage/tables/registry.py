"""Tables of versions. Knows nothing of what is done with them."""

from typing import Final

STATEMENTS: Final[tuple[str, ...]] = (
    """
    CREATE TABLE model_versions (
        model TEXT NOT NULL,
        number INTEGER NOT NULL,
        name TEXT NOT NULL UNIQUE,
        kind TEXT NOT NULL,
        digest TEXT NOT NULL,
        source TEXT NOT NULL,
        created_s DOUBLE PRECISION NOT NULL,
        actor TEXT NOT NULL,
        metadata TEXT NOT NULL,
        PRIMARY KEY (model, number),
        UNIQUE (model, digest)
    )
    """,
    """
    CREATE TABLE model_aliases (
        model TEXT NOT NULL,
        alias TEXT NOT NULL,
        number INTEGER NOT NULL,
        PRIMARY KEY (model, alias),
        FOREIGN KEY (model, number) REFERENCES model_versions (model, number)
    )
    """,
    """
    CREATE TABLE alias_moves (
        sequence BIGINT PRIMARY KEY,
        time_s DOUBLE PRECISION NOT NULL,
        verb TEXT NOT NULL,
        model TEXT NOT NULL,
        alias TEXT NOT NULL,
        number_before INTEGER,
        number_after INTEGER,
        actor TEXT NOT NULL,
        reason TEXT NOT NULL,
        evidence TEXT NOT NULL
    )
    """,
    "CREATE INDEX alias_moves_by_model ON alias_moves (model, alias, sequence)",
)
"""SQL that makes them, as SQLite and PostgreSQL both understand it."""

"""Tables of the servers that share one database. Knows nothing of what is done with them."""

from typing import Final

STATEMENTS: Final[tuple[str, ...]] = (
    """
    CREATE TABLE replicas (
        id TEXT PRIMARY KEY,
        host TEXT NOT NULL,
        pid INTEGER NOT NULL,
        address TEXT NOT NULL,
        version TEXT NOT NULL,
        bundle TEXT NOT NULL,
        model TEXT NOT NULL,
        started_s DOUBLE PRECISION NOT NULL,
        beat_s DOUBLE PRECISION NOT NULL,
        clock_s DOUBLE PRECISION NOT NULL,
        status TEXT NOT NULL,
        body TEXT NOT NULL
    )
    """,
    # What servers counted whose rows are gone, so that totals never fall.
    "CREATE TABLE departed_replicas (id INTEGER PRIMARY KEY, body TEXT NOT NULL)",
)
"""SQL that makes them, as SQLite and PostgreSQL both understand it."""

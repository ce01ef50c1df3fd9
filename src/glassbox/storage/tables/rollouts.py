"""Tables of rollouts. Knows nothing of what is done with them."""

from typing import Final

STATEMENTS: Final[tuple[str, ...]] = (
    """
    CREATE TABLE rollouts (
        id TEXT PRIMARY KEY,
        model TEXT NOT NULL,
        champion TEXT NOT NULL,
        challenger TEXT NOT NULL,
        is_active INTEGER NOT NULL,
        is_dry INTEGER NOT NULL,
        started_s DOUBLE PRECISION NOT NULL,
        updated_s DOUBLE PRECISION NOT NULL,
        revision BIGINT NOT NULL,
        progress TEXT NOT NULL,
        evidence TEXT NOT NULL,
        series TEXT NOT NULL
    )
    """,
    # At most one rollout of a model is under way, whoever starts them.
    "CREATE UNIQUE INDEX rollouts_under_way ON rollouts (model) WHERE is_active = 1",
    "CREATE INDEX rollouts_by_start ON rollouts (started_s)",
    """
    CREATE TABLE rollout_transitions (
        rollout_id TEXT NOT NULL,
        sequence BIGINT NOT NULL,
        time_s DOUBLE PRECISION NOT NULL,
        before TEXT,
        after TEXT NOT NULL,
        actor TEXT NOT NULL,
        reason TEXT NOT NULL,
        evidence TEXT NOT NULL,
        PRIMARY KEY (rollout_id, sequence)
    )
    """,
    """
    CREATE TABLE leases (
        name TEXT PRIMARY KEY,
        holder TEXT NOT NULL,
        until_s DOUBLE PRECISION NOT NULL
    )
    """,
)
"""SQL that makes them, as SQLite and PostgreSQL both understand it."""

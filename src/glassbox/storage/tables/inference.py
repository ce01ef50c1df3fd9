"""Tables of predictions. Knows nothing of what is done with them."""

from typing import Final

STATEMENTS: Final[tuple[str, ...]] = (
    # SQLite keeps rows under a column of just this type without a second tree beside them.
    """
    CREATE TABLE inference_events (
        sequence INTEGER PRIMARY KEY,
        time_s DOUBLE PRECISION NOT NULL,
        kind TEXT NOT NULL,
        request_id TEXT NOT NULL,
        request_key BIGINT NOT NULL,
        model_version TEXT,
        status TEXT,
        label TEXT,
        diff DOUBLE PRECISION,
        salt BYTEA,
        body BYTEA,
        body_digest BYTEA,
        hash BYTEA NOT NULL
    )
    """,
    "CREATE INDEX inference_by_request ON inference_events (request_key)",
    "CREATE INDEX inference_by_time ON inference_events (time_s) WHERE kind = 'primary'",
    """
    CREATE INDEX inference_by_version ON inference_events (model_version, sequence)
    WHERE kind = 'primary'
    """,
    """
    CREATE INDEX inference_by_label ON inference_events (label, sequence)
    WHERE kind = 'primary' AND label IS NOT NULL
    """,
    "CREATE INDEX inference_errors ON inference_events (sequence) WHERE status = 'error'",
    "CREATE INDEX inference_differing ON inference_events (diff) WHERE diff >= 0.01",
    "CREATE INDEX inference_erasures ON inference_events (request_key) WHERE kind = 'erasure'",
    """
    CREATE TABLE inference_totals (
        kind TEXT PRIMARY KEY,
        n_events BIGINT NOT NULL,
        n_bytes BIGINT NOT NULL
    )
    """,
    """
    CREATE TABLE inference_anchors (
        number INTEGER PRIMARY KEY,
        time_s DOUBLE PRECISION NOT NULL,
        reason TEXT NOT NULL,
        first_sequence BIGINT NOT NULL,
        last_sequence BIGINT NOT NULL,
        last_hash BYTEA NOT NULL,
        hash BYTEA NOT NULL
    )
    """,
    """
    CREATE TABLE feature_keys (
        id TEXT PRIMARY KEY,
        secret BYTEA NOT NULL,
        created_s DOUBLE PRECISION NOT NULL
    )
    """,
)
"""SQL that makes them, as SQLite and PostgreSQL both understand it."""

FOR_POSTGRES: Final[tuple[str, ...]] = (
    "ALTER TABLE inference_events ALTER COLUMN sequence TYPE BIGINT",
)
"""PostgreSQL's INTEGER ends at two thousand million."""

"""Tables of alerts. Knows nothing of what is done with them."""

from typing import Final

STATEMENTS: Final[tuple[str, ...]] = (
    """
    CREATE TABLE alert_states (
        rule TEXT NOT NULL,
        signal TEXT NOT NULL,
        phase TEXT NOT NULL,
        since_s DOUBLE PRECISION NOT NULL,
        quiet_since_s DOUBLE PRECISION,
        value DOUBLE PRECISION,
        limit_value DOUBLE PRECISION NOT NULL,
        severity TEXT NOT NULL,
        summary TEXT NOT NULL,
        PRIMARY KEY (rule, signal)
    )
    """,
    """
    CREATE TABLE alert_messages (
        sequence BIGINT PRIMARY KEY,
        id TEXT NOT NULL UNIQUE,
        rule TEXT NOT NULL,
        signal TEXT NOT NULL,
        state TEXT NOT NULL,
        severity TEXT NOT NULL,
        time_s DOUBLE PRECISION NOT NULL,
        since_s DOUBLE PRECISION NOT NULL,
        value DOUBLE PRECISION,
        limit_value DOUBLE PRECISION NOT NULL,
        summary TEXT NOT NULL
    )
    """,
    """
    CREATE TABLE alert_deliveries (
        message_id TEXT NOT NULL,
        receiver TEXT NOT NULL,
        attempts INTEGER NOT NULL,
        next_attempt_s DOUBLE PRECISION NOT NULL,
        claimed_until_s DOUBLE PRECISION,
        delivered_s DOUBLE PRECISION,
        gave_up_s DOUBLE PRECISION,
        last_error TEXT NOT NULL,
        PRIMARY KEY (message_id, receiver)
    )
    """,
    "CREATE INDEX alert_messages_by_alert ON alert_messages (rule, signal, sequence)",
    "CREATE INDEX alert_deliveries_waiting ON alert_deliveries (receiver, delivered_s, gave_up_s)",
)
"""SQL that makes them, as SQLite and PostgreSQL both understand it."""

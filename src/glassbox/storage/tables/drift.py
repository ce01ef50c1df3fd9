"""Tables of drift: frozen references, reports, and one short line per feature and report."""

from typing import Final

STATEMENTS: Final[tuple[str, ...]] = (
    """
    CREATE TABLE drift_references (
        reference_id TEXT PRIMARY KEY,
        model TEXT NOT NULL,
        number BIGINT NOT NULL,
        model_version TEXT NOT NULL,
        created_s DOUBLE PRECISION NOT NULL,
        since_s DOUBLE PRECISION NOT NULL,
        until_s DOUBLE PRECISION NOT NULL,
        n_rows BIGINT NOT NULL,
        digest TEXT NOT NULL,
        actor TEXT NOT NULL,
        columns TEXT NOT NULL,
        body TEXT NOT NULL,
        UNIQUE (model, number)
    )
    """,
    """
    CREATE TABLE drift_reports (
        sequence BIGINT PRIMARY KEY,
        report_id TEXT NOT NULL UNIQUE,
        time_s DOUBLE PRECISION NOT NULL,
        model TEXT NOT NULL,
        verdict TEXT NOT NULL,
        body TEXT NOT NULL
    )
    """,
    "CREATE INDEX drift_reports_by_model ON drift_reports (model, sequence)",
    """
    CREATE TABLE drift_points (
        sequence BIGINT NOT NULL,
        model TEXT NOT NULL,
        feature TEXT NOT NULL,
        report_id TEXT NOT NULL,
        time_s DOUBLE PRECISION NOT NULL,
        effect DOUBLE PRECISION NOT NULL,
        effect_limit DOUBLE PRECISION NOT NULL,
        p_adjusted DOUBLE PRECISION NOT NULL,
        drifted INTEGER NOT NULL,
        PRIMARY KEY (model, feature, sequence)
    )
    """,
    "CREATE INDEX drift_points_by_report ON drift_points (model, sequence)",
)
"""SQL that makes them, as SQLite and PostgreSQL both understand it."""

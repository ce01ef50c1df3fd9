"""The tables of each concern, as the statements that make them, and as what queries name.

A table knows the names of its columns alone: their types are those of the statements.
"""

import sqlalchemy as sa


def table(name: str, columns: str) -> sa.TableClause:
    """Return a table for queries.

    Args:
        name: Of the table.
        columns: Names of its columns, with spaces between them.
    """
    return sa.table(name, *map(sa.column, columns.split()))

"""Tables of predictions. Knows nothing of what is done with them."""

from typing import Final

STATEMENTS: Final[tuple[str, ...]] = ()
"""SQL that makes them, as SQLite and PostgreSQL both understand it."""

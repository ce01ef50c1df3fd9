"""How long lists are gone through, page by page: what to ask next, and what of a page is new.

Pure: ``Client`` and ``AsyncClient`` differ only in how they wait. Knows the wire; sends nothing.
"""

from collections.abc import Mapping
from typing import Any

from glassbox.wire.audit import LAST_SEQUENCE, MAX_RECENT, AuditEntry
from glassbox.wire.latents import MOST_ROWS


class AuditWalk:
    """Goes through the log of predictions, newest first, each of them once.

    The newest page is in order of time and may hold predictions that are not in the durable log
    yet; older pages are cut by place in that log. So the first page gives what is on its way alone,
    and the log is read from its end: nothing is missed or told twice where both orders differ.

    Args:
        query: Which predictions, as ``RecentOptions``; ``limit`` is for one page.
    """

    def __init__(self, query: Mapping[str, Any]) -> None:
        given = {name: value for name, value in query.items() if value is not None}
        self._query = {"limit": MAX_RECENT, **given}
        self._told: set[str] = set()
        self.is_done = False

    @property
    def query(self) -> Mapping[str, Any]:
        """What to ask next; nothing once ``is_done``."""
        return self._query

    def take(self, page: list[AuditEntry]) -> list[AuditEntry]:
        """Return what of a page was not told yet."""
        fresh = [each for each in page if each.request_id not in self._told]
        if len(page) < self._query["limit"]:
            self.is_done = True
        elif "before" in self._query:
            self._query["before"] = page[-1].sequence
        else:
            fresh = [each for each in fresh if not each.sequence]
            self._told = {each.request_id for each in fresh}
            self._query["before"] = LAST_SEQUENCE
        return fresh


class RowWalk:
    """Goes through the rows of a finished study.

    Args:
        options: Which rows; ``limit`` is for one page.
    """

    def __init__(self, options: Mapping[str, Any]) -> None:
        given = {name: value for name, value in options.items() if value is not None}
        self._options = {"limit": MOST_ROWS, "offset": 0, **given}
        self.is_done = False

    @property
    def options(self) -> Any:
        """What to ask next; nothing once ``is_done``."""
        return self._options

    def take(self, n_shown: int, n_rows: int) -> None:
        """Go on behind a page.

        Args:
            n_shown: Rows of the page.
            n_rows: Rows that fit the question in all.
        """
        self._options["offset"] += n_shown
        self.is_done = n_shown == 0 or self._options["offset"] >= n_rows

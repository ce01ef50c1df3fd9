"""Which adapters are known only because requests named their URLs: a bounded number, by last use.

Thread-safe. Knows URLs; knows nothing of what is behind them.
"""

import threading
from collections import OrderedDict


class NamedUrls:
    """URLs that requests named, the least recent first.

    Args:
        capacity: Most of them, 1 or more.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._lock = threading.Lock()
        self._urls: OrderedDict[str, None] = OrderedDict()

    def add(self, url: str) -> list[str]:
        """Return the URLs that have to be forgotten for one more."""
        with self._lock:
            self._urls[url] = None
            n_over = len(self._urls) - self._capacity
            return [self._urls.popitem(last=False)[0] for _ in range(n_over)]

    def touch(self, url: str) -> None:
        """Note that a request names a URL again, if it is one of these."""
        with self._lock:
            if url in self._urls:
                self._urls.move_to_end(url)

    def discard(self, url: str) -> None:
        """Count a URL among these no longer, if it is one of them."""
        with self._lock:
            self._urls.pop(url, None)

"""Whose ``data`` was taken: what is written through it moves no version counter.

Half of the code that edits weights writes there. Knows torch's property; knows nothing of what
weights were like.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from torch import Tensor, nn

_PLAIN: Final[Any] = vars(Tensor.__base__)["data"]
"""Torch's own property, which ``Tensor`` and ``nn.Parameter`` inherit."""


class TakenData:
    """Notes whose ``data`` is taken while somebody wants to know."""

    def __init__(self) -> None:
        self._noted: set[int] = set()

    @contextmanager
    def noted(self) -> Iterator[None]:
        """Take note inside the block: ``nn.Parameter`` has a property before torch's there."""
        with _GUARD:
            if not _NOTING:
                nn.Parameter.data = property(_taken, _PLAIN.__set__)  # type: ignore[assignment]
            _NOTING.append(self)
        try:
            yield
        finally:
            with _GUARD:
                _NOTING.remove(self)
                if not _NOTING:
                    del nn.Parameter.data

    def note(self, parameter: nn.Parameter) -> None:
        """Remember that a parameter's ``data`` was taken."""
        self._noted.add(id(parameter))

    def since_asked(self) -> frozenset[int]:
        """Return the ids of parameters whose ``data`` was taken since this was asked last."""
        noted = frozenset(self._noted)
        self._noted -= noted
        return noted


_GUARD = threading.Lock()

_NOTING: list[TakenData] = []
"""One for each model of this process that is lent."""


def _taken(parameter: nn.Parameter) -> Tensor:
    for each in _NOTING:
        each.note(parameter)
    data: Tensor = _PLAIN.__get__(parameter)
    return data

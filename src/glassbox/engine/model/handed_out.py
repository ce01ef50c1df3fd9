"""Whose memory was handed out: what is written there moves no version counter.

``data``, NumPy and DLPack give a tensor's memory to whoever asks, and half of the code that edits
weights writes there. Knows torch's doors; knows nothing of what weights were like.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, Final

import torch
from torch import Tensor


class HandedOut:
    """Notes whose memory is handed out while somebody wants to know."""

    def __init__(self) -> None:
        self._noted: set[int] = set()

    @contextmanager
    def noted(self) -> Iterator[None]:
        """Take note inside the block: ``torch.Tensor`` has doors of ours before torch's there."""
        with _GUARD:
            if not _NOTING:
                for name, door in _WATCHED.items():
                    setattr(Tensor, name, door)
            _NOTING.append(self)
        try:
            yield
        finally:
            with _GUARD:
                _NOTING.remove(self)
                if not _NOTING:
                    _reopen()

    def note(self, storage: int) -> None:
        """Remember that memory was handed out; ``storage`` is which, as of ``storage_of``."""
        self._noted.add(storage)

    def since_asked(self) -> frozenset[int]:
        """Return which memory was handed out since this was asked last."""
        noted = frozenset(self._noted)
        self._noted -= noted
        return noted


def storage_of(tensor: Tensor) -> int:
    """Return a number for a tensor's memory, the same for all views of it; 0 if it has none.

    Asked behind the back of ``__torch_function__``: a guest's modes and tensors of its own see the
    calls that it makes, and no others.
    """
    try:
        with torch._C.DisableTorchFunction():
            return int(tensor.untyped_storage()._cdata)
    except (RuntimeError, NotImplementedError):  # Sparse ones, and those of transformations.
        return 0


_GUARD = threading.Lock()

_NOTING: list[HandedOut] = []
"""One for each model of this process that is lent."""

_DOORS: Final = ("data", "numpy", "__dlpack__")
"""Attributes by which memory leaves; ``numpy.asarray`` goes through the second."""

_OWN: Final = {name: vars(Tensor)[name] for name in _DOORS if name in vars(Tensor)}
"""Those that ``Tensor`` has of its own, beside what it inherits."""

_PLAIN: Final[dict[str, Any]] = {name: getattr(Tensor, name) for name in _DOORS}
"""Torch's."""


def _noting(call: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(call)
    def noted(tensor: Tensor, *args: Any, **kwargs: Any) -> Any:
        if storage := storage_of(tensor):
            for each in _NOTING:
                each.note(storage)
        return call(tensor, *args, **kwargs)

    return noted


_WATCHED: Final[dict[str, Any]] = {
    "data": property(_noting(_PLAIN["data"].__get__), _PLAIN["data"].__set__),
    "numpy": _noting(_PLAIN["numpy"]),
    "__dlpack__": _noting(_PLAIN["__dlpack__"]),
}


def _reopen() -> None:
    """Put torch's own back."""
    for name in _DOORS:
        if name in _OWN:
            setattr(Tensor, name, _OWN[name])
        else:
            delattr(Tensor, name)

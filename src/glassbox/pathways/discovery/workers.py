"""Texts side by side on a processor's threads.

One text's products are large and share a processor's threads well; what lies between them is
small and does not. A thread for each of several texts keeps all of them busy throughout.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Protocol, TypeVar

import torch

T = TypeVar("T")
R = TypeVar("R")


class Together(Protocol):
    """Does something to each of some things, and returns what came of them, in order."""

    def __call__(self, call: Callable[[T], R], each: Sequence[T]) -> list[R]:
        """Return what the call makes of each."""
        ...


def n_workers(device: torch.device, n_texts: int) -> int:
    """Return how many texts are worked on at once: one on anything but a processor."""
    return min(torch.get_num_threads(), n_texts) if device.type == "cpu" else 1


def split_evenly(sizes: Sequence[float], n: int) -> list[list[int]]:
    """Return the numbers of all things, in ``n`` shares of about the same summed size."""
    shares: list[list[int]] = [[] for _ in range(n)]
    sums = [0.0] * n
    for at in sorted(range(len(sizes)), key=lambda at: -sizes[at]):
        least = sums.index(min(sums))
        shares[least].append(at)
        sums[least] += sizes[at]
    return [share for share in shares if share]


@contextmanager
def workers(n: int) -> Iterator[Together]:
    """Lend a way to do ``n`` things at once, torch's threads shared out among them.

    Without gradients, as threads do not inherit that from who starts them.
    """
    if n <= 1:
        yield _in_turn
        return
    before = torch.get_num_threads()
    pool = ThreadPoolExecutor(
        n, "sweep", initializer=torch.set_num_threads, initargs=(max(1, before // n),)
    )
    try:
        with pool:
            yield lambda call, each: list(pool.map(torch.no_grad()(call), each))
    finally:
        # The count is the process's: a thread that starts later would inherit the share.
        torch.set_num_threads(before)


def _in_turn(call: Callable[[T], R], each: Sequence[T]) -> list[R]:
    return [call(one) for one in each]

import errno
import gc
import os
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from glassbox.errors import OutOfMemory
from glassbox.pathways.halving import by_halves

SHORT = (
    torch.OutOfMemoryError("CUDA out of memory"),
    MemoryError(),
    RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to …"),
    OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)),
)


def fits(most, error=SHORT[0]):
    """Work that has room for so many things at once, and a list of what it was given."""
    given = []

    def run(some):
        given.append(len(some))
        if len(some) > most:
            raise error
        return some

    return run, given


def nothing_said(_some):
    return ""


@given(n=st.integers(1, 40), most=st.integers(1, 40))
@pytest.mark.parametrize("kind", [list, np.asarray, lambda some: some])
def test_each_thing_is_in_one_result_and_all_are_in_order(kind, n, most):
    run, given = fits(most)
    parts = list(by_halves(kind(range(n)), run, too_much=nothing_said))
    assert [each for part in parts for each in part] == list(range(n))
    assert max(len(part) for part in parts) <= most
    assert given[0] == n
    assert (len(given) == 1) == (n <= most)


@pytest.mark.parametrize("error", SHORT)
def test_one_that_does_not_fit_is_said_in_the_callers_words(error):
    run, given = fits(0, error)
    with pytest.raises(OutOfMemory, match="text 4 of 5") as caught:
        list(by_halves([4, 5, 6], run, too_much=lambda one: f"text {one[0]} of 5"))
    assert given == [3, 2, 1]
    assert caught.value.__cause__ is error


def test_other_errors_are_raised_as_they_are():
    run, given = fits(0, RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    with pytest.raises(RuntimeError, match="mat1"):
        list(by_halves([1, 2], run, too_much=nothing_said))
    assert given == [2]


def test_what_did_not_fit_is_gone_before_less_is_tried():
    alive = weakref.WeakSet()

    def run(some):
        gc.collect()
        assert not alive, "what the larger try held is still there"
        held = torch.zeros(3)
        alive.add(held)
        if len(some) > 1:
            raise MemoryError
        return len(some)

    assert list(by_halves([1, 2, 3, 4], run, too_much=nothing_said)) == [1, 1, 1, 1]


def test_nor_does_it_stay_where_another_thread_ran_out():
    alive = weakref.WeakSet()

    def fail():
        raise MemoryError

    def run(some):
        assert not alive, "what the larger try held is still there"
        held = torch.zeros(3)
        alive.add(held)
        if len(some) > 1:
            failing = pool.submit(fail)
            failing.result()
        return len(some)

    gc.disable()
    try:
        with ThreadPoolExecutor(1) as pool:
            assert list(by_halves([1, 2, 3, 4], run, too_much=nothing_said)) == [1, 1, 1, 1]
    finally:
        gc.enable()


def test_who_asked_lets_go_once_for_each_try_that_failed():
    let_go = []
    run, given = fits(2)
    list(by_halves([1, 2, 3, 4, 5], run, too_much=nothing_said, let_go=lambda: let_go.append(1)))
    assert given == [5, 3, 2, 1, 2]
    assert len(let_go) == 2

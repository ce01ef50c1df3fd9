import threading

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from glassbox.errors import OutOfMemory
from glassbox.pathways.discovery.workers import n_workers, split_evenly, workers
from tests.pathways.discovery.test_split import several
from tests.pathways.discovery.test_sweep import assert_same, swept
from tests.waiting import PATIENCE_S

CPU = torch.device("cpu")


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=30), st.integers(1, 8))
def test_every_thing_is_in_one_share_and_no_share_is_larger_by_more_than_one_thing(sizes, n):
    shares = split_evenly(sizes, n)
    assert sorted(at for share in shares for at in share) == list(range(len(sizes)))
    assert len(shares) <= n
    sums = [sum(sizes[at] for at in share) for share in shares]
    if len(shares) == n:
        assert max(sums) - min(sums) <= max(sizes) * (1 + 1e-9)


def test_one_text_takes_all_threads_and_a_graphics_card_one_worker(two_threads):
    assert n_workers(CPU, 1) == 1
    assert n_workers(CPU, 5) == 2
    assert n_workers(torch.device("cuda"), 5) == 1


def test_workers_share_out_the_threads_and_give_them_back(two_threads):
    barrier = threading.Barrier(2, timeout=PATIENCE_S)

    def look(at):
        barrier.wait()
        return at, torch.get_num_threads(), torch.is_grad_enabled(), threading.get_ident()

    with workers(2) as together:
        (first, *one), (second, *other) = together(look, range(2))
    assert (first, second) == (0, 1)
    assert one[:2] == other[:2] == [1, False]
    assert one[2] != other[2] != threading.get_ident()
    assert torch.get_num_threads() == 2


@pytest.mark.parametrize("path", ["past", "through"])
def test_texts_on_several_threads_give_what_they_give_in_turn(two_threads, path):
    model, contexts, saes = several()
    side_by_side = swept(model, contexts, saes, path=path)
    torch.set_num_threads(1)
    for one, other in zip(side_by_side, swept(model, contexts, saes, path=path), strict=True):
        assert_same(one, other)


def test_a_workers_fault_reaches_the_caller_and_the_threads_are_given_back(two_threads):
    def fail(at):
        raise OutOfMemory("Too much.")

    with pytest.raises(OutOfMemory, match="Too much"), workers(2) as together:
        together(fail, range(2))
    assert torch.get_num_threads() == 2

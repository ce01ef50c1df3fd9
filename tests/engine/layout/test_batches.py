import pytest
from hypothesis import given
from hypothesis import strategies as st

from glassbox.engine.layout.batches import (
    KEYS_PER_TOKEN,
    READ_LOGITS,
    Budget,
    cut_batches,
    run_batches,
)
from glassbox.engine.layout.packing import pack_rows
from glassbox.engine.layout.trie import build_trie
from glassbox.errors import OutOfMemory

budgets = st.builds(
    Budget,
    n_tokens=st.integers(1, 200),
    n_prefix=st.integers(0, 3),
    n_reads=st.integers(1, 4),
    d_vocab=st.just(300),
)
lengths = st.lists(st.integers(4, 60), max_size=30)


@given(
    n_rows=st.integers(1, 12),
    own=st.integers(1, 9),
    n_prefix=st.integers(0, 400),
    wanted=st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=4).map(tuple), min_size=1,
                    max_size=6, unique=True),
    n_tokens=st.integers(1, 200),
    d_vocab=st.sampled_from([300, 300_000, 3_000_000]),
)  # fmt: skip
def test_a_budget_counts_what_a_pack_holds(n_rows, own, n_prefix, wanted, n_tokens, d_vocab):
    trie = build_trie(wanted)
    pack = pack_rows([(0,) * (n_prefix + own)] * n_rows, trie, n_prefix=n_prefix)
    n_keys = sum(block.n_rows * pack.block_mask(block).shape[2] for block in pack.blocks)
    budget = Budget(n_tokens, n_prefix, 1 + trie.n_nodes, d_vocab)
    assert budget.fits(n_rows, n_prefix + own) == (
        pack.tokens.size <= n_tokens
        and n_keys <= KEYS_PER_TOKEN * n_tokens
        and pack.reads.size * d_vocab <= READ_LOGITS
    )


@given(lengths, budgets)
def test_batches_hold_every_row_once_and_fit(rows, budget):
    batches = cut_batches(rows, budget)
    assert sorted(row for batch in batches for row in batch) == list(range(len(rows)))
    flat = [rows[row] for batch in batches for row in batch]
    assert flat == sorted(rows, reverse=True)
    for batch in batches:
        assert len(batch) == 1 or budget.fits(len(batch), max(rows[row] for row in batch))


@given(lengths, budgets)
def test_no_two_neighbours_would_fit_together_with_one_row_moved(rows, budget):
    batches = cut_batches(rows, budget)
    for batch in batches[:-1]:
        assert not budget.fits(len(batch) + 1, rows[batch[0]])


@given(st.lists(st.integers(1, 9), min_size=1, max_size=20), st.integers(1, 5))
def test_halving_ends_with_every_row_answered_in_order(rows, limit):
    def run(batch):
        if len(batch) > limit:
            raise MemoryError
        return [rows[row] for row in batch]

    answered = list(run_batches([list(range(len(rows)))], run))
    assert [row for batch, _ in answered for row in batch] == list(range(len(rows)))
    assert [value for _, values in answered for value in values] == rows
    assert max(len(batch) for batch, _ in answered) <= limit


def test_one_row_that_does_not_fit():
    def run(_batch):
        raise RuntimeError("MPS backend out of memory (MPS allocated: 1 GB)")

    with pytest.raises(OutOfMemory, match="smaller model"):
        list(run_batches([[0, 1]], run))

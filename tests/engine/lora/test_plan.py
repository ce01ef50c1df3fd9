"""The bookkeeping of mixed batches: every adapted token is updated once, and nobody else's is."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from glassbox.engine.lora.plan import (
    ALONE_TOKENS,
    MIN_CLASS_TOKENS,
    arrange,
    classes_of,
    shares_of,
)

rows = st.lists(st.tuples(st.integers(0, 5), st.integers(1, 9)), min_size=1, max_size=12)


def slot_of_each_token(batch) -> np.ndarray:
    return np.repeat([slot for slot, _ in batch], [n for _, n in batch])


@given(rows)
def test_each_adapter_gets_its_tokens_and_the_base_none(batch):
    slots = slot_of_each_token(batch)
    shares = shares_of(batch)
    assert [share.slot for share in shares] == sorted(set(slots) - {0})
    for share in shares:
        assert share.tokens.tolist() == np.flatnonzero(slots == share.slot).tolist()
        assert share.is_run == (np.ptp(share.tokens) == len(share.tokens) - 1)


@given(rows, st.data())
def test_a_batch_cut_down_to_its_reads_is_counted_from_its_own_start(batch, data):
    slots = slot_of_each_token(batch)
    reads = np.array(
        sorted(data.draw(st.sets(st.integers(0, len(slots) - 1), min_size=1))), dtype=np.int64
    )
    shares = shares_of(batch, reads)
    for share in shares:
        assert share.tokens.tolist() == np.flatnonzero(slots[reads] == share.slot).tolist()
    assert {share.slot for share in shares} == set(slots[reads].tolist()) - {0}


@given(
    st.lists(st.integers(1, 2 * ALONE_TOKENS), min_size=1, max_size=12).map(
        lambda lengths: [(slot + 1, n) for slot, n in enumerate(lengths)]
    )
)
def test_classes_part_the_shares_into_like_sizes(batch):
    shares = shares_of(batch)
    classes = classes_of(shares)
    assert sorted(share.slot for group in classes for share in group) == [s for s, _ in batch]
    for group in classes:
        sizes = [len(share.tokens) for share in group]
        assert len(group) == 1 or max(sizes) < ALONE_TOKENS
        assert max(sizes) <= max(MIN_CLASS_TOKENS, 2 * min(sizes))


def test_one_token_each_is_one_group_without_padding():
    shares = shares_of([(slot, 1) for slot in (3, 1, 2)])
    (group,) = classes_of(shares)
    form = arrange(group, {1: 0, 2: 1, 3: 2})
    assert (form.first, form.stop, form.width) == (0, 3, 1)
    assert form.tokens.tolist() == [1, 2, 0]
    assert form.chosen is None
    assert form.real is None


@given(rows, st.data())
def test_an_arrangement_brings_each_token_to_its_adapters_place_once(batch, data):
    shares = shares_of(batch)
    if not shares:
        return
    places = data.draw(
        st.lists(st.integers(0, 40), min_size=len(shares), max_size=len(shares), unique=True)
    )
    positions = {share.slot: place for share, place in zip(shares, places, strict=True)}
    form = arrange(shares, positions)
    used = np.arange(form.first, form.stop) if form.chosen is None else form.chosen
    assert form.tokens.shape == (len(used) * form.width,)
    real = np.arange(len(form.tokens)) if form.real is None else form.real
    slots = slot_of_each_token(batch)
    assert sorted(form.tokens[real].tolist()) == np.flatnonzero(slots).tolist()
    for index in real:
        assert used[index // form.width] == positions[slots[form.tokens[index]]]
    assert len(used) <= 2 * len(shares)

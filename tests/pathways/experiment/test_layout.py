import pytest
from hypothesis import given
from hypothesis import strategies as st

from glassbox.errors import InvalidData, TextTooLong
from glassbox.pathways.experiment.layout import lay_out
from glassbox.pathways.experiment.prompts import PromptPair

tokens = st.lists(st.integers(3, 9), min_size=0, max_size=6)
PAIR = PromptPair("0", "s", "r")


@given(tokens, tokens, tokens, tokens, st.integers(0, 3))
def test_the_span_is_all_that_differs_and_the_rest_is_shared(before, one, other, after, longer):
    both = ((1, *before, *one, *after, 2), (1, *before, *other, *after, 2))
    long = ((1, *[7] * (8 + longer), 5, 2), (1, *[7] * (8 + longer), 6, 6, 2))
    if both[0] == both[1]:
        return
    grid = lay_out([PAIR, PAIR], [both, long], context=64, places="pair")
    for number, row in enumerate((*both, *long)):
        present = grid.present[number]
        assert tuple(grid.tokens[number][present].tolist()) == row
        assert grid.positions[number][present].tolist() == list(range(len(row)))
    for pair in range(2):
        shared = [
            grid.tokens[row][grid.present[row] & ~grid.span[row]].tolist()
            for row in (2 * pair, 2 * pair + 1)
        ]
        assert shared[0] == shared[1]
    assert not grid.span[:, : grid.first_patched].any()
    assert not grid.span[:, -1].any()


def test_with_places_last_only_the_end_is_patched():
    grid = lay_out([PAIR], [((1, 4, 2), (1, 5, 6, 2))], context=8, places="last")
    assert not grid.span.any()
    assert grid.first_patched == 3


def test_prompts_that_are_too_long_or_equal_are_refused():
    with pytest.raises(TextTooLong, match="longest prompt of the experiment"):
        lay_out([PAIR], [((1, 4, 2), (1, 5, 6, 2))], context=3, places="pair")
    with pytest.raises(InvalidData, match="have the same tokens"):
        lay_out([PAIR], [((1, 4, 2), (1, 4, 2))], context=8, places="pair")

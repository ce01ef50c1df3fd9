import functools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glassbox.errors import InvalidValue, NotShippable
from glassbox.techniques.running.execution import execute, execute_map, require_plain
from glassbox.techniques.technique import TechniqueInfo, info_of, technique


def lengths_in(calls):
    @technique(batch="texts", batch_size=4, title="Lengths", paper="none")
    def lengths(model, tokenizer, texts, factor=1):
        calls.append(list(texts))
        return [factor * len(text) for text in texts]

    return lengths


INPUTS = st.lists(
    st.fixed_dictionaries(
        {"texts": st.text(max_size=3) | st.lists(st.text(max_size=3), max_size=3)},
        optional={"factor": st.integers(1, 2)},
    ),
    max_size=12,
)


@given(inputs=INPUTS)
def test_a_map_is_one_call_after_another(inputs):
    calls = []
    found = execute_map(lengths_in(calls), None, None, ((), {}), inputs)
    expected = []
    for each in inputs:
        texts, factor = each["texts"], each.get("factor", 1)
        many = [factor * len(text) for text in texts]
        expected.append(many if isinstance(texts, list) else factor * len(texts))
    assert found == expected
    assert sum(map(len, calls)) >= sum(
        len(each["texts"]) if isinstance(each["texts"], list) else 1 for each in inputs
    )


def test_equal_arguments_go_together_up_to_the_batch_size():
    calls = []
    inputs = [{"texts": "a"}] * 5 + [{"texts": "b", "factor": 2}]
    execute_map(lengths_in(calls), None, None, ((), {}), inputs)
    assert calls == [["a"] * 4, ["a"], ["b"]]


def test_something_is_called_between_calls():
    between = []
    found = execute_map(
        lambda model, tokenizer, x: x, None, None, ((), {}), [{"x": 1}, {"x": 2}, {"x": 3}],
        between=lambda: between.append(1),
    )  # fmt: skip
    assert found == [1, 2, 3]
    assert len(between) == 2


def test_the_input_of_a_batch_that_fails_is_found():
    @technique(batch="xs")
    def invert(model, tokenizer, xs):
        return [1 / x for x in xs]

    with pytest.raises(ZeroDivisionError, match="division by zero") as caught:
        execute_map(invert, None, None, ((), {}), [{"xs": x} for x in (1, 2, 0, 3)])
    assert caught.value.__notes__ == [
        "in input 2 of 4 (counted from 0). A map answers all inputs or none: leave this one out, "
        "or catch the error in the technique and return what stands for it."
    ]


def test_what_the_technique_does_not_take_is_refused_before_anything_runs():
    called = []

    def own(model, tokenizer, text, *, top=3):
        called.append(text)

    inputs = [{"text": "a"}, {"text": "b", "tpo": 2}]
    words = (
        r"own does not take input 1 of 2 \(counted from 0\): got an unexpected keyword argument "
        r"'tpo'\. It takes text, top\. No input has run\."
    )
    with pytest.raises(TypeError, match=words):
        execute_map(own, None, None, ((), {}), inputs)
    with pytest.raises(TypeError, match=r"input 0 of 1 .* missing a required argument: 'text'"):
        execute_map(own, None, None, ((), {}), [{}])
    assert called == []


def test_a_wrapper_may_take_what_it_wraps_does_not():
    def own(model, tokenizer, text):
        return text

    @functools.wraps(own)
    def wrapper(model, tokenizer, extra, **more):
        return extra + own(model, tokenizer, **more)

    found = execute_map(wrapper, None, None, ((), {}), [{"text": "a", "extra": "x"}])
    assert found == ["xa"]


def test_what_shows_no_signature_is_called():
    with pytest.raises(TypeError, match="'int' object is not callable"):
        execute_map(max, None, None, ((), {"key": 1}), [{}])


def test_an_answer_of_another_length_is_refused():
    @technique(batch="xs")
    def drops(model, tokenizer, xs):
        return xs[:1]

    with pytest.raises(InvalidValue, match="one value for each of the 3 items") as caught:
        execute_map(drops, None, None, ((), {}), [{"xs": x} for x in (1, 2, 3)])
    assert "in inputs 0 to 2 together" in caught.value.__notes__[0]


def test_what_is_known_of_a_technique_is_noted_on_it():
    assert info_of(lengths_in([])) == TechniqueInfo("texts", 4, "Lengths", "none")
    assert info_of(len) == TechniqueInfo()
    with pytest.raises(InvalidValue, match="batch_size"):
        technique(batch_size=0)


def test_what_would_have_to_be_awaited_is_refused():
    async def later(model, tokenizer):
        return 1

    async def later_bit_by_bit(model, tokenizer):
        yield 1

    def bit_by_bit(model, tokenizer):
        yield 1

    for function in (later, later_bit_by_bit):
        with pytest.raises(NotShippable, match="is an async function"):
            require_plain(function)
    with pytest.raises(NotShippable, match="is a generator function"):
        require_plain(bit_by_bit)
    with pytest.raises(NotShippable, match="returned a coroutine"):
        execute(lambda model, tokenizer: later(model, tokenizer), None, None, (), {})
    with pytest.raises(NotShippable, match="returned a generator"):
        execute(lambda model, tokenizer: (n for n in range(3)), None, None, (), {})

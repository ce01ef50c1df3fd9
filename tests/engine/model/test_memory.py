import pytest

from glassbox.engine.model.memory import running_out_named, within_memory
from glassbox.errors import OutOfMemory


def test_less_is_to_be_tried_where_more_than_one_did_not_fit():
    def run(n):
        if n > 2:
            raise MemoryError
        return n

    assert within_memory(lambda: run(2), n=2, too_much=str) == 2
    assert within_memory(lambda: run(3), n=3, too_much=str) is None


def test_running_out_is_said_in_the_callers_words_and_keeps_its_cause():
    cause = RuntimeError("MPS backend out of memory (MPS allocated: 1 GB)")
    with (
        pytest.raises(OutOfMemory, match="Shorten the text") as caught,
        running_out_named(lambda: "Shorten the text."),
    ):
        raise cause
    assert caught.value.__cause__ is cause


@pytest.mark.parametrize("error", [RuntimeError("shapes"), OSError("gone"), KeyError("name")])
def test_other_errors_are_raised_as_they_are(error):
    with pytest.raises(type(error)) as caught, running_out_named(lambda: "too much"):
        raise error
    assert caught.value is error

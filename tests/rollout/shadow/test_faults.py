"""What a failure is called: its class, never its words."""

import pytest

from glassbox.errors import IntegrityError
from glassbox.rollout.shadow.faults import UNNAMED, fault_named, fault_of


def test_the_class_is_that_of_what_was_raised_first():
    error = IntegrityError("predict raised KeyError: 'the words of a caller'")
    error.__cause__ = KeyError("the words of a caller")
    assert fault_of(error) == "KeyError"
    assert fault_of(ZeroDivisionError("by nothing")) == "ZeroDivisionError"


@pytest.mark.parametrize("told", [None, 7, "the words of a caller", "x" * 81, ""])
def test_what_is_no_name_of_a_class_is_not_repeated(told):
    assert fault_named(told) == UNNAMED
    assert fault_named("KeyError") == "KeyError"

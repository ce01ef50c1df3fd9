"""Errors keep their words and what they know wherever they go."""

import copy
import inspect
import pickle
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context

import numpy as np
import pytest

from glassbox import choose_threshold, errors
from glassbox.errors import (
    BY_CODE,
    CorruptArtifact,
    DependencyMissing,
    GlassboxError,
    InvalidData,
    InvalidSetting,
    InvalidValue,
    NotEnoughData,
    NotShipped,
    QueueFull,
    TextTooLong,
    UnknownName,
    UsageError,
)

ERRORS = [
    GlassboxError("words"),
    UsageError(),
    UnknownName("model", "x", ["y"], remedy="Choose."),
    InvalidValue("share", 5, "a fraction"),
    InvalidSetting("key", "file", ["keys"]),
    InvalidData("bad", source="rows.csv", line=3),
    NotEnoughData("This", 1, 2),
    TextTooLong(5, 3, which="prompt"),
    NotShipped("0123456789abcdef"),
    QueueFull(3, 1.5),
    CorruptArtifact("place", "torn", remedy="Restore it."),
    DependencyMissing("ray", "ray"),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize(
    "carry", [copy.copy, copy.deepcopy, lambda e: pickle.loads(pickle.dumps(e))]
)
def test_a_copy_says_and_knows_the_same(error, carry):
    error.add_note("seen twice")
    again = carry(error)
    assert type(again) is type(error)
    assert (str(again), again.args, vars(again)) == (str(error), error.args, vars(error))


def test_of_thousands_of_known_names_a_message_lists_some_and_the_closest():
    error = UnknownName("version", "v7770x", [f"v{number}" for number in range(10_000)])
    assert str(error).endswith("v18, v19 and 9,980 more. Did you mean 'v7770'?")
    assert len(str(error)) < 250
    assert len(error.known) == 10_000


def test_each_class_of_the_tree_has_a_code_of_its_own():
    tree = {each for _, each in inspect.getmembers(errors, inspect.isclass)}
    tree = {each for each in tree if issubclass(each, GlassboxError)}
    assert set(BY_CODE.values()) == tree
    assert all("code" in vars(each) for each in tree)


def test_a_process_pool_outlives_an_error():
    choose = partial(choose_threshold, np.array([0.9]), np.array([True]))
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        with pytest.raises(InvalidValue, match="max_error is 5") as refused:
            pool.submit(choose, max_error=5).result()
        assert refused.value.value == 5
        assert pool.submit(len, "abc").result() == 3

import sys
from collections import OrderedDict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glassbox.engine.model import watched
from glassbox.engine.model.watched import Watch


class Bag:
    """Anything with attributes."""


def beside_an_object(kind):
    return lambda content: (Bag(), kind(content))


def held_in_an_object(content):
    bag = Bag()
    for key, value in content.items():
        setattr(bag, key, value)
    return bag, vars(bag)


WRITES = {
    "set": lambda _bag, own, key: own.__setitem__(key, object()),
    "set default": lambda _bag, own, key: own.setdefault(key, object()),
    "delete": lambda _bag, own, key: own.pop(key, None),
    "update": lambda _bag, own, key: own.update({key: object()}),
    "merge": lambda _bag, own, key: own.__ior__({key: object()}),
    "clear": lambda _bag, own, _key: own.clear(),
    "pop one": lambda _bag, own, _key: own.popitem() if own else None,
    "same again": lambda _bag, own, key: own.__setitem__(key, own[key]) if key in own else None,
    "another key": lambda _bag, own, _key: own.update({0: own.pop(0, None)}),
    "set attribute": lambda bag, _own, key: setattr(bag, key, object()),
    "delete attribute": lambda bag, _own, key: delattr(bag, key) if hasattr(bag, key) else None,
}

KINDS = [beside_an_object(dict), beside_an_object(OrderedDict), held_in_an_object]

CONTENTS = st.dictionaries(st.sampled_from("abcd"), st.integers(), max_size=4)


@given(
    made=st.lists(st.tuples(st.sampled_from(KINDS), CONTENTS), min_size=1, max_size=8),
    rounds=st.lists(
        st.lists(
            st.tuples(st.integers(0, 7), st.sampled_from(sorted(WRITES)), st.sampled_from("abcd")),
            max_size=4,
        ),
        max_size=4,
    ),
    is_known=st.booleans(),
)
def test_nothing_that_differs_is_missed(made, rounds, is_known):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(watched, "IS_KNOWN", watched.IS_KNOWN and is_known)
        bags, tables = zip(*(kind(content) for kind, content in made), strict=True)
        watch = Watch(tables)
        for writes in rounds:
            before = [list(table.items()) for table in tables]
            touched = set()
            for index, how, key in writes:
                place = index % len(tables)
                WRITES[how](bags[place], tables[place], key)
                touched.add(place)
            found = set(watch.written())
            differing = {
                index
                for index, (table, items) in enumerate(zip(tables, before, strict=True))
                if list(table.items()) != items
            }
            assert differing <= found
            assert touched or not found
            watch.settle()
            assert not watch.written()


def test_attributes_set_by_a_loop_that_the_interpreter_has_made_fast_are_seen():
    bags = [Bag() for _ in range(3)]
    for bag in bags:
        bag.value = 0
    watch = Watch([vars(bag) for bag in bags])

    def count(bag):
        for step in range(1, 5000):
            bag.value = step

    for index, bag in enumerate(bags):
        count(bag)
        assert index in watch.written()
        watch.settle()


def test_what_was_written_stays_written_until_it_is_settled():
    table = {}
    watch = Watch([table])
    table["hook"] = 1
    assert list(watch.written()) == list(watch.written()) == [0]
    watch.settle()
    table.clear()
    assert list(watch.written()) == [0]


def test_no_dictionaries_are_never_written_to():
    assert list(Watch([]).written()) == []


@pytest.mark.skipif(
    sys.implementation.name != "cpython" or sys.version_info >= (3, 14),
    reason="this Python keeps no numbers of its dictionaries' changes",
)
def test_this_python_tells_which_of_many_was_written_to():
    assert watched.IS_KNOWN
    tables = [{} for _ in range(3)]
    watch = Watch(tables)
    tables[1]["hook"] = 1
    assert list(watch.written()) == [1]

"""Many objects are told apart at once as ``is`` tells two apart."""

from hypothesis import given
from hypothesis import strategies as st

from glassbox.engine.model import identity
from glassbox.engine.model.identity import addresses

POOL = [1, True, 1.0, "a", (), object(), [], [], {}, {}]
OBJECTS = st.lists(st.sampled_from(range(len(POOL))), max_size=12).map(
    lambda places: tuple(POOL[place] for place in places)
)


@given(OBJECTS, OBJECTS)
def test_equal_addresses_are_the_same_objects_in_the_same_order(some, others):
    are_same = len(some) == len(others) and all(map(lambda a, b: a is b, some, others))
    assert (addresses(some) == addresses(others)) == are_same
    assert addresses(some) == addresses((*some,))


@given(OBJECTS)
def test_reading_a_tuple_gives_what_asking_each_object_gives(objects):
    assert identity._IS_KNOWN
    assert addresses(objects) == identity._asked(objects)

from dataclasses import dataclass
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glassbox.errors import QueueFull
from glassbox.techniques.running.line import CallerLine


@dataclass(frozen=True)
class Asked:
    number: int
    caller: str
    session: str | None = None


def filled(callers, capacity=1000):
    line = CallerLine(capacity)
    jobs = [Asked(number, caller) for number, caller in enumerate(callers)]
    for job in jobs:
        line.add(job, retry_after_s=1)
    return line, jobs


def drained(line):
    taken = []
    while (job := line.take()) is not None:
        taken.append(job)
    return taken


@given(callers=st.lists(st.sampled_from("abc"), max_size=30))
def test_all_are_taken_once_and_each_caller_in_order(callers):
    line, jobs = filled(callers)
    taken = drained(line)
    assert sorted(taken, key=lambda job: job.number) == jobs
    for caller in "abc":
        own = [job.number for job in taken if job.caller == caller]
        assert own == sorted(own)


@given(callers=st.lists(st.sampled_from("abc"), min_size=1, max_size=30))
def test_nobody_waits_for_more_than_one_of_each_other_caller_between_two_of_their_own(callers):
    line, _ = filled(callers)
    taken = [job.caller for job in drained(line)]
    for caller in set(callers):
        places = [at for at, each in enumerate(taken) if each == caller]
        for first, second in pairwise(places):
            between = taken[first + 1 : second]
            assert len(between) == len(set(between))


@given(callers=st.lists(st.sampled_from("abc"), min_size=1, max_size=20))
def test_the_position_is_how_many_are_taken_before(callers):
    line, jobs = filled(callers)
    expected = {job: line.position(job) for job in jobs}
    assert {job: at for at, job in enumerate(drained(line))} == expected


def test_a_session_goes_first_and_others_stay():
    line = CallerLine(10)
    first, own = Asked(0, "a"), Asked(1, "b", "s")
    for job in (first, own):
        line.add(job, retry_after_s=1)
    assert line.position(first, "s") == 1
    assert line.take("s") is own
    assert line.take("s") is None
    assert line.take() is first


def test_the_line_is_bounded_and_whoever_leaves_makes_room():
    line, jobs = filled("ab", capacity=2)
    with pytest.raises(QueueFull, match="about 7 s"):
        line.add(Asked(9, "a"), retry_after_s=7)
    assert line.remove(jobs[0])
    assert not line.remove(jobs[0])
    assert line.position(jobs[0]) == 0
    line.add(Asked(9, "a"), retry_after_s=7)
    assert len(line) == 2

"""One call for all who ask at once; whose fault it is decides who hears of it."""

import threading

import pytest

from glassbox.engine.lora.single_flight import SingleFlight
from glassbox.errors import CapacityError
from tests.waiting import PATIENCE_S, until


def at_once(n: int, call) -> list[object]:
    """Return what ``n`` calls at once returned or raised."""
    outcomes: list[object] = []
    start = threading.Barrier(n)

    def run() -> None:
        start.wait()
        try:
            outcomes.append(call())
        except (CapacityError, RuntimeError) as error:
            outcomes.append(error)

    threads = [threading.Thread(target=run) for _ in range(n)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
        assert not thread.is_alive()
    return outcomes


class Key(str):
    """Counts how often it was looked for: by each who asks, and when a call has ended."""

    n_looks = 0

    def __hash__(self) -> int:
        self.n_looks += 1
        return super().__hash__()


class Calls:
    """Counts calls, each of which lasts until its key was looked for so many times."""

    def __init__(
        self, key: Key, *n_looks: int, fault: Exception | None = None, n_faults: int = 1
    ) -> None:
        self.n = 0
        self._key, self._n_looks = key, n_looks
        self._fault, self._n_faults = fault, n_faults

    def __call__(self) -> int:
        self.n += 1
        number = self.n
        if number <= len(self._n_looks):
            until(lambda: self._key.n_looks >= self._n_looks[number - 1])
        if self._fault is not None and number <= self._n_faults:
            raise self._fault
        return number


def test_all_who_ask_at_once_get_the_one_answer_and_the_next_a_new_one():
    flight: SingleFlight[str, int] = SingleFlight()
    key = Key("a")
    calls = Calls(key, 6)
    assert at_once(6, lambda: flight.run(key, calls)) == [1] * 6
    assert flight.run(key, calls) == 2


def test_other_keys_wait_for_nobody():
    flight: SingleFlight[str, int] = SingleFlight()
    assert flight.run("a", lambda: flight.run("b", lambda: 1)) == 1


def test_an_error_of_ours_is_everybodys_and_is_not_kept():
    flight: SingleFlight[str, int] = SingleFlight()
    key = Key("a")
    calls = Calls(key, 4, fault=CapacityError("busy"))
    outcomes = at_once(4, lambda: flight.run(key, calls))
    assert all(isinstance(each, CapacityError) for each in outcomes)
    assert flight.run(key, calls) == 2


def test_a_fault_of_a_callers_own_ends_that_one_alone():
    flight: SingleFlight[str, int] = SingleFlight()
    key = Key("a")
    # All four ask, the first call ends, and the other three ask again.
    calls = Calls(key, 4, 4 + 1 + 3, fault=RuntimeError("a bug"))
    outcomes = at_once(4, lambda: flight.run(key, calls))
    assert sum(isinstance(each, RuntimeError) for each in outcomes) == 1
    assert outcomes.count(2) == 3
    with pytest.raises(KeyboardInterrupt):
        flight.run(key, lambda: (_ for _ in ()).throw(KeyboardInterrupt()))
    assert flight.run(key, calls) == 3

"""One call for all who ask at once; whose fault it is decides who hears of it."""

import threading
import time

import pytest

from glassbox.engine.lora.single_flight import SingleFlight
from glassbox.errors import CapacityError


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
        thread.join(20)
        assert not thread.is_alive()
    return outcomes


class Calls:
    """Counts calls, each of which takes a moment."""

    def __init__(self, fault: Exception | None = None, n_faults: int = 99) -> None:
        self.n = 0
        self._fault, self._n_faults = fault, n_faults

    def __call__(self) -> int:
        self.n += 1
        number = self.n
        time.sleep(0.05)
        if self._fault is not None and number <= self._n_faults:
            raise self._fault
        return number


def test_all_who_ask_at_once_get_the_one_answer_and_the_next_a_new_one():
    flight: SingleFlight[str, int] = SingleFlight()
    calls = Calls()
    assert at_once(6, lambda: flight.run("a", calls)) == [1] * 6
    assert flight.run("a", calls) == 2


def test_other_keys_wait_for_nobody():
    flight: SingleFlight[str, int] = SingleFlight()
    assert flight.run("a", lambda: flight.run("b", Calls())) == 1


def test_an_error_of_ours_is_everybodys_and_is_not_kept():
    flight: SingleFlight[str, int] = SingleFlight()
    calls = Calls(CapacityError("busy"), n_faults=1)
    outcomes = at_once(4, lambda: flight.run("a", calls))
    assert all(isinstance(each, CapacityError) for each in outcomes)
    assert flight.run("a", calls) == 2


def test_a_fault_of_a_callers_own_ends_that_one_alone():
    flight: SingleFlight[str, int] = SingleFlight()
    calls = Calls(RuntimeError("a bug"), n_faults=1)
    outcomes = at_once(4, lambda: flight.run("a", calls))
    assert sum(isinstance(each, RuntimeError) for each in outcomes) == 1
    assert outcomes.count(2) == 3
    with pytest.raises(KeyboardInterrupt):
        flight.run("a", lambda: (_ for _ in ()).throw(KeyboardInterrupt()))
    assert flight.run("a", calls) == 3

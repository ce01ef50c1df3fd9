"""Who waits for room on a full device is served in order, and steady traffic keeps nobody out."""

import threading
import time
from collections.abc import Callable

import pytest

from glassbox.engine.lora.leases import Lease
from glassbox.errors import CapacityError
from tests.engine.adapter_world import A, C, D, E, F, World, world_with
from tests.waiting import PATIENCE_S


def wait_until(happened: Callable[[], object]) -> None:
    """Return once something happened on another thread; that takes moments or is a fault."""
    until = time.monotonic() + PATIENCE_S
    while not happened():
        assert time.monotonic() < until
        time.sleep(0.001)


class SteadyTraffic:
    """Keeps an adapter pinned: each lease begins before the one before it ends."""

    def __init__(self, world: World, name: str) -> None:
        self.world, self.name = world, name
        self.n_leases = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        tiers = self.world.tiers
        held = tiers.acquire(self.name, timeout_s=PATIENCE_S)
        while not self._ended.wait(0.002):
            following = tiers.acquire_now(self.name)
            if following is None:
                # What runs ends; the next one asks anew, as rows in line do.
                tiers.release(held)
                following = tiers.acquire(self.name, timeout_s=PATIENCE_S)
            else:
                tiers.release(held)
            held = following
            self.n_leases += 1
        tiers.release(held)

    def __enter__(self) -> "SteadyTraffic":
        self._thread.start()
        wait_until(lambda: self.n_leases)
        return self

    def __exit__(self, *_error: object) -> None:
        self._ended.set()
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()


def test_a_full_device_makes_the_next_wait_until_a_lease_ends():
    world = world_with(E, D, C)
    held = world.tiers.acquire("e", timeout_s=0)
    world.tiers.acquire("d", timeout_s=0)
    with pytest.raises(CapacityError, match=r"No room on the device.*2 adapters in use"):
        world.tiers.acquire("c", timeout_s=0.02)
    assert world.tier("e") == "device"
    timer = threading.Timer(0.05, world.tiers.release, [held])
    timer.start()
    lease = world.tiers.acquire("c", timeout_s=PATIENCE_S)
    timer.join()
    assert world.tiers.on_device(lease.slot).digest == C
    assert world.tier("e") != "device"


def test_steady_traffic_on_one_adapter_keeps_no_other_out():
    world = world_with(D, E, device=5)
    with SteadyTraffic(world, "d") as traffic:
        for _ in range(3):
            world.tiers.release(world.tiers.acquire("e", timeout_s=PATIENCE_S))
        n_before = traffic.n_leases
        wait_until(lambda: traffic.n_leases > n_before)


def test_who_waits_is_served_in_order_and_small_ones_do_not_slip_past_a_large_one():
    world = world_with(F, E, A)
    held = world.tiers.acquire("e", timeout_s=0)
    served: list[str] = []

    def ask(name: str) -> None:
        lease = world.tiers.acquire(name, timeout_s=PATIENCE_S)
        served.append(name)
        world.tiers.release(lease)

    threads = []
    for name in "fae":
        threads.append(threading.Thread(target=ask, args=[name]))
        threads[-1].start()
        wait_until(lambda: len(world.tiers._line) == len(threads))
    assert world.tiers.acquire_now("e") is None
    assert served == []
    world.tiers.release(held)
    for thread in threads:
        thread.join(PATIENCE_S)
        assert not thread.is_alive()
    assert served[0] == "f"
    assert sorted(served) == ["a", "e", "f"]
    assert not world.tiers._line


def test_who_lost_patience_behind_others_still_gets_what_is_there():
    world = world_with(E, F)
    held = world.tiers.acquire("e", timeout_s=0)
    other = threading.Thread(
        target=lambda: world.tiers.release(world.tiers.acquire("f", timeout_s=PATIENCE_S))
    )
    other.start()
    wait_until(lambda: world.tiers._line)
    begun = time.monotonic()
    again = world.tiers.acquire("e", timeout_s=0.05)
    assert time.monotonic() - begun >= 0.05
    assert again.slot == held.slot
    for lease in (held, again):
        world.tiers.release(lease)
    other.join(PATIENCE_S)
    assert not other.is_alive()


def test_an_adapter_unloaded_while_somebody_waits_in_line_for_it_is_still_served():
    world = world_with(E, F)
    held = world.tiers.acquire("e", timeout_s=0)
    leases: list[Lease] = []

    def ask(name: str) -> None:
        leases.append(world.tiers.acquire(name, timeout_s=PATIENCE_S))

    threads = [threading.Thread(target=ask, args=[name]) for name in "fe"]
    for n, thread in enumerate(threads, start=1):
        thread.start()
        wait_until(lambda n=n: len(world.tiers._line) == n)
    world.tiers.unregister("e", timeout_s=0)
    world.tiers.release(held)
    threads[0].join(PATIENCE_S)
    assert leases[0].digest == F
    world.tiers.release(leases[0])
    threads[1].join(PATIENCE_S)
    assert leases[1].digest == E
    world.tiers.release(leases[1])
    assert world.tiers.device_bytes == 0
    assert [info.name for info in world.tiers.infos()] == ["f"]

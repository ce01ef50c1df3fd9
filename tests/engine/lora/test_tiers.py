"""Where adapters are: budgets hold, pins hold, the least recently used goes, loads are shared."""

import threading
import time

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from glassbox.engine.lora.leases import BASE_LEASE, Claim, Lease
from glassbox.errors import (
    CapacityError,
    ConflictError,
    CorruptArtifact,
    InvalidValue,
    OutOfMemory,
    UnknownName,
)
from tests.engine.adapter_world import (
    DEVICE,
    HOST,
    SIZES,
    A,
    B,
    C,
    D,
    E,
    F,
    Fake,
    World,
    world_with,
)
from tests.waiting import PATIENCE_S


class TiersAgainstModel(RuleBasedStateMachine):
    """A slow model: lists in order of use, evicted from the front when pins allow."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.names: dict[str, str] = {}
        self.host: list[str] = []
        self.device: list[str] = []
        self.leases: list[Lease] = []
        self.claims: list[tuple[Claim, str]] = []
        self.ended: list[Lease | Claim] = []

    @property
    def known(self) -> set[str]:
        return set(self.names.values())

    def pinned(self, digest: str) -> bool:
        return any(lease.digest == digest for lease in self.leases)

    def claimed(self, digest: str) -> bool:
        return any(each == digest for _, each in self.claims)

    def keep(self, digest: str) -> None:
        if digest in self.host or SIZES[digest] > HOST:
            return
        while sum(SIZES[each] for each in self.host) + SIZES[digest] > HOST:
            self.host.pop(0)
        self.host.append(digest)

    def forget_unwanted(self) -> None:
        for tier in (self.host, self.device):
            tier[:] = [
                each
                for each in tier
                if each in self.known or self.pinned(each) or self.claimed(each)
            ]

    @rule(name=st.sampled_from("uvwxyz"), digest=st.sampled_from(list(SIZES)))
    def register(self, name: str, digest: str) -> None:
        if self.names.get(name, digest) != digest:
            with pytest.raises(ConflictError, match="belongs to adapter"):
                self.world.register(name, digest)
            return
        self.world.register(name, digest)
        self.names[name] = digest
        self.keep(digest)

    @precondition(lambda self: self.names)
    @rule(data=st.data(), by_digest=st.booleans())
    def unregister(self, data: st.DataObject, by_digest: bool) -> None:
        name = data.draw(st.sampled_from(sorted(self.names)))
        digest = self.names[name]
        gone = [
            each for each, of in self.names.items() if each == name or (by_digest and of == digest)
        ]
        for each in gone:
            del self.names[each]
        free = digest in self.known or not (self.pinned(digest) or self.claimed(digest))
        assert self.world.tiers.unregister(digest if by_digest else name, timeout_s=0) == free
        self.forget_unwanted()

    @rule(data=st.data())
    def claim(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from([*sorted(self.names), *SIZES, "nobody"]))
        digest = self.names.get(name, name)
        if digest not in self.known:
            with pytest.raises(UnknownName, match="No adapter"):
                self.world.tiers.claim(name)
            return
        self.claims.append((self.world.tiers.claim(name), digest))

    @precondition(lambda self: self.claims)
    @rule(data=st.data())
    def let_go(self, data: st.DataObject) -> None:
        number = data.draw(st.integers(0, len(self.claims) - 1))
        claim, _ = self.claims.pop(number)
        self.ended.append(claim)
        self.world.tiers.release(claim)
        self.forget_unwanted()

    @rule(data=st.data())
    def acquire(self, data: st.DataObject) -> None:
        claimed = dict(self.claims)
        name = data.draw(st.sampled_from([*sorted(self.names), *SIZES, "nobody", *claimed]))
        digest = claimed[name] if name in claimed else self.names.get(name, name)
        if digest not in self.known and name not in claimed:
            with pytest.raises(UnknownName, match="No adapter"):
                self.world.tiers.acquire(name, timeout_s=0)
            return
        at_once = self.world.tiers.acquire_now(name)
        assert (at_once is not None) == (digest in self.device)
        if at_once is not None:
            self.world.tiers.release(at_once)
        if digest not in self.device:
            # The host copy is used, or made, before there is room on the device.
            if digest in self.host:
                self.host.remove(digest)
                self.host.append(digest)
            self.keep(digest)
            stuck = sum(SIZES[each] for each in self.device if self.pinned(each))
            if stuck + SIZES[digest] > DEVICE:
                with pytest.raises(CapacityError, match=r"adapters? in use fills? the 9 bytes"):
                    self.world.tiers.acquire(name, timeout_s=0)
                return
            while sum(SIZES[each] for each in self.device) + SIZES[digest] > DEVICE:
                self.device.remove(next(each for each in self.device if not self.pinned(each)))
        else:
            self.device.remove(digest)
        self.device.append(digest)
        lease = self.world.tiers.acquire(name, timeout_s=0)
        assert lease.digest == digest
        self.leases.append(lease)

    @precondition(lambda self: self.leases)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        lease = data.draw(st.sampled_from(self.leases))
        self.leases.remove(lease)
        self.ended.append(lease)
        self.world.tiers.release(lease)
        self.forget_unwanted()

    @precondition(lambda self: self.ended)
    @rule()
    def release_again(self) -> None:
        self.world.tiers.release(self.ended[-1])

    @invariant()
    def it_is_as_the_model_says(self) -> None:
        tiers = self.world.tiers
        for info in tiers.infos():
            expected = (
                "device"
                if info.digest in self.device
                else "host"
                if info.digest in self.host
                else "disk"
            )
            assert (self.names[info.name], info.tier) == (info.digest, expected)
        assert [info.name for info in tiers.infos()] == sorted(self.names)
        assert tiers.host_bytes == sum(SIZES[each] for each in self.host) <= HOST
        assert tiers.device_bytes == sum(SIZES[each] for each in self.device) <= DEVICE

    @invariant()
    def leased_slots_hold_their_adapter_and_no_two_share_one(self) -> None:
        by_slot = {lease.slot: lease.digest for lease in self.leases}
        assert len({lease.digest for lease in self.leases}) == len(by_slot)
        for lease in self.leases:
            assert self.world.tiers.on_device(lease.slot).digest == lease.digest


TestTiersAgainstModel = TiersAgainstModel.TestCase
TestTiersAgainstModel.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


def test_a_digest_is_a_name_but_its_beginning_is_none():
    world = world_with(A)
    assert world.tiers.acquire(A, timeout_s=0).digest == A
    with pytest.raises(UnknownName, match=r"No adapter 'a0000000'.*Give the whole digest"):
        world.tiers.acquire(A[:8], timeout_s=0)


def test_a_name_may_not_be_anothers_digest():
    world = world_with(A)
    with pytest.raises(ConflictError, match="belongs to adapter a00"):
        world.register(A, B)
    world = World()
    world.register(B, A)
    with pytest.raises(ConflictError, match="belongs to adapter a00"):
        world.register("b", B)


def test_what_is_on_the_device_is_had_at_once_and_nothing_is_read_or_moved_for_it():
    world = world_with(A, E)
    assert world.tiers.acquire_now("nobody") is None
    assert world.tier("e") == "host"
    assert world.tiers.acquire_now("e") is None
    assert world.tier("e") == "host"
    lease = world.tiers.acquire("e", timeout_s=0)
    assert world.tiers.acquire_now(E).slot == lease.slot
    assert world.tiers.acquire_now(world.tiers.claim("e")).slot == lease.slot
    world.tiers.unregister("e", timeout_s=0)
    assert world.tiers.acquire_now("e") is None


def test_an_adapter_evicted_at_the_last_moment_is_not_read_by_who_cannot_wait():
    """Between a look at where it is and taking it nothing may happen to it."""
    world = world_with(A, host=0)
    world.tiers.release(world.tiers.acquire("a", timeout_s=0))
    assert world.read[A] == 1

    def look_away(*_args: object, **_options: object) -> None:
        raise AssertionError("who cannot wait went where waiting happens")

    world.before_read = look_away
    world.tiers.acquire = look_away
    assert world.tiers.acquire_now("a").digest == A


def test_a_claim_outlives_the_names_and_gets_what_it_was_made_for():
    world = world_with(A, host=0)
    claim = world.tiers.claim("a")
    assert world.tier("a") == "disk"
    assert not world.tiers.unregister("a", timeout_s=0)
    with pytest.raises(UnknownName, match="No adapter 'a'"):
        world.tiers.claim("a")
    world.register("a", B)
    lease = world.tiers.acquire(claim, timeout_s=0)
    assert lease.digest == A
    world.tiers.release(claim)
    assert world.tiers.on_device(lease.slot).digest == A
    world.tiers.release(lease)
    assert world.tiers.device_bytes == 0
    assert [info.digest for info in world.tiers.infos()] == [B]


def test_unloading_waits_for_claims_too():
    world = world_with(A)
    claim = world.tiers.claim("a")
    timer = threading.Timer(0.05, world.tiers.release, [claim])
    timer.start()
    assert world.tiers.unregister("a", timeout_s=PATIENCE_S)
    timer.join()


def test_who_closes_gets_the_memory_back_and_running_requests_keep_their_adapter():
    world = world_with(A, C, D, host=9)
    lease = world.tiers.acquire("a", timeout_s=0)
    claim = world.tiers.claim("c")
    world.tiers.release(world.tiers.acquire("d", timeout_s=0))
    world.tiers.close()
    assert world.tiers.infos() == ()
    assert world.tiers.device_bytes == SIZES[A]
    assert world.tiers.host_bytes == SIZES[A] + SIZES[C]
    assert world.tiers.on_device(lease.slot).digest == A
    for ask in (
        world.tiers.claim,
        lambda name: world.tiers.acquire(name, timeout_s=0),
        lambda name: world.register(name, A),
    ):
        with pytest.raises(ConflictError, match="The engine is closed"):
            ask("a")
    assert world.tiers.acquire_now("a") is None
    world.tiers.release(lease)
    world.tiers.release(claim)
    assert world.tiers.device_bytes == world.tiers.host_bytes == 0
    world.tiers.close()


def test_what_never_fits_is_refused_at_once():
    with pytest.raises(CapacityError, match=r"takes 9 bytes.*may take 8.*adapter_device_bytes"):
        world_with(F, device=8)
    with pytest.raises(InvalidValue, match="adapter host bytes is -1"):
        World(host=-1)


def test_releasing_the_base_does_nothing():
    World().tiers.release(BASE_LEASE)


def test_a_slot_whose_lease_has_ended_holds_nothing_once_it_was_evicted():
    world = world_with(E, D, A)
    lease = world.tiers.acquire("e", timeout_s=0)
    world.tiers.release(lease)
    assert world.tiers.on_device(lease.slot).digest == E
    world.tiers.acquire("d", timeout_s=0)
    world.tiers.acquire("a", timeout_s=0)
    assert world.dropped == [lease.slot]
    with pytest.raises(ConflictError, match="Adapter slot 1 holds nothing"):
        world.tiers.on_device(lease.slot)
    assert world.tiers.acquire("a", timeout_s=0).slot != lease.slot


def in_threads(n: int, call) -> list[object]:
    """Return what ``n`` calls at once returned or raised."""
    outcomes: list[object] = []
    start = threading.Barrier(n)

    def run() -> None:
        start.wait()
        try:
            outcomes.append(call())
        except (CapacityError, CorruptArtifact, RuntimeError) as error:
            outcomes.append(error)

    threads = [threading.Thread(target=run) for _ in range(n)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
        assert not thread.is_alive()
    return outcomes


def test_many_who_ask_at_once_share_one_load():
    world = world_with(A, host=0)
    world.before_read = lambda _digest: time.sleep(0.05)
    leases = in_threads(8, lambda: world.tiers.acquire("a", timeout_s=PATIENCE_S))
    assert world.read[A] == 1
    assert len({lease.slot for lease in leases}) == 1
    assert len({lease.number for lease in leases}) == 8


def test_who_shares_a_load_shares_its_failure_and_the_next_tries_again():
    world = world_with(A, host=0)
    broken = [True]

    def before(_digest: str) -> None:
        time.sleep(0.05)
        if broken[0]:
            raise CorruptArtifact("somewhere", "truncated")

    world.before_read = before
    outcomes = in_threads(4, lambda: world.tiers.acquire("a", timeout_s=PATIENCE_S))
    assert all(isinstance(each, CorruptArtifact) for each in outcomes)
    assert world.tiers.device_bytes == 0
    broken[0] = False
    assert world.tiers.acquire("a", timeout_s=0).digest == A


def test_a_foreign_error_ends_its_own_caller_and_another_takes_over():
    world = world_with(A, host=0)
    n_read = [0]

    def before(_digest: str) -> None:
        n_read[0] += 1
        time.sleep(0.02)
        if n_read[0] == 1:
            raise RuntimeError("a bug")

    world.before_read = before
    outcomes = in_threads(3, lambda: world.tiers.acquire("a", timeout_s=PATIENCE_S))
    assert sum(isinstance(each, RuntimeError) for each in outcomes) == 1
    assert n_read == [2]


def test_unloading_waits_for_the_last_request_and_refuses_new_ones_meanwhile():
    world = world_with(A)
    lease = world.tiers.acquire("a", timeout_s=0)
    assert not world.tiers.unregister("a", timeout_s=0)
    with pytest.raises(UnknownName, match="No adapter 'a'"):
        world.tiers.acquire("a", timeout_s=0)
    assert world.tiers.on_device(lease.slot).digest == A
    world.tiers.release(lease)
    assert world.tiers.device_bytes == world.tiers.host_bytes == 0
    world.register("a", A)
    lease = world.tiers.acquire("a", timeout_s=0)
    timer = threading.Timer(0.05, world.tiers.release, [lease])
    timer.start()
    assert world.tiers.unregister("a")
    timer.join()


def test_an_adapter_that_comes_back_while_it_leaves_stays():
    world = world_with(A)
    lease = world.tiers.acquire("a", timeout_s=0)
    world.tiers.unregister("a", timeout_s=0)
    world.register("again", A)
    assert world.tiers.acquire("again", timeout_s=0).slot == lease.slot


def test_a_device_without_room_evicts_idle_adapters_before_it_gives_up():
    full = [True]

    def upload(weights: Fake) -> Fake:
        if weights.digest == B and full[0]:
            raise OutOfMemory("no room")
        return weights

    world = world_with(A, B, C, upload=upload)
    for name in "ac":
        world.tiers.release(world.tiers.acquire(name, timeout_s=0))
    with pytest.raises(OutOfMemory, match="no room"):
        world.tiers.acquire("b", timeout_s=0)
    assert world.tiers.device_bytes == 0
    full[0] = False
    assert world.tiers.acquire("b", timeout_s=0).digest == B


def test_under_a_storm_of_requests_budgets_hold_and_nobody_gets_another_adapter():
    world = world_with(A, B, C, D, E)
    failures: list[object] = []

    def use(seed: int) -> None:
        for step in range(60):
            digest = list(SIZES)[(seed * 7 + step * (seed + 1)) % 5]
            lease = world.tiers.acquire(digest[0], timeout_s=PATIENCE_S)
            if world.tiers.on_device(lease.slot).digest != digest:
                failures.append((digest, lease))
            if world.tiers.device_bytes > DEVICE or world.tiers.host_bytes > HOST:
                failures.append(world.tiers.device_bytes)
            world.tiers.release(lease)

    threads = [threading.Thread(target=use, args=[seed]) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
        assert not thread.is_alive()
    assert failures == []

"""Keys as the server sees them: asked for once, never open by mistake, good while they are good."""

import asyncio
import threading
import time

import pytest
from fastapi.testclient import TestClient

from glassbox.errors import CapacityError, NoDiskSpace
from glassbox.server.access import key_ring
from glassbox.server.access.key_ring import MOST_MISSED, PATIENCE_S, REMEMBER_S, STALE_S, KeyRing
from glassbox.server.start import whole_app
from glassbox.settings import ServerSettings
from glassbox.storage.database import open_database
from glassbox.storage.keys import KeyStore
from glassbox.storage.signing_keys import signing_key
from tests import waiting

pytestmark = pytest.mark.anyio

UNKNOWN = "gbx_" + "a" * 43


@pytest.fixture
def anyio_backend():
    return "asyncio"


class Counted(KeyStore):
    """A store that counts what it is asked."""

    def __init__(self, database):
        super().__init__(database)
        self.n_finds = 0

    def find(self, secret):
        self.n_finds += 1
        return super().find(secret)


@pytest.fixture
def store(tmp_path):
    database = open_database(f"sqlite:///{tmp_path}/glassbox.db")
    yield Counted(database)
    database.close()


def test_a_public_server_stays_closed_when_its_last_key_is_revoked(store):
    key, _ = store.create("first")
    client = TestClient(whole_app(ServerSettings(host="0.0.0.0"), store))
    store.revoke(key.id)

    assert client.get("/metrics").status_code == 401
    assert client.get("/livez").status_code == 200


def test_a_server_for_this_machine_alone_is_open_without_keys(store):
    client = TestClient(whole_app(ServerSettings(), store), base_url="http://localhost")

    assert client.get("/metrics").status_code == 200


async def test_what_a_revoked_key_signs_is_a_strangers_a_few_seconds_later(store):
    key, secret = store.create("team", ["techniques"])
    signing_id = signing_key(secret).id
    now_s = 0.0
    ring = KeyRing(store, clock=lambda: now_s)
    assert (await ring.find_signing(signing_id))[0].id == key.id
    store.revoke(key.id)
    now_s = REMEMBER_S + 0.1

    assert await ring.find_signing(signing_id) is None
    assert await ring.find(secret) is None
    assert await KeyRing(store).find_signing(signing_id) is None


async def test_a_key_is_good_though_its_use_cannot_be_written_down(store, monkeypatch, caplog):
    _, secret = store.create("team")

    def full(_key):
        raise NoDiskSpace("The database could not be written: disk is full.")

    monkeypatch.setattr(store, "note_use", full)
    ring = KeyRing(store, clock=iter(range(0, 1000, 10)).__next__)

    for _ in range(3):
        assert (await ring.find(secret)).name == "team"
    assert caplog.text.count("cannot be noted") == 1


async def test_a_database_that_does_not_answer_is_not_taken_for_an_unknown_key(store, monkeypatch):
    def away(_secret):
        raise CapacityError("The database did not answer: gone.")

    monkeypatch.setattr(store, "find", away)

    with pytest.raises(CapacityError, match="did not answer"):
        await KeyRing(store).find(UNKNOWN)


async def test_a_thousand_requests_of_one_key_ask_the_database_once(store):
    _, secret = store.create("team")
    ring = KeyRing(store)

    found = await asyncio.gather(*(ring.find(secret) for _ in range(1000)))

    assert {key.name for key in found} == {"team"}
    assert store.n_finds == 1


async def test_guesses_cost_the_database_nothing_and_push_no_key_out(store):
    _, secret = store.create("team")
    ring = KeyRing(store, clock=lambda: 0.0)
    assert await ring.find(secret)

    for guess in ("", "x", "gbx_short", "gbx_" + "a" * 44, "gbx_" + "é" * 43, "a" * 65536):
        assert await ring.find(guess) is None
    assert store.n_finds == 1
    for number in range(MOST_MISSED + 8):
        assert await ring.find(f"gbx_{number:043d}") is None
    n_asked = store.n_finds
    assert await ring.find(secret)
    assert store.n_finds == n_asked


async def test_known_keys_outlast_a_database_that_is_away_for_a_minute(store, monkeypatch):
    key, secret = store.create("team")
    now = 0.0
    ring = KeyRing(store, clock=lambda: now)
    assert (await ring.find(secret)).id == key.id
    assert await ring.needs_key()

    def away(*_):
        raise CapacityError("The database did not answer: gone.")

    for name in ("find", "any_active", "find_signing"):
        monkeypatch.setattr(store, name, away)
    now = REMEMBER_S + 1
    assert (await ring.find(secret)).id == key.id
    assert await ring.needs_key()
    for stranger in (ring.find(UNKNOWN), ring.find_signing("nobody")):
        with pytest.raises(CapacityError, match="did not answer"):
            await stranger
    now = STALE_S + 1
    with pytest.raises(CapacityError, match="did not answer"):
        await ring.find(secret)


async def test_known_keys_outlast_a_look_at_the_database_that_breaks_off(
    store, monkeypatch, caplog
):
    key, secret = store.create("team")
    now = 0.0
    ring = KeyRing(store, clock=lambda: now)
    assert (await ring.find(secret)).id == key.id

    def broken(_secret):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(store, "find", broken)
    now = REMEMBER_S + 1
    for _ in range(3):
        assert (await ring.find(secret)).id == key.id
    assert caplog.text.count("keys cannot be looked up") == 1
    now = STALE_S + 1
    with pytest.raises(RuntimeError, match="new thread"):
        await ring.find(secret)


async def test_known_keys_outlast_a_look_at_the_database_that_is_cancelled(store):
    key, secret = store.create("team")
    now = 0.0
    ring = KeyRing(store, clock=lambda: now)
    assert (await ring.find(secret)).id == key.id
    now = REMEMBER_S + 1
    asked = asyncio.create_task(ring.find(secret))
    await asyncio.sleep(0)
    (looking,) = ring._looking.values()
    looking.cancel()
    assert (await asked).id == key.id


async def test_a_server_open_to_this_machine_stays_so_for_a_minute_without_its_database(
    store, monkeypatch
):
    now = 0.0
    ring = KeyRing(store, clock=lambda: now)
    assert not await ring.needs_key()

    def away():
        raise CapacityError("The database did not answer: gone.")

    monkeypatch.setattr(store, "any_active", away)
    now = REMEMBER_S + 1
    assert not await ring.needs_key()
    now = STALE_S + 1
    with pytest.raises(CapacityError, match="did not answer"):
        await ring.needs_key()


def test_a_revocation_is_seen_in_less_than_five_seconds_while_the_database_answers():
    assert REMEMBER_S + PATIENCE_S < 5.0


async def test_requests_do_not_wait_for_a_database_that_hangs_and_see_a_revocation_after_it(
    store, monkeypatch
):
    key, secret = store.create("team")
    now = 0.0
    ring = KeyRing(store, clock=lambda: now)
    assert (await ring.find(secret)).id == key.id
    monkeypatch.setattr(key_ring, "PATIENCE_S", 0.1)
    monkeypatch.setattr(key_ring, "AWAY_PATIENCE_S", 0.02)
    answering, find = threading.Event(), store.find

    def hanging(asked):
        answering.wait(waiting.PATIENCE_S)
        return find(asked)

    monkeypatch.setattr(store, "find", hanging)
    now = REMEMBER_S + 1
    waited_s, wait = [], asyncio.wait

    async def noted(tasks, *, timeout):  # noqa: ASYNC109  as asyncio has it
        waited_s.append(timeout)
        return await wait(tasks, timeout=timeout)

    monkeypatch.setattr(key_ring.asyncio, "wait", noted)
    for _ in range(3):
        assert (await ring.find(secret)).id == key.id
        now += 1
    # The first found out that it hangs; those behind it go on at their usual speed.
    assert waited_s[0] == 0.1
    assert all(each == 0.02 for each in waited_s[1:])

    store.revoke(key.id)
    answering.set()
    now += 1
    deadline = time.monotonic() + waiting.PATIENCE_S
    while await ring.find(secret) is not None:
        assert time.monotonic() < deadline, "the revoked key is still let in"
        now += 1
    # It answers again, so it is waited for again.
    assert not ring._is_away


async def test_a_stranger_waits_for_the_database_however_slow_it_is(store, monkeypatch):
    _, secret = store.create("team")
    find = store.find

    def slow(asked):
        time.sleep(0.3)
        return find(asked)

    monkeypatch.setattr(store, "find", slow)
    monkeypatch.setattr(key_ring, "PATIENCE_S", 0.01)
    assert (await KeyRing(store).find(secret)).name == "team"

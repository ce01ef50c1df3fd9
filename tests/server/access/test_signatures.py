"""Nonces: taken once, forgotten only when they are of no more use, or with their server."""

import asyncio

import pytest
from fastapi import Request

from glassbox.errors import CapacityError
from glassbox.server.access.signatures import Nonces, Signatures
from glassbox.server.errors.refusals import Refusal
from glassbox.storage.database import open_database
from glassbox.storage.keys import KeyStore
from glassbox.storage.signing_keys import signing_key
from glassbox.techniques.remote.signing import AHEAD_S, WINDOW_S, signed


def test_a_nonce_is_taken_once_for_each_key():
    nonces = Nonces()
    assert nonces.is_new("a", "n", 100.0, now_s=100.0)
    assert not nonces.is_new("a", "n", 100.0, now_s=100.0)
    assert nonces.is_new("b", "n", 100.0, now_s=100.0)


def test_a_nonce_is_remembered_as_long_as_its_request_could_be_good():
    nonces = Nonces()
    # Dated as far ahead as it may be, the request is good for a window from then on.
    signed_s = 100.0 + AHEAD_S
    nonces.is_new("a", "n", signed_s, now_s=100.0)
    assert not nonces.is_new("a", "n", signed_s, now_s=signed_s + WINDOW_S)
    late_s = signed_s + WINDOW_S + 0.1
    assert nonces.is_new("a", "n", late_s, now_s=late_s)


def test_a_clock_that_jumps_ahead_and_back_lets_no_replay_in():
    nonces = Nonces()
    assert nonces.is_new("a", "n", 100.0, now_s=100.0)
    assert nonces.is_new("a", "of an hour later", 3700.0, now_s=3700.0)
    assert not nonces.is_new("a", "n", 100.0, now_s=110.0)
    assert nonces.is_new("a", "signed anew", 110.0, now_s=110.0)


def test_a_full_memory_refuses_rather_than_forgets():
    nonces = Nonces(most=3)
    for number in range(3):
        assert nonces.is_new("a", str(number), 0.0, now_s=0.0)
    with pytest.raises(CapacityError, match="3 signed requests within 65 s"):
        nonces.is_new("a", "more", 0.0, now_s=0.0)
    assert not nonces.is_new("a", "0", 0.0, now_s=0.0)
    assert nonces.is_new("b", "more", 0.0, now_s=0.0)
    later_s = 2 * WINDOW_S + 1
    assert nonces.is_new("a", "more", later_s, now_s=later_s)


class Keys:
    """One key, which may run functions."""

    def __init__(self, folder):
        store = KeyStore(open_database(f"sqlite:///{folder}/keys.db"))
        self.key, secret = store.create("one", ["techniques"])
        self.signs = signing_key(secret)

    async def needs_key(self):
        return True

    async def find_signing(self, _name):
        return self.key, self.signs


@pytest.fixture
def keys(tmp_path):
    return Keys(tmp_path)


def ask(signatures, keys, dated_s):
    header = signed(keys.signs, "GET", "/v1/techniques", now_s=dated_s, nonce="n" * 16)
    scope = {
        "type": "http",
        "method": "GET",
        "path": "/v1/techniques",
        "query_string": b"",
        "headers": [(b"authorization", header.encode())],
    }
    asyncio.run(signatures.caller(Request(scope), keys, None))


def test_no_replay_gets_through_a_restart_however_far_ahead_its_clock_is(keys):
    now_s = 1000.0
    for ahead_s in range(-65, 66, 2):
        former = Signatures(clock=lambda: now_s)
        former._started_s = 0.0
        try:
            ask(former, keys, now_s + ahead_s)
        except Refusal:
            continue
        # Restarted at the same moment, and asked again at any later one.
        clock = [now_s]
        restarted = Signatures(clock=lambda clock=clock: clock[0])
        for later_s in range(0, 80, 4):
            clock[0] = now_s + later_s
            with pytest.raises(Refusal, match=r"."):
                ask(restarted, keys, now_s + ahead_s)


def test_a_server_that_has_just_started_is_not_ready_for_a_moment_and_then_serves(keys):
    clock = [1000.0]
    signatures = Signatures(clock=lambda: clock[0])
    clock[0] = 1002.5
    with pytest.raises(Refusal) as caught:
        ask(signatures, keys, clock[0])
    assert (caught.value.status_code, caught.value.code) == (503, "not-ready")
    assert caught.value.headers["retry-after"] == "3"
    clock[0] += 3
    ask(signatures, keys, clock[0])


def test_a_request_that_waited_for_the_start_is_to_be_signed_anew(keys):
    clock = [1000.0]
    signatures = Signatures(clock=lambda: clock[0])
    signed_s = clock[0] - 2.0
    with pytest.raises(Refusal, match="Sign it anew") as caught:
        ask(signatures, keys, signed_s)
    assert (caught.value.status_code, caught.value.code) == (503, "not-ready")
    clock[0] += AHEAD_S + 1
    with pytest.raises(Refusal, match="before this server started") as caught:
        ask(signatures, keys, signed_s)
    assert (caught.value.status_code, caught.value.code) == (401, "bad-signature")

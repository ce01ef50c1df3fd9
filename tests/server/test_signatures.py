"""Nonces: taken once, forgotten only when they are of no more use."""

import pytest

from glassbox.errors import CapacityError
from glassbox.server.signatures import Nonces
from glassbox.techniques.remote.signing import WINDOW_S


def test_a_nonce_is_taken_once_for_each_key():
    nonces = Nonces()
    assert nonces.is_new("a", "n", 100.0)
    assert not nonces.is_new("a", "n", 100.0)
    assert nonces.is_new("b", "n", 100.0)


def test_a_nonce_is_remembered_as_long_as_its_request_could_be_good():
    nonces = Nonces()
    nonces.is_new("a", "n", 100.0)
    # Dated a window ahead, the request is good for a window from then on.
    assert not nonces.is_new("a", "n", 100.0 + 2 * WINDOW_S)
    assert nonces.is_new("a", "n", 100.1 + 2 * WINDOW_S)


def test_a_full_memory_refuses_rather_than_forgets():
    nonces = Nonces(most=3)
    for number in range(3):
        assert nonces.is_new("a", str(number), 0.0)
    with pytest.raises(CapacityError, match="3 signed requests within 120 s"):
        nonces.is_new("a", "more", 0.0)
    assert not nonces.is_new("a", "0", 0.0)
    assert nonces.is_new("b", "more", 0.0)
    assert nonces.is_new("a", "more", 2 * WINDOW_S + 1)

"""API keys: shown once, kept as digests, refused from the moment they are revoked."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from glassbox.errors import InvalidValue, UnknownName
from glassbox.storage.database import Database, open_database
from glassbox.storage.keys import LAST_USED_STEP_S, KeyStore
from glassbox.storage.signing_keys import signing_key


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    opened = open_database(database_url)
    yield opened
    opened.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(database: Database, clock: Clock) -> KeyStore:
    return KeyStore(database, clock=clock)


def test_a_key_is_found_by_its_secret_alone(store: KeyStore) -> None:
    key, secret = store.create("team a")
    assert store.find(secret) == key
    assert store.find(secret + "x") is None
    assert store.find(key.id) is None
    assert key.scopes == ("observe", "predict")


def test_the_secret_is_nowhere_in_the_file(
    store: KeyStore, database_url: str, tmp_path: Path
) -> None:
    if database_url.startswith("postgresql"):
        pytest.skip("the files of a server are its own; what is stored is the same")
    _, secret = store.create("team a")
    content = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"team a" in content
    assert secret.encode() not in content
    assert secret[12:].encode() not in content


def test_two_keys_of_one_name_are_two_keys(store: KeyStore) -> None:
    first, second = store.create("team")[1], store.create("team")[1]
    assert first != second
    assert len({key.id for key in store.all()}) == 2


def test_a_revoked_key_is_found_as_revoked(store: KeyStore, clock: Clock) -> None:
    key, secret = store.create("team a")
    assert store.any_active()
    clock.now += 5
    assert store.revoke(key.id).revoked_s == clock.now
    found = store.find(secret)
    assert found is not None
    assert found.revoked_s == clock.now
    assert not store.any_active()


def test_revoking_twice_keeps_the_first_moment(store: KeyStore, clock: Clock) -> None:
    key, _ = store.create("team a")
    first = store.revoke(key.prefix)
    clock.now += 60
    assert store.revoke(key.id) == first


def test_the_last_use_is_written_once_an_hour(store: KeyStore, clock: Clock) -> None:
    key, secret = store.create("team a")
    clock.now = 10 * LAST_USED_STEP_S + 1
    store.note_use(key)
    noted = store.find(secret)
    assert noted is not None
    assert noted.last_used_s == 10 * LAST_USED_STEP_S
    clock.now += LAST_USED_STEP_S
    store.note_use(noted)
    assert store.find(secret).last_used_s == 11 * LAST_USED_STEP_S  # type: ignore[union-attr]


def test_admin_allows_everything_and_other_scopes_only_themselves(store: KeyStore) -> None:
    admin, _ = store.create("boss", ["admin"])
    observer, _ = store.create("graphs", ["observe"])
    assert admin.allows("predict")
    assert observer.allows("observe")
    assert not observer.allows("predict")


def test_a_key_without_a_name_or_scope_is_refused(store: KeyStore) -> None:
    with pytest.raises(InvalidValue, match="whose key it is"):
        store.create("  ")
    with pytest.raises(InvalidValue, match="one or more of predict, observe, admin, techniques"):
        store.create("team", [])


def test_revoking_a_stranger_is_refused(store: KeyStore) -> None:
    store.create("team a")
    with pytest.raises(UnknownName, match="No API key 'abc'"):
        store.revoke("abc")


def test_a_key_signs_where_it_may_run_functions_and_only_there(store: KeyStore) -> None:
    for scopes, signs in ((("techniques",), True), (("admin",), True), (("predict",), False)):
        key, secret = store.create("team a", scopes)
        made = signing_key(secret)
        found = store.find_signing(made.id)
        assert found is not None
        assert found[0] == key
        assert found[1].key == (made.key if signs else b"")
    assert store.find_signing("0" * 32) is None


def test_a_revoked_key_is_found_as_revoked_by_what_it_signs_with(store: KeyStore) -> None:
    key, secret = store.create("team a", ["techniques"])
    store.revoke(key.id)
    found = store.find_signing(signing_key(secret).id)
    assert found is not None
    assert found[0].revoked_s is not None

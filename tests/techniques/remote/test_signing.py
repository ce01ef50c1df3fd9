"""Signatures: good for one request of one key at one time, and for nothing else."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glassbox.errors import AccessDenied
from glassbox.storage.signing_keys import SigningKey, signing_key
from glassbox.techniques.remote import signing

SECRET = "gbx_" + "s" * 43
KEY = signing_key(SECRET)
NOW_S = 1_700_000_000.0
TARGET = "/v1/techniques/runs?wait_s=5"


def header(**changed: str) -> str:
    made = signing.signed(KEY, "POST", TARGET, now_s=NOW_S, body="a" * 64, nonce="n" * 22)
    for name, value in changed.items():
        made = re.sub(rf"(?<=[ ,]){name}=[^,]*", f"{name}={value}", made)
    return made


def check(given: str, method: str = "POST", target: str = TARGET, now_s: float = NOW_S) -> None:
    signing.check(signing.read(given), KEY, method, target, now_s=now_s)


def test_a_good_signature_passes_within_its_window() -> None:
    for apart_s in (-5.0, 0.0, 60.0):
        check(header(), now_s=NOW_S + apart_s)


def test_a_known_signature_stays_what_it_is() -> None:
    # Clients and servers of different versions have to agree.
    assert KEY.id == "1a345f85904e6b22cadaaa108333a3a3"
    assert signing.read(header()).signature == (
        "5c2121f19d110f24957871b2104514b47d0aa10d92fd6b30f03d8a922f98cb04"
    )


@pytest.mark.parametrize("late_s", [-5.1, -61.0, 61.0, 86_400.0])
def test_a_signature_of_another_time_is_refused(late_s: float) -> None:
    with pytest.raises(
        AccessDenied, match=r"(ahead of|before) this machine's time; allowed: (5|60) s"
    ):
        check(header(), now_s=NOW_S + late_s)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("body", "b" * 64),
        ("time", "1700000001.000"),
        ("nonce", "m" * 22),
        ("signature", "0" * 64),
        ("key", "0" * 32),
    ],
)
def test_whatever_is_changed_on_the_way_is_noticed(name: str, value: str) -> None:
    with pytest.raises(AccessDenied, match="not that of this request"):
        check(header(**{name: value}))


def test_another_method_or_path_is_another_request() -> None:
    for method, target in (("GET", TARGET), ("POST", TARGET + "0"), ("POST", "/v1/techniques")):
        with pytest.raises(AccessDenied, match="not that of this request"):
            check(header(), method, target)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("", "this one is not"),
        ("Bearer gbx_secret", "this one is not"),
        ("Glassbox-HMAC-SHA256 key=1", "body, key, nonce, signature, time"),
        (header(nonce="short"), "malformed nonce"),
        (header(time="now"), "malformed time"),
        (header(signature="g" * 64), "malformed signature"),
        (header() + ",more=1", "malformed field"),
    ],
)
def test_half_a_signature_is_none(given: str, words: str) -> None:
    with pytest.raises(AccessDenied, match=words):
        signing.read(given)


@given(text=st.text(max_size=200))
def test_no_header_is_a_fault(text: str) -> None:
    for header_text in (text, f"{signing.SCHEME} {text}"):
        with pytest.raises(AccessDenied, match=r"signed|signature"):
            signing.read(header_text)


def test_nothing_is_good_for_a_key_whose_bytes_are_not_known() -> None:
    with pytest.raises(AccessDenied, match="not that of this request"):
        signing.check(signing.read(header()), SigningKey(KEY.id), "POST", TARGET, now_s=NOW_S)


def test_a_signing_key_shows_neither_itself_nor_the_api_key() -> None:
    assert SECRET not in repr(KEY)
    assert KEY.key.hex() not in repr(KEY)
    assert signing_key(SECRET) == KEY
    assert signing_key(SECRET + "x").id != KEY.id


def test_a_body_is_digested_in_pieces() -> None:
    assert signing.body_digest([b"ab", memoryview(b"c")]) == signing.body_digest([b"abc"])
    assert signing.body_digest([]) == signing.EMPTY

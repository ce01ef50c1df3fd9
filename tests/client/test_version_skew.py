"""A server of another version: quiet within a minor release, a warning between, an error beyond."""

import asyncio
import warnings

import httpx
import pytest

from glassbox.client import AsyncClient, Client
from glassbox.client.version_skew import VersionSkewWarning, VersionWatch, own_version, skew_of
from glassbox.errors import UsageError, VersionMismatch
from glassbox.wire.headers import VERSION_HEADER


def server(version, status=200, body=b'{"object": "list", "data": []}'):
    headers = {} if version is None else {VERSION_HEADER: version}
    return httpx.MockTransport(lambda _: httpx.Response(status, content=body, headers=headers))


def other(major=0, minor=0):
    own = [int(each) for each in own_version().split(".")[:2]]
    return f"{own[0] + major}.{own[1] + minor}.9"


@pytest.mark.parametrize(
    ("own", "theirs", "skew"),
    [
        ("0.1.0", "0.1.7", "none"),
        ("0.1.0", "0.2.0", "minor"),
        ("1.9.0", "1.10.0", "minor"),
        ("1.1.0", "2.1.0", "major"),
        ("0.1.0", "1.0.0rc1", "major"),
        ("0.1.0", "", "none"),
        ("0.1.0", "main", "none"),
    ],
)
def test_how_far_two_versions_are_apart(own, theirs, skew):
    assert skew_of(own, theirs) == skew
    assert skew_of(theirs, own) == skew


@pytest.mark.parametrize("version", [None, own_version(), other()])
def test_servers_of_the_same_release_or_of_none_are_taken_as_they_are(version):
    with Client("http://test", transport=server(version)) as client:
        assert client.models() == []


def test_another_minor_version_is_warned_of_once_for_each_version():
    with Client("http://test", transport=server(other(minor=1))) as client:
        with pytest.warns(VersionSkewWarning, match="Install the same version on both"):
            client.models()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            client.models()


def test_another_major_version_is_an_error_that_says_what_to_install():
    transport = server(other(major=1))
    with (
        Client("http://test", transport=transport) as client,
        pytest.raises(VersionMismatch, match=r"pip|glassbox-llm=="),
    ):
        client.models()

    async def ask():
        async with AsyncClient("http://test", transport=transport) as client:
            await client.models()

    with pytest.raises(VersionMismatch, match="upgrade the server"):
        asyncio.run(ask())


def test_a_request_that_was_not_understood_says_that_versions_differ():
    body = b'{"code": "invalid-value", "detail": "Unknown field \'new\'."}'
    transport = server(other(minor=1), 422, body)
    with (
        Client("http://test", transport=transport) as client,
        pytest.warns(VersionSkewWarning, match="this client"),
        pytest.raises(UsageError, match=r"Unknown field 'new'\. The server runs Glassbox"),
    ):
        client.models()
    with (
        Client("http://test", transport=server(own_version(), 422, body)) as client,
        pytest.raises(UsageError, match=r"Unknown field 'new'\.$"),
    ):
        client.models()


def test_health_is_told_whatever_the_version():
    with Client("http://test", transport=server(None)) as client:
        assert client.health().live


def test_a_watch_of_a_version_of_ones_own():
    response = httpx.Response(200, headers={VERSION_HEADER: "0.5.0"})
    VersionWatch("0.5.2").look(response)
    with pytest.raises(VersionMismatch, match=r"Glassbox 0\.5\.0 and this client 3\.0\.0"):
        VersionWatch("3.0.0").look(response)

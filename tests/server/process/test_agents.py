"""Who may speak to the MCP server over HTTP: nobody without a key or its secret."""

import httpx
import pytest
from starlette.responses import PlainTextResponse

from glassbox.server.access.key_ring import KeyRing
from glassbox.server.errors.statuses import ERRORS_PAGE
from glassbox.storage.database import open_database
from glassbox.storage.keys import KeyStore

pytest.importorskip("mcp")

from glassbox.server.process.agents import KeyGuard

pytestmark = pytest.mark.anyio

SECRET = "gbl_" + "s" * 43


@pytest.fixture(scope="module")
def anyio_backend():
    return "asyncio"


@pytest.fixture
def store(tmp_path):
    return KeyStore(open_database(f"sqlite:///{tmp_path}/keys.db"))


async def answered(store, given="", *, secret=SECRET):
    """The answer to a request that carries something, or nothing."""
    guard = KeyGuard(PlainTextResponse("in"), KeyRing(store), secret)
    headers = {"authorization": given} if given else {}
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(guard), base_url="http://127.0.0.1"
    ) as client:
        return await client.post("/mcp", headers=headers)


@pytest.mark.parametrize(
    "given", ["", "Bearer", "Bearer gbl_x", f"Basic {SECRET}", SECRET, "Bearer \xe9"]
)
async def test_without_any_key_a_stranger_on_this_machine_is_refused(store, given):
    answer = await answered(store, given.encode("latin-1"))
    assert answer.status_code == 401
    problem = answer.json()
    assert "secret" in problem["detail"]
    assert problem["type"] == f"{ERRORS_PAGE}#access-denied"
    assert problem["title"] == "Access denied"
    assert answer.headers["www-authenticate"].startswith("Bearer")


async def test_without_any_key_the_secret_of_the_server_opens_it(store):
    assert (await answered(store, f"Bearer {SECRET}")).text == "in"


async def test_without_any_key_and_without_a_secret_nobody_comes_in(store):
    assert (await answered(store, "Bearer ", secret=None)).status_code == 401


async def test_from_the_first_key_on_the_secret_opens_nothing(store):
    _, key = store.create("agent", ["techniques"])
    _, other = store.create("reader", ["predict"])
    assert (await answered(store, f"Bearer {SECRET}")).status_code == 401
    assert (await answered(store)).status_code == 401
    assert (await answered(store, f"Bearer {other}")).status_code == 403
    assert (await answered(store, f"Bearer {key}")).text == "in"


async def test_whoever_comes_in_is_told_apart_from_others(store):
    seen = []

    async def app(scope, receive, send):
        user = scope["user"]
        seen.append((user.access_token.client_id, user.access_token.token))
        await PlainTextResponse("in")(scope, receive, send)

    async def come(given):
        guard = KeyGuard(app, KeyRing(store), SECRET)
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(guard), base_url="http://127.0.0.1"
        ) as client:
            await client.post("/mcp", headers={"authorization": f"Bearer {given}"})

    await come(SECRET)
    (one, first), (two, second) = (store.create(name, ["techniques"]) for name in "ab")
    for given in (first, second, first):
        await come(given)
    assert seen == [("local", ""), (one.id, ""), (two.id, ""), (one.id, "")]

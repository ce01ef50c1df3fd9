"""The app: its routes were built once, when their modules were imported."""

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient

from glassbox.server.app import create_app

BUILT: list[str] = []


class Noted(APIRoute):
    """A route that notes each time its handler is built."""

    def get_route_handler(self) -> Callable[..., Any]:
        BUILT.append(self.path)
        return super().get_route_handler()


router = APIRouter(prefix="/outer", route_class=Noted)
other = APIRouter(route_class=Noted)


@router.get("/here")
async def here(number: int = 1) -> int:
    return number


@other.get("/there")
async def there(number: int = 1) -> int:
    return number


def test_no_route_is_built_for_an_app_or_while_a_request_waits_for_it() -> None:
    assert BUILT == ["/outer/here", "/there"]
    clients = [TestClient(create_app(routers=[router, other])) for _ in range(2)]
    for client in clients:
        for path in ("/outer/here", "/there"):
            assert client.get(path).json() == 1
    assert BUILT == ["/outer/here", "/there"]

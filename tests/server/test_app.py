"""The app: what is ready before the first request."""

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
inner = APIRouter(prefix="/inner", route_class=Noted)


@router.get("/here")
async def here(number: int = 1) -> int:
    return number


@inner.get("/there")
async def there(number: int = 1) -> int:
    return number


router.include_router(inner)


def test_no_route_is_built_while_a_request_waits_for_it() -> None:
    client = TestClient(create_app(routers=[router]))
    built = list(BUILT)
    for path in ("/outer/here", "/outer/inner/there"):
        assert client.get(path).json() == 1
    assert built == BUILT

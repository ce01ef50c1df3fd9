"""Which key opens which route: all routes there are, each with the one scope that it needs."""

import re
from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient

from glassbox.server.access.guards import Guards
from glassbox.server.access.key_ring import KeyRing
from glassbox.server.app import create_app
from glassbox.storage.database import open_database
from glassbox.storage.keys import KeyStore

SCOPES = ("predict", "observe", "techniques", "admin")

MODELS = "/api/v2/models"

OPEN = ("GET /livez", "GET /readyz", "GET /ping")
"""Probes of a platform, which has no key."""

SIGNED = re.compile(r"[A-Z]+ /v1/techniques(/.*)?")
"""Routes that no key opens unless it signs the request."""

NEEDS = {
    "predict": (
        "POST /v1/completions",
        "POST /v1/chat/completions",
        "GET /v1/models",
        "GET /v1/models/{model}",
        "POST /v1/states",
        "POST /v1/lens",
        "POST /v1/classify",
        "POST /v1/verify",
        "GET /v1/adapters",
        f"POST {MODELS}/predict",
        f"POST {MODELS}/predict/batch",
        f"POST {MODELS}/labels",
        "POST /invocations",
    ),
    "observe": (
        "GET /metrics",
        f"GET {MODELS}/audit/summary",
        f"GET {MODELS}/audit/recent",
        f"GET {MODELS}/audit/records/{{request_id}}",
        f"GET {MODELS}/audit/verification",
        f"GET {MODELS}/registry",
        f"GET {MODELS}/health",
        f"GET {MODELS}/versions",
        f"GET {MODELS}/versions/history",
        f"GET {MODELS}/versions/{{name}}/calibration",
        f"GET {MODELS}/rollouts",
        f"GET {MODELS}/rollouts/{{rollout_id}}",
        f"GET {MODELS}/drift",
        f"GET {MODELS}/drift/history",
        f"GET {MODELS}/drift/references",
        f"GET {MODELS}/alerts",
        f"GET {MODELS}/events",
        "GET /v1/fleet",
        "GET /v1/pathways",
        "GET /v1/pathways/{study}",
        "GET /v1/pathways/{study}/latents",
        "GET /v1/pathways/{study}/latents/{latent}",
        "GET /v1/pathways/{study}/pathways",
        "GET /v1/pathways/{study}/tokens",
        "GET /v1/pathways/{study}/graph",
        "GET /v1/pathways/{study}/report",
    ),
    "admin": (
        "POST /v1/adapters",
        "DELETE /v1/adapters/{name}",
        "POST /v1/load_lora_adapter",
        "POST /v1/unload_lora_adapter",
        f"DELETE {MODELS}/audit/records/{{request_id}}",
        f"POST {MODELS}/versions",
        f"PUT {MODELS}/versions/aliases/{{alias}}",
        f"POST {MODELS}/rollouts",
        f"POST {MODELS}/rollouts/{{rollout_id}}/pause",
        f"POST {MODELS}/rollouts/{{rollout_id}}/resume",
        f"POST {MODELS}/rollouts/{{rollout_id}}/promote",
        f"POST {MODELS}/rollouts/{{rollout_id}}/finish",
        f"POST {MODELS}/rollouts/{{rollout_id}}/abort",
        f"POST {MODELS}/drift/run",
        f"POST {MODELS}/drift/references",
    ),
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[TestClient, dict[str, str]]]:
    """A server of which nothing is loaded, and the secret of one key for each scope."""
    folder = tmp_path_factory.mktemp("scopes")
    database = open_database(f"sqlite:///{folder}/keys.db")
    store = KeyStore(database)
    secrets = {scope: store.create(scope, [scope])[1] for scope in SCOPES}
    app = create_app(None, Guards(keys=KeyRing(store)))
    yield TestClient(app, raise_server_exceptions=False), secrets
    database.close()


def opened_by(client: TestClient, route: str, secret: str | None) -> bool:
    method, path = re.sub(r"\{\w+\}", "x", route).split()
    headers = {} if secret is None else {"authorization": f"Bearer {secret}"}
    return client.request(method, path, headers=headers).status_code not in (401, 403)


def test_every_route_has_been_decided_on(server: tuple[TestClient, dict[str, str]]) -> None:
    paths = server[0].app.openapi()["paths"]  # type: ignore[attr-defined]
    routes = {f"{method.upper()} {path}" for path, methods in paths.items() for method in methods}
    decided = {*OPEN, *(route for each in NEEDS.values() for route in each)}
    assert decided <= routes
    assert {each for each in routes - decided if not SIGNED.fullmatch(each)} == set()


@pytest.mark.parametrize("scope", NEEDS)
def test_a_route_is_opened_by_its_scope_and_by_no_other(
    server: tuple[TestClient, dict[str, str]], scope: str
) -> None:
    client, secrets = server
    for route in NEEDS[scope]:
        opening = {each for each in SCOPES if opened_by(client, route, secrets[each])}
        assert opening == {scope, "admin"}, route
        assert not opened_by(client, route, None), route


def test_probes_need_no_key(server: tuple[TestClient, dict[str, str]]) -> None:
    assert all(opened_by(server[0], route, None) for route in OPEN)

"""The built front end as the server hands it out: whole, small, safe to load, easy to keep."""

import gzip
import re
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from glassbox.errors import UnknownName
from glassbox.server.routes import front_end


@pytest.fixture
def client():
    app = FastAPI()
    app.include_router(front_end.router)
    return TestClient(app, follow_redirects=False)


@pytest.mark.parametrize("address", front_end.ADDRESSES)
def test_every_address_gives_the_page(client, address):
    answer = client.get(address)
    assert answer.status_code == 200
    assert answer.content == front_end.built_files()[front_end.PAGE].content


def test_the_addresses_are_those_that_the_page_draws():
    pages = Path(__file__).parents[3] / "web/dashboard/src/app/pages.ts"
    named = re.findall(r'to: "([^"]+)"', pages.read_text())
    assert tuple(named) == front_end.ADDRESSES


def test_everything_the_page_names_is_there(client):
    page = client.get("/playground")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    named = re.findall(r'(?:src|href)="(/ui/[^"]+)"', page.text)
    assert {name.rpartition(".")[2] for name in named} == {"js", "css", "svg"}
    for name in named:
        answer = client.get(name)
        assert answer.status_code == 200
        assert len(answer.content) == int(
            client.get(name, headers={"accept-encoding": "identity"}).headers["content-length"]
        )


def test_nothing_comes_from_elsewhere():
    for name, built in front_end.built_files().items():
        text = built.content.decode()
        assert "@import" not in text
        assert not re.search(r"url\((?!data:|#)", text), name
        if name.endswith(".html"):
            assert "://" not in text
            assert "<script>" not in text
            assert "style=" not in text


def test_the_content_policy_allows_this_server_alone(client):
    for address in ("/playground", *(f"/ui/{name}" for name in front_end.built_files())):
        policy = client.get(address).headers["content-security-policy"]
        assert "unsafe" not in policy
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy


def test_named_by_content_is_kept_for_ever_and_the_page_is_asked_for(client):
    assert client.get("/playground").headers["cache-control"] == "no-cache"
    hashed = [name for name in front_end.built_files() if name.startswith("assets/")]
    assert len(hashed) >= 2
    for name in hashed:
        assert re.search(r"-[\w-]{8}\.\w+$", name)
        assert "immutable" in client.get(f"/ui/{name}").headers["cache-control"]


def test_what_has_not_changed_is_not_sent_again(client):
    tag = client.get("/playground").headers["etag"]
    again = client.get("/playground", headers={"if-none-match": tag})
    assert again.status_code == 304
    assert again.content == b""
    assert client.get("/playground", headers={"if-none-match": 'W/"old"'}).status_code == 200


def test_large_files_travel_compressed_where_the_client_takes_it(client):
    name = max(front_end.built_files(), key=lambda each: len(front_end.built_files()[each].content))
    with client.stream("GET", f"/ui/{name}", headers={"accept-encoding": "gzip"}) as answer:
        assert answer.headers["content-encoding"] == "gzip"
        raw = b"".join(answer.iter_raw())
    assert gzip.decompress(raw) == front_end.built_files()[name].content
    for offer in ("br, gzip; q=0.5", "gzip;q=1.0, *;q=0"):
        answer = client.get(f"/ui/{name}", headers={"accept-encoding": offer})
        assert answer.headers["content-encoding"] == "gzip"
    for offer in ("br, gzip;q=0", "gzip; q=0.000", "br"):
        refused = client.get(f"/ui/{name}", headers={"accept-encoding": offer})
        assert "content-encoding" not in refused.headers


def test_a_question_for_the_head_gets_no_body(client):
    answer = client.head("/playground")
    assert answer.status_code == 200
    assert answer.content == b""
    assert int(answer.headers["content-length"]) > 100


@pytest.mark.parametrize(
    "name",
    ["%2e%2e/%2e%2e/pyproject.toml", "..%2f..%2fmodel%2fconfig.json", "assets", "assets/x.js", ""],
)
def test_only_the_built_files_can_be_asked_for(client, name):
    with pytest.raises(UnknownName, match="file of the front end"):
        client.get(f"/ui/{name}")


def test_a_package_without_the_built_files_says_how_to_make_them(client, monkeypatch):
    monkeypatch.setattr(front_end, "built_files", dict)
    with pytest.raises(UnknownName, match="make web"):
        client.get("/playground")


def test_the_front_end_stays_small():
    assert sum(len(built.content) for built in front_end.built_files().values()) < 600_000

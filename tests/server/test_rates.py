"""How often one caller may ask, and which pages elsewhere may."""

import pytest

from glassbox.errors import InvalidValue
from glassbox.server.app import create_app
from glassbox.server.cross_origin import origins_in
from glassbox.server.rates import Rates
from glassbox.server.serving import Guards
from glassbox.settings import ServerSettings
from tests.server.model_worlds import client_of, model_server

DESK = "https://desk.example.org"


def test_one_caller_too_often_is_told_when_to_come_back(tmp_path):
    guards = Guards(rates=Rates("1000/minute", "3/minute"))
    with model_server(tmp_path, "steady", guards=guards) as (client, _):
        assert [client.get("/registry").status_code for _ in range(3)] == [200] * 3
        refused = client.get("/registry")
        assert refused.status_code == 429
        assert refused.json()["code"] == "too-many-requests"
        assert 1 <= int(refused.headers["retry-after"]) <= 60
        assert "server.observe_rate_limit" in refused.json()["detail"]
        # Predictions have a limit of their own.
        assert client.post("/predict", json={"features": {"x": 1}}).status_code == 200


def test_the_limit_of_all_requests_holds_for_predictions(tmp_path):
    guards = Guards(rates=Rates("2/minute"))
    with model_server(tmp_path, "steady", guards=guards) as (client, _):
        sent = [client.post("/predict", json={"features": {"x": 1}}) for _ in range(3)]
        assert [each.status_code for each in sent] == [200, 200, 429]


def test_health_routes_have_no_limit(tmp_path):
    guards = Guards(rates=Rates("1/minute", "1/minute"))
    with model_server(tmp_path, "steady", guards=guards) as (client, _):
        assert {client.get("http://test/livez").status_code for _ in range(5)} == {200}


@pytest.mark.parametrize("text", ["often", "0/day/week", "x/second"])
def test_a_limit_that_is_none_is_refused(text):
    with pytest.raises(InvalidValue, match=r"server\.rate_limit"):
        Rates(text)


def app_for(origins):
    return create_app(None, Guards(limits=ServerSettings(cors_origins=origins)))


def test_a_page_of_an_allowed_origin_may_ask_before_it_asks():
    client = client_of(app_for(f"{DESK}, http://localhost:5173"))
    asked = {
        "origin": DESK,
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization, content-type, x-request-id",
    }
    answer = client.options("/predict", headers=asked)
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == DESK
    assert "authorization" in answer.headers["access-control-allow-headers"].lower()
    strange = client.options("/predict", headers={**asked, "origin": "https://elsewhere.example"})
    assert "access-control-allow-origin" not in strange.headers


def test_errors_can_be_read_by_the_page_too():
    client = client_of(app_for(DESK))
    answer = client.get("/registry", headers={"origin": DESK})
    assert answer.status_code == 503
    assert answer.headers["access-control-allow-origin"] == DESK
    assert "x-request-id" in answer.headers["access-control-expose-headers"].lower()


def test_without_origins_no_page_elsewhere_may_read_anything():
    answer = client_of(app_for("")).get("/registry", headers={"origin": DESK})
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize("text", ["*", "desk.example.org", "https://a.example/path", "ftp://a"])
def test_what_is_no_origin_is_refused(text):
    with pytest.raises(InvalidValue, match="cors_origins"):
        origins_in(text)

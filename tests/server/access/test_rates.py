"""How often one caller may ask, and which pages elsewhere may."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glassbox.errors import InvalidValue
from glassbox.server.access.cross_origin import origins_in
from glassbox.server.access.guards import Guards
from glassbox.server.access.rates import Rates, Windows
from glassbox.server.app import create_app
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
        # Three at the end of one minute fill a third of the next one, too.
        assert 1 <= int(refused.headers["retry-after"]) <= 80
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


@given(
    st.integers(1, 6),
    st.lists(st.floats(0.0, 3.0, allow_nan=False), min_size=1, max_size=60),
)
def test_what_is_allowed_is_what_a_slow_count_of_all_requests_allows(most, gaps):
    period, now, allowed = 2.0, 10.0, []

    def slow(moment):
        number = moment // period
        inside = sum(each // period == number for each in allowed)
        before = sum(each // period == number - 1 for each in allowed)
        return before * (1 - (moment % period) / period) + inside <= most - 1

    windows = Windows(most, period, lambda: now)
    for gap in gaps:
        now += gap
        expected = slow(now)
        wait_s = windows.take("a")
        assert (wait_s == 0.0) == expected
        if expected:
            allowed.append(now)
            continue
        # Not a moment earlier than it says, and then indeed.
        assert 0.0 < wait_s <= 2 * period
        early, late = now + 0.9 * wait_s, now + wait_s + 1e-6
        assert not slow(early)
        assert slow(late)


def test_callers_are_counted_apart_and_the_longest_silent_is_forgotten():
    windows = Windows(2, 1000.0, lambda: 5.0, most_callers=2)
    assert [windows.take(each) > 0 for each in ("a", "b", "a", "a")] == [False] * 3 + [True]
    assert windows.take("c") == 0.0
    assert windows.take("a") > 0, "who came first has asked since"
    assert [windows.take("b") > 0 for _ in range(3)] == [False, False, True], "it began anew"


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


@pytest.mark.parametrize(
    ("typed", "sent"),
    [
        ("https://Desk.Example.org/", "https://desk.example.org"),
        ("https://desk.example.org:443", "https://desk.example.org"),
        ("HTTP://localhost:80", "http://localhost"),
        ("http://localhost:8080", "http://localhost:8080"),
        ("https://desk.example.org:80", "https://desk.example.org:80"),
    ],
)
def test_an_origin_is_meant_however_it_is_typed(typed, sent):
    assert origins_in(typed) == (sent,)
    answer = client_of(app_for(typed)).get("/registry", headers={"origin": sent})
    assert answer.headers["access-control-allow-origin"] == sent


def test_without_origins_no_page_elsewhere_may_read_anything():
    answer = client_of(app_for("")).get("/registry", headers={"origin": DESK})
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize("text", ["*", "desk.example.org", "https://a.example/path", "ftp://a"])
def test_what_is_no_origin_is_refused(text):
    with pytest.raises(InvalidValue, match="cors_origins"):
        origins_in(text)

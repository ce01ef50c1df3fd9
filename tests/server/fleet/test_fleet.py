"""Three servers on one database: a move, a revoked key and a rollback reach all of them in time."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from glassbox.client import AsyncClient, Client
from glassbox.server.access.entrance import VERSION
from glassbox.server.fleet.view import REACH_S
from glassbox.storage.database import open_database
from glassbox.storage.keys import KeyStore
from glassbox.wire.fleet import FleetAnswered
from tests.server.fleet_worlds import Server, one_server, several_servers
from tests.server.worlds import fake_server, http_client
from tests.waiting import seconds_until, until

LOOK_S = 0.05
"""More than fifty looks a second are too many for one caller."""

ALIAS = "/api/v2/models/versions/aliases/champion"


@contextmanager
def traffic(servers: list[Server], key: str = "") -> Iterator[dict[int, list[httpx.Response]]]:
    """Ask every server without a pause, and keep what it answers."""
    answers: dict[int, list[httpx.Response]] = {at: [] for at in range(len(servers))}
    ended = threading.Event()

    def ask(at: int) -> None:
        while not ended.is_set():
            answers[at].append(servers[at].predict(key))
            time.sleep(0.01)

    threads = [threading.Thread(target=ask, args=(at,)) for at in answers]
    for thread in threads:
        thread.start()
    try:
        yield answers
    finally:
        ended.set()
        for thread in threads:
            thread.join()


def reached_s(
    answers: dict[int, list[httpx.Response]], is_new: Callable[[httpx.Response], bool]
) -> float:
    """Return the seconds until the latest answer of every server is a new one."""
    return seconds_until(lambda: all(each and is_new(each[-1]) for each in answers.values()))


def answered_by(version: str) -> Callable[[httpx.Response], bool]:
    return lambda response: response.json().get("model_version") == version


def fleet_of(server: Server, key: str = "") -> FleetAnswered:
    headers = {"authorization": f"Bearer {key}"} if key else {}
    answer = server.http.get("/v1/fleet", headers=headers)
    assert answer.status_code == 200, answer.text
    return FleetAnswered.from_json(answer.content)


def test_a_promotion_and_a_rollback_under_load_reach_every_server_and_lose_no_request(
    tmp_path: Path, database_url: str
) -> None:
    with several_servers(tmp_path, database_url, "steady", "other") as servers:
        first, last = servers[0], servers[-1]
        with traffic(servers) as answers:
            until(lambda: all(len(each) > 3 for each in answers.values()))
            moved = first.http.put(
                ALIAS, json={"model": "default", "number": 2, "expected": 1, "reason": "better"}
            )
            assert moved.status_code == 200, moved.text
            assert reached_s(answers, answered_by("other")) < REACH_S
            rolled_back_s = time.monotonic()
            last.side.registry.rollback("default", expected_champion=2, actor="t", reason="worse")
            assert reached_s(answers, answered_by("steady")) < REACH_S
        told = [each for some in answers.values() for each in some]
        assert [(each.status_code, each.text) for each in told if each.status_code != 200] == []
        for some in answers.values():
            # Once a server answers by the new version, it never goes back by itself.
            seen = [each.json()["model_version"] for each in some]
            runs = [name for at, name in enumerate(seen) if not at or seen[at - 1] != name]
            assert runs == ["steady", "other", "steady"]
        until(lambda: fleet_of(first).agreement.n_behind == 0, every_s=LOOK_S)
        until(lambda: fleet_of(first).agreement.reached_s is not None, every_s=LOOK_S)
        assert 0 <= fleet_of(first).agreement.reached_s <= time.monotonic() - rolled_back_s


def test_a_revoked_key_is_refused_by_every_server_within_five_seconds(
    tmp_path: Path, database_url: str
) -> None:
    keys = KeyStore(open_database(database_url))
    made, secret = keys.create("guest", ["predict"])
    with several_servers(tmp_path, database_url, "steady") as servers:
        with traffic(servers, secret) as answers:
            until(lambda: all(len(each) > 3 for each in answers.values()))
            assert {each[-1].status_code for each in answers.values()} == {200}
            keys.revoke(made.id)
            assert reached_s(answers, lambda each: each.status_code == 401) < REACH_S
        for some in answers.values():
            codes = [each.status_code for each in some]
            assert codes == sorted(codes), "a key that was refused was let in again"
    keys._database.close()


def test_a_pause_of_a_rollout_is_seen_by_every_server(tmp_path: Path, database_url: str) -> None:
    with several_servers(tmp_path, database_url, "steady", "other", n=2) as servers:
        plan = {"step_s": 60.0, "min_requests": 1000}
        started = servers[0].http.post(
            "/api/v2/models/rollouts", json={"challenger": "other", "plan": plan}
        )
        assert started.status_code == 201, started.text
        rollout = started.json()["id"]
        ended = servers[1].http.post(f"/api/v2/models/rollouts/{rollout}/abort", json={})
        assert ended.status_code == 200, ended.text
        views = [each.side.view for each in servers]
        took_s = seconds_until(lambda: not any(v.routings["default"].rollout_id for v in views))
        assert took_s < REACH_S


def test_what_servers_count_is_shown_as_one_and_outlasts_them(
    tmp_path: Path, database_url: str
) -> None:
    with one_server(tmp_path, database_url, "steady") as first:
        with one_server(tmp_path, database_url, "steady") as second:
            for server, n in ((first, 3), (second, 4)):
                assert {server.predict().status_code for _ in range(n)} == {200}
            until(
                lambda: fleet_of(first).totals.predictions == {"steady": {"success": 7}},
                every_s=LOOK_S,
            )
            found = fleet_of(first)
            assert [each.status for each in found.replicas] == ["ready", "ready"]
            assert found.answered_by == first.guards.replica_id
            assert found.replicas[1].routings["default"].champion == "steady"
            assert found.replicas[1].model == "fake"
            assert sum(found.totals.prediction_s["steady"].counts) == 7
            assert sum(len(each.jobs) > 0 for each in found.replicas) <= 1
        found = fleet_of(first)
        assert [each.status for each in found.replicas] == ["ready", "left"]
        assert found.totals.predictions == {"steady": {"success": 7}}
        assert found.warnings == []


def test_servers_with_different_settings_are_told_apart(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/glassbox.db"
    strict = {"audit__durability": "strict"}
    with (
        one_server(tmp_path, url, "steady") as first,
        one_server(tmp_path, url, "steady", **strict),
    ):
        until(lambda: len(fleet_of(first).warnings) > 0, every_s=LOOK_S)
        (warning,) = fleet_of(first).warnings
        assert warning.kind == "settings"
        assert warning.message.startswith("audit.durability differs: group on ")


def test_the_fleet_is_for_those_who_may_observe(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/glassbox.db"
    keys = KeyStore(open_database(url))
    _, guest = keys.create("guest", ["predict"])
    _, watcher = keys.create("watcher", ["observe"])
    keys._database.close()
    with one_server(tmp_path, url, "steady") as server:
        assert server.http.get("/v1/fleet").status_code == 401
        bearer = {"authorization": f"Bearer {guest}"}
        assert server.http.get("/v1/fleet", headers=bearer).status_code == 403
        assert len(fleet_of(server, watcher).replicas) == 1


def test_answers_say_which_server_and_version_gave_them_but_not_to_strangers(
    tmp_path: Path,
) -> None:
    url = f"sqlite:///{tmp_path}/glassbox.db"
    keys = KeyStore(open_database(url))
    with one_server(tmp_path, url, "steady") as server:
        headers = server.predict().headers
        assert headers["glassbox-version"] == VERSION.decode()
        assert headers["glassbox-replica"] == server.guards.replica_id
        assert "glassbox-version" not in server.http.get("/livez").headers
        keys.create("first")
        until(lambda: server.predict().status_code == 401)
        assert "glassbox-version" not in server.predict().headers
    keys._database.close()


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_server_without_a_database_knows_no_fleet() -> None:
    async with fake_server() as (_, app), http_client(app) as client:
        answer = await client.get("/v1/fleet")
    assert answer.status_code == 404
    assert "without a database" in answer.json()["detail"]


def test_both_clients_read_the_fleet(tmp_path: Path) -> None:
    content = FleetAnswered.from_json(FLEET).to_json()

    def answer(request: httpx.Request) -> httpx.Response:
        assert request.url.path == "/v1/fleet"
        return httpx.Response(200, content=content)

    transport = httpx.MockTransport(answer)
    with Client("http://test", transport=transport) as client:
        assert client.fleet().agreement.n_ready == 1

    async def ask() -> int:
        async with AsyncClient("http://test", transport=transport) as other:
            return (await other.fleet()).agreement.n_ready

    assert asyncio.run(ask()) == 1


FLEET = b"""{"time_s": 1.0, "answered_by": "a", "replicas": [], "warnings": [],
"agreement": {"revision": 1, "n_ready": 1, "n_behind": 0, "reached_s": null},
"totals": {"requests": {}, "prompt_tokens": 0, "generation_tokens": 0, "predictions": {},
"shadows": {}, "labels": 0, "prediction_s": {},
"request_s": {"edges": [], "counts": [0], "total_s": 0, "p50_s": null, "p99_s": null}}}"""

"""PostgreSQL goes away under servers and comes back: what goes on, what is refused, lost."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from glassbox.audit import InferenceStore
from glassbox.server.fleet.view import REACH_S
from glassbox.storage.database import open_database
from glassbox.storage.keys import KeyStore
from tests import postgres as pg
from tests.server.fleet_worlds import Server, several_servers
from tests.waiting import seconds_until, until

AWAY_S = 3.0
"""Seconds that the database is away in the quick test."""


@pytest.fixture
def own_postgres() -> Iterator[tuple[Path, str]]:
    """A PostgreSQL server that this test may stop."""
    programs = pg.programs()
    if programs is None:
        pytest.skip("PostgreSQL's programs (initdb, pg_ctl) are not installed")
    with pg.postgres(programs) as url:
        yield programs, url


class Asker:
    """Asks one server again and again, and keeps what was acknowledged."""

    def __init__(self, server: Server, key: str) -> None:
        self._server, self._key = server, key
        self.codes: list[tuple[float, int]] = []
        self.slowest_s = 0.0
        self.acknowledged: list[str] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._ask)
        self._thread.start()

    def _ask(self) -> None:
        while not self._ended.is_set():
            started = time.monotonic()
            answer = self._server.predict(self._key)
            self.slowest_s = max(self.slowest_s, time.monotonic() - started)
            self.codes.append((started, answer.status_code))
            if answer.status_code == 200:
                self.acknowledged.append(answer.json()["request_id"])
            time.sleep(0.02)

    def until_answered(self, n: int = 3) -> None:
        """Wait until the latest answers are good."""
        until(lambda: [code for _, code in self.codes[-n:]] == [200] * n, self.codes)

    def end(self) -> None:
        self._ended.set()
        self._thread.join()


def ride_out(
    folder: Path, own_postgres: tuple[Path, str], durability: str, away_s: float
) -> tuple[list[Asker], float, float, set[str]]:
    """Return who asked through an absence of the database, its ends, and what the log holds."""
    programs, url = own_postgres
    keys = KeyStore(open_database(url))
    made, secret = keys.create("caller", ["predict", "observe"])
    with several_servers(folder, url, "steady", n=2, audit__durability=durability) as servers:
        askers = [Asker(each, secret) for each in servers]
        try:
            for each in askers:
                each.until_answered()
            gone_s = time.monotonic()
            pg.stop(programs, url)
            time.sleep(away_s)
            if durability == "group":
                until(lambda: all(sum(at > gone_s for at, _ in e.codes) > 5 for e in askers))
            away = servers[0].http.get("/v1/fleet", headers={"authorization": f"Bearer {secret}"})
            assert away.status_code == 503, away.text
            assert "did not answer" in away.json()["detail"]
            back_s = time.monotonic()
            pg.start(programs, url)
            for each in askers:
                each.until_answered()
            # What was said before the absence is not believed for longer than usual.
            keys.revoke(made.id)
            assert seconds_until(lambda: all(e.codes[-1][1] == 401 for e in askers)) < REACH_S
        finally:
            for each in askers:
                each.end()
        until(lambda: not any(each.member.problem for each in servers))
    store = InferenceStore(open_database(url))
    named = [name for each in askers for name in each.acknowledged]
    kept = store.known(named)
    assert store.verify().broken is None
    store.database.close()
    keys._database.close()
    return askers, gone_s, back_s, kept


def test_in_group_mode_answers_go_on_and_their_records_follow(
    tmp_path: Path, own_postgres: tuple[Path, str]
) -> None:
    askers, gone_s, back_s, kept = ride_out(tmp_path, own_postgres, "group", AWAY_S)
    for each in askers:
        during = [code for at, code in each.codes if gone_s < at < back_s]
        assert len(during) > 5
        assert set(during) == {200}, "callers with a known key must not notice"
        # The database may end in the middle of what it writes: that alone may be lost in 'group'.
        assert set(each.acknowledged) <= kept


def test_in_strict_mode_nothing_is_acknowledged_that_is_not_there(
    tmp_path: Path, own_postgres: tuple[Path, str]
) -> None:
    askers, gone_s, back_s, kept = ride_out(tmp_path, own_postgres, "strict", AWAY_S)
    for each in askers:
        assert set(each.acknowledged) <= kept
        during = {code for at, code in each.codes if gone_s + 0.5 < at < back_s}
        # Shorter than the writer's patience: requests wait, and are answered when it is back.
        assert during <= {200, 503}


@pytest.mark.slow
@pytest.mark.parametrize("durability", ["group", "strict"])
def test_a_minute_without_the_database(
    tmp_path: Path, own_postgres: tuple[Path, str], durability: str
) -> None:
    askers, gone_s, back_s, kept = ride_out(tmp_path, own_postgres, durability, 55.0)
    for each in askers:
        during = {code for at, code in each.codes if gone_s + 1.0 < at < back_s - 6.0}
        assert during == ({200} if durability == "group" else {503})
        assert set(each.acknowledged) <= kept
        assert each.slowest_s < 8.0

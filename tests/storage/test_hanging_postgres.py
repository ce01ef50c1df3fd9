"""A PostgreSQL that hangs: its machine answers, it does not. Nobody waits for it for ever."""

from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from glassbox.errors import CapacityError
from glassbox.storage import database as of_databases
from glassbox.storage import patient_connection
from glassbox.storage.database import Database, open_database
from tests import postgres as pg

ASKED = sa.text("SELECT 1")


@pytest.fixture
def hanging(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Database, str]]:
    """A database of a server that this test may halt, and its address; patience is short."""
    programs = pg.programs()
    if programs is None:
        pytest.skip("PostgreSQL's programs (initdb, pg_ctl) are not installed")
    monkeypatch.setattr(patient_connection, "ALIVE_S", 2.0)
    monkeypatch.setattr(of_databases, "VANISHED_S", 1.0)
    with pg.postgres(programs) as url:
        database = open_database(f"{url}&connect_timeout=2&options=-c%20statement_timeout%3D2s")
        yield database, url
        database.close()


def test_a_connection_of_the_pool_is_given_up(hanging: tuple[Database, str]) -> None:
    database, url = hanging
    with database.reading() as connection:
        assert connection.execute(ASKED).scalar() == 1
    with (
        pg.hanging(url),
        pytest.raises(CapacityError, match="did not answer"),
        database.reading() as connection,
    ):
        connection.execute(ASKED)
    with database.reading() as connection:
        assert connection.execute(ASKED).scalar() == 1


@pytest.mark.parametrize("kind", ["reading", "transaction"])
def test_a_statement_is_given_up(hanging: tuple[Database, str], kind: str) -> None:
    database, url = hanging

    def ask() -> None:
        with getattr(database, kind)() as connection:
            assert connection.execute(ASKED).scalar() == 1
            with pg.hanging(url):
                connection.execute(ASKED)

    with pytest.raises(CapacityError, match="has said nothing for 3 s"):
        ask()
    with database.transaction() as connection:
        assert connection.execute(ASKED).scalar() == 1


def test_a_server_without_a_limit_of_its_own_is_waited_for(postgres_url: str) -> None:
    join = "&" if "?" in postgres_url else "?"
    database = open_database(f"{postgres_url}{join}options=-c%20statement_timeout%3D0")
    with database.reading() as connection:
        driver = connection.connection.driver_connection
        assert driver is not None
        assert driver.silence_s == float("inf")
    database.close()


def test_a_long_migration_leaves_no_endless_patience_behind(database_url: str) -> None:
    database = open_database(database_url)
    with database.reading() as connection:
        driver = connection.connection.driver_connection
        assert driver is not None
        if database.dialect == "postgresql":
            assert driver.silence_s == of_databases.STATEMENT_TIMEOUT_S + of_databases.VANISHED_S
    database.close()

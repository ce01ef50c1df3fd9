"""``glassbox fleet``: what is in the database, without a server."""

import json
from dataclasses import replace

import pytest

from glassbox.cli import main as shell
from glassbox.storage.database import open_database
from glassbox.storage.replicas import ReplicaStore
from tests.storage.test_replicas import replica


@pytest.fixture
def store(tmp_path, monkeypatch):
    url = f"sqlite:///{tmp_path}/glassbox.db"
    monkeypatch.setenv("GLASSBOX_STORAGE__URL", url)
    monkeypatch.setenv("COLUMNS", "160")
    opened = open_database(url)
    yield ReplicaStore(opened)
    opened.close()


def test_without_servers_it_says_how_to_start_one(store, capsys):
    assert shell.main(["fleet"]) == 0
    assert "glassbox serve" in capsys.readouterr().err
    assert shell.main(["fleet", "--check"]) == 3, "servers that are long gone are not listed"


def test_servers_and_their_differences_are_listed(store, capsys):
    body = {
        "routings": {"default": {"champion": "v3"}},
        "counters": {"numbers": {"requests|2xx": 1200}, "durations": {}},
        "load": {"requests_per_s": 12.25},
    }
    first = replica("aaaa0000", body=body)
    store.beat(first, is_new=True)
    store.beat(replace(first, id="bbbb1111", version="0.2.0"), is_new=True)
    store.beat(replace(first, id="cccc2222", status="left"), is_new=True)

    assert shell.main(["fleet"]) == 0
    told = capsys.readouterr()
    for word in ("aaaa0000", "v3", "1,200", "12.2", "left"):
        assert word in told.out
    assert "2 take requests; 3,600 requests in all" in told.err
    assert "versions: Servers run different versions of Glassbox" in told.err
    assert shell.main(["fleet", "--check"]) == 3
    capsys.readouterr()

    assert shell.main(["fleet", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [each["id"] for each in found["replicas"]] == ["aaaa0000", "bbbb1111", "cccc2222"]
    assert found["totals"]["requests"] == {"2xx": 3600}


def test_a_fleet_of_which_none_takes_requests_fails_its_check(store):
    store.beat(replica("aaaa0000"), is_new=True)
    assert shell.main(["fleet", "--check"]) == 0
    store.beat(replace(replica("aaaa0000"), status="failed"), is_new=False)
    assert shell.main(["fleet", "--check"]) == 3

"""Backup and restore as the page says: by its scripts, from and into real databases, under load."""

import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from uuid import uuid4

import pytest
import sqlalchemy as sa

from glassbox.audit import AuditLog, InferenceStore
from glassbox.rollout.versions.registry import Registry
from glassbox.rollout.versions.store_of_versions import VersionStore
from glassbox.storage.database import open_database
from glassbox.storage.keys import KeyStore
from tests import postgres as pg
from tests.audit.made_events import primary

SCRIPTS = Path(__file__).parents[2] / "infra" / "backup"


class Place:
    """A database and a folder of versions, and the scripts run on them."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url = url
        self.folder = folder
        self.versions = folder / "versions"
        folder.mkdir(exist_ok=True)

    def run(self, script: str, argument: Path) -> subprocess.CompletedProcess[str]:
        programs = [str(Path(sys.executable).parent)]
        programs += [str(each) for each in [pg.programs()] if each]
        environment = {
            **os.environ,
            "PATH": os.pathsep.join([*programs, os.environ["PATH"]]),
            "GLASSBOX_STORAGE__URL_FILE": str(self._secret()),
            "GLASSBOX_PATHS__VERSIONS": str(self.versions),
            "HOME": str(self.folder),
        }
        return subprocess.run(
            [str(SCRIPTS / script), str(argument)],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    def _secret(self) -> Path:
        path = self.folder / "storage_url"
        path.write_text(f"{self.url}\n", encoding="utf-8")
        return path


@pytest.fixture
def place(database_url: str, tmp_path: Path) -> Place:
    if shutil.which("sha256sum") is None:
        pytest.skip("sha256sum is not installed")
    return Place(database_url, tmp_path / "old")


@pytest.fixture
def other(place: Place, request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """Somewhere empty, of the same kind."""
    url = f"sqlite:///{tmp_path}/new/glassbox-{uuid4().hex}.db"
    if place.url.startswith("postgresql"):
        url = pg.new_database(request.getfixturevalue("postgres_url"))
    return Place(url, tmp_path / "new")


def test_what_was_backed_up_under_load_is_there_again(place, other, tmp_path):
    database = open_database(place.url)
    digest = VersionStore(place.versions).put({"model.json": b'{"a": 1}'}, {})
    registry = Registry(database)
    registry.register("default", "callable", "models:one", digest, actor="ann")
    registry.promote("default", 1, expected_champion=None, actor="ann", reason="first")
    known = registry.snapshot()
    key, secret = KeyStore(database).create("search", ("predict",))
    store = InferenceStore(database)
    for number in range(50):
        store.record(primary(f"before-{number}"))
    store.flush()
    end = threading.Event()

    def load() -> None:
        number = 0
        while not end.wait(0.002):
            store.record(primary(f"meanwhile-{number}"))
            number += 1

    writer = threading.Thread(target=load)
    writer.start()
    done = place.run("back-up.sh", tmp_path / "copies")
    end.set()
    writer.join()
    store.flush()
    store.close()
    assert done.returncode == 0, done.stderr
    copy = Path(done.stdout.strip())
    assert not list(copy.parent.glob("*.part"))
    noted = json.loads((copy / "audit.json").read_text())["predictions"]["head"]["sequence"]
    assert noted >= 50
    # What happens after the copy is not in it.
    KeyStore(database).revoke(key.id)
    database.close()

    done = other.run("restore.sh", copy)
    assert done.returncode == 0, done.stdout + done.stderr
    again = open_database(other.url)
    restored = InferenceStore(again)
    assert restored.verify().broken is None
    assert restored.known([f"before-{n}" for n in range(50)]) == {f"before-{n}" for n in range(50)}
    assert restored.head().sequence >= noted
    assert Registry(again).snapshot().versions == known.versions
    assert Registry(again).snapshot().aliases == known.aliases
    assert VersionStore(other.versions).checked(known.versions[0]).is_dir()
    assert KeyStore(again).find(secret) is not None, "the page says so: revoked keys come back"
    restored.close()
    again.close()

    done = other.run("restore.sh", copy)
    assert done.returncode == 2
    assert "tables" in done.stderr or "move it away" in done.stderr


def test_a_damaged_copy_changes_nothing(place, other, tmp_path):
    open_database(place.url).close()
    copy = Path(place.run("back-up.sh", tmp_path / "copies").stdout.strip())
    (copy / "audit.json").write_text("{}")
    done = other.run("restore.sh", copy)
    assert done.returncode == 1
    assert "is damaged: nothing was changed" in done.stderr
    if other.url.startswith("sqlite"):
        assert not list(other.folder.glob("*.db*"))


def test_logs_that_lost_their_ends_are_noticed(place, other, tmp_path):
    """Somebody gives back an older database with the newer note of where the logs ended."""
    database = open_database(place.url)
    store = InferenceStore(database)
    store.record(primary("first"))
    store.flush()
    older = Path(place.run("back-up.sh", tmp_path / "older").stdout.strip())
    store.record(primary("second"))
    store.flush()
    store.close()
    AuditLog(database).append("versions.promote", actor="ann", subject="default")
    database.close()
    newer = Path(place.run("back-up.sh", tmp_path / "newer").stdout.strip())
    for name in ("database.db", "database.dump"):
        if (older / name).exists():
            shutil.copy(older / name, newer / name)
    sums = subprocess.run(
        "sha256sum -- $(ls | grep -v SHA256SUMS)",
        shell=True,
        cwd=newer,
        capture_output=True,
        text=True,
        check=True,
    )
    (newer / "SHA256SUMS").write_text(sums.stdout)
    done = other.run("restore.sh", newer)
    assert done.returncode == 5, done.stdout + done.stderr
    said = " ".join(done.stderr.split())
    assert "The log of predictions breaks at event 2" in said
    assert "The log of actions breaks at event 1" in said


@pytest.mark.parametrize("script", ["back-up.sh", "restore.sh"])
def test_a_database_of_another_kind_is_refused(script, tmp_path):
    done = Place("sqlite://", tmp_path / "x").run(script, tmp_path / "copies")
    assert done.returncode != 0
    assert not list(tmp_path.glob("copies/*"))


def test_nobody_is_shown_the_password(place, tmp_path):
    """Every program's words can be seen by everybody on the machine."""
    if place.url.startswith("sqlite"):
        pytest.skip("a file has no password")
    parsed = sa.make_url(place.url).set(password="s3cr3t")
    place.url = parsed.render_as_string(hide_password=False)
    shims = tmp_path / "shims"
    shims.mkdir()
    (shims / "pg_dump").write_text('#!/bin/sh\necho "$@" > "$HOME/words"\nexit 1\n')
    (shims / "pg_dump").chmod(0o755)
    environment = {**os.environ, "HOME": str(place.folder), "GLASSBOX_STORAGE__URL": place.url}
    environment["PATH"] = os.pathsep.join(
        [str(shims), str(Path(sys.executable).parent), os.environ["PATH"]]
    )
    subprocess.run(
        [str(SCRIPTS / "back-up.sh"), str(tmp_path / "copies")],
        env=environment, cwd=place.folder, check=False, capture_output=True, timeout=60,
    )  # fmt: skip
    words = (place.folder / "words").read_text()
    assert "--dbname=postgresql://" in words
    assert "s3cr3t" not in words

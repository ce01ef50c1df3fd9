"""Files of versions: named by their content, never changed, damage found before use."""

import errno
import os
import resource
import threading
from pathlib import Path

import pytest

from glassbox.errors import CorruptArtifact, NoDiskSpace, UnknownName
from glassbox.rollout.version import Version
from glassbox.rollout.versions.store_of_versions import VersionStore


def version(digest: str) -> Version:
    return Version("default", 1, "default_model_v1", "sklearn", digest, digest, 0.0)


@pytest.fixture
def store(tmp_path: Path) -> VersionStore:
    return VersionStore(tmp_path / "versions")


def test_the_same_content_has_the_same_folder_whatever_is_told_about_it(
    store: VersionStore, tmp_path: Path
) -> None:
    (tmp_path / "weights").write_bytes(b"abc")
    first = store.put({"a/weights": tmp_path / "weights", "m.json": b"{}"}, {"results.json": b"1"})
    again = store.put({"m.json": b"{}", "a/weights": b"abc"}, {"results.json": b"2"})
    assert again == first
    folder = store.checked(version(first))
    assert (folder / "a" / "weights").read_bytes() == b"abc"
    assert (folder / "evidence" / "results.json").read_bytes() == b"1"
    assert [each.name for each in (folder / "evidence").iterdir()] == ["results.json"]
    assert [each.name for each in store.folder.iterdir()] == [first]


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o755), (0o077, 0o700)])
def test_who_may_look_into_a_version_is_what_the_process_says(
    store: VersionStore, mask: int, mode: int
) -> None:
    before = os.umask(mask)
    try:
        folder = store.folder / store.put({"m.json": b"{}"}, {})
    finally:
        os.umask(before)
    assert folder.stat().st_mode & 0o777 == mode


@pytest.mark.parametrize(
    ("one", "other"),
    [({"a": b"x"}, {"b": b"x"}), ({"a": b"x"}, {"a": b"y"}), ({"a": b"x"}, {"d/a": b"x"}),
     ({"a": b"xy", "b": b""}, {"a": b"x", "b": b"y"})],
)  # fmt: skip
def test_names_and_boundaries_count(
    store: VersionStore, one: dict[str, bytes], other: dict[str, bytes]
) -> None:
    assert store.put(one, {}) != store.put(other, {})


def test_where_a_file_may_not_become_so_large_nothing_of_a_version_is_left(
    store: VersionStore,
) -> None:
    whole = store.put({"m.json": b"{}"}, {})
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(NoDiskSpace, match=r"ulimit -f.*name a folder elsewhere"):
            store.put({"a.json": b"{}", "weights": b"x" * 200_000}, {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [each.name for each in store.folder.iterdir()] == [whole]


def test_a_repair_that_finds_the_disk_full_leaves_what_was_there(
    store: VersionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = store.put({"m.json": b"{}"}, {})
    (store.folder / digest / "m.json").write_bytes(b"damaged")

    def full(_handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as changed:
        changed.setattr(os, "fsync", full)
        with pytest.raises(NoDiskSpace, match="run the same command again"):
            store.put({"m.json": b"{}"}, {})
    assert [each.name for each in store.folder.iterdir()] == [digest]
    assert store.put({"m.json": b"{}"}, {}) == digest
    assert (store.checked(version(digest)) / "m.json").read_bytes() == b"{}"


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


@pytest.mark.parametrize("damage", ["flip", "cut", "missing", "listing", "no listing", "nothing"])
def test_damage_is_found_before_use_and_healed_by_registering_again(
    store: VersionStore, damage: str
) -> None:
    files = {"weights": b"0123456789" * 100, "m.json": b"{}"}
    digest = store.put(files, {})
    folder = store.folder / digest
    match damage:
        case "flip":
            _flip(folder / "weights")
        case "cut":
            (folder / "weights").write_bytes(b"0123")
        case "missing":
            (folder / "weights").unlink()
        case "listing":
            (folder / "files.json").write_text('{"schema_version": 1, "answering": ["m.json"]}')
        case "no listing":
            (folder / "files.json").write_text("{")
        case "nothing":
            store.remove(digest)
    with pytest.raises(CorruptArtifact, match=r"is not what was registered.*Register it again"):
        store.checked(version(digest))
    assert store.put(files, {}) == digest
    assert store.checked(version(digest)) == folder
    assert [each.name for each in store.folder.iterdir()] == [digest]


def test_a_listing_cannot_point_outside(store: VersionStore, tmp_path: Path) -> None:
    digest = store.put({"a": b"1"}, {})
    (tmp_path / "secret").write_bytes(b"1")
    listing = '{"schema_version": 1, "answering": ["../../secret"]}'
    (store.folder / digest / "files.json").write_text(listing)
    with pytest.raises(CorruptArtifact, match="secret is missing"):
        store.checked(version(digest))


def test_curves_are_those_that_were_registered(store: VersionStore) -> None:
    digest = store.put({"a": b"1"}, {"charts/reliability.json": b'{"values": [1]}', "r": b"x"})
    assert store.charts(version(digest)) == {"reliability": {"values": [1]}}
    path = store.folder / digest / "evidence" / "charts" / "reliability.json"
    path.write_bytes(b'{"values": [2]}')
    with pytest.raises(CorruptArtifact, match="not what was registered"):
        store.charts(version(digest))
    plain = store.put({"a": b"2"}, {})
    with pytest.raises(
        UnknownName, match=r"evaluation curves of 'default_model_v1'.*glassbox evaluate"
    ):
        store.charts(version(plain))


def test_threads_that_put_the_same_files_leave_one_folder(store: VersionStore) -> None:
    files = {f"f{n}": bytes([n]) * 1000 for n in range(5)}
    found: list[str] = []
    threads = [
        threading.Thread(target=lambda: found.append(store.put(files, {}))) for _ in range(6)
    ]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len(found) == 6
    assert len(set(found)) == 1
    store.checked(version(found[0]))
    assert [each.name for each in store.folder.iterdir()] == [found[0]]

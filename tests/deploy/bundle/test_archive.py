"""Archives: the same files give the same bytes; what is strange in one is refused."""

import gzip
import io
import os
import tarfile
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glassbox.artifacts import Part, indented_json
from glassbox.deploy.bundle import (
    BUNDLE_FILE,
    Base,
    Bundle,
    Recorded,
    opened,
    verify_bundle,
    write_archive,
)
from glassbox.deploy.bundle import archive as archives
from glassbox.deploy.bundle.archive import hash_of, members_of, read_description
from glassbox.engine.lora import growing
from glassbox.errors import CorruptArtifact

MEMBERS = st.dictionaries(
    st.lists(st.sampled_from(["a", "b", "long" * 40]), min_size=1, max_size=2).map("/".join),
    st.binary(max_size=300),
    min_size=1,
    max_size=4,
)


def described(files: dict[str, bytes], **more: object) -> Bundle:
    recorded = {name: Recorded(*hash_of(io.BytesIO(each))) for name, each in files.items()}
    base = Base("embedded", "tiny", None, "", has_weights=False)
    return Bundle("b", "0.1.0", base, files=recorded, **more)


def archive_of(path: Path, bundle: Bundle, members: dict[str, bytes]) -> Path:
    content = {BUNDLE_FILE: indented_json(bundle.to_json()), **members}
    write_archive(path, content, first=BUNDLE_FILE)
    return path


def raw_archive(path: Path, bundle: Bundle, entries: list[tarfile.TarInfo]) -> Path:
    """Return an archive of anything behind a good description."""
    content = indented_json(bundle.to_json())
    first = tarfile.TarInfo(BUNDLE_FILE)
    first.size = len(content)
    with tarfile.open(path, "w:gz") as tar:
        tar.addfile(first, io.BytesIO(content))
        for each in entries:
            tar.addfile(each, io.BytesIO(bytes(each.size)))
    return path


@given(members=MEMBERS)
def test_the_same_files_give_the_same_bytes(members: dict[str, bytes], tmp_path_factory) -> None:
    folder = tmp_path_factory.mktemp("archives")
    first = write_archive(folder / "one.tar.gz", members)
    second = write_archive(folder / "two.tar.gz", dict(reversed(members.items())))
    one, two = (folder / "one.tar.gz").read_bytes(), (folder / "two.tar.gz").read_bytes()
    assert one == two
    assert first == second == hash_of(io.BytesIO(one))[0]
    with tarfile.open(folder / "one.tar.gz") as tar:
        found = {each.name: tar.extractfile(each).read() for each in tar}
        assert list(found) == sorted(members)
        assert all(each.mtime == each.uid == each.gid == 0 for each in tar.getmembers())
    assert found == members


def test_files_of_the_disk_are_packed_like_bytes(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"content")
    one = write_archive(tmp_path / "one.tar.gz", {"a": tmp_path / "a"})
    assert one == write_archive(tmp_path / "two.tar.gz", {"a": b"content"})


def test_an_archive_that_is_opened_holds_exactly_what_was_packed(tmp_path: Path) -> None:
    files = {"adapters/a/x.json": b"{}", "base/y": b"weights"}
    path = archive_of(tmp_path / "b.tar.gz", described(files), files)
    assert read_description(path) == described(files)
    found = opened(path, cache=tmp_path / "cache")
    for name, content in files.items():
        assert (found.folder / name).read_bytes() == content
    names = {each.relative_to(found.folder).as_posix() for each in found.folder.rglob("*.*")}
    assert names == {BUNDLE_FILE, "adapters/a/x.json"}
    assert opened(path, cache=tmp_path / "cache").folder == found.folder
    assert [each.name for each in (tmp_path / "cache").iterdir()] == [found.folder.name]


@pytest.mark.parametrize("name", ["../escaped", "/tmp/escaped", "adapters/../../escaped", "extra"])
def test_what_the_description_does_not_name_is_never_written(tmp_path: Path, name: str) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = 4
    path = raw_archive(tmp_path / "b.tar.gz", described({}), [entry])
    with pytest.raises(CorruptArtifact, match="not in the description"):
        opened(path, cache=tmp_path / "cache")
    assert not list(tmp_path.rglob("escaped"))
    assert not list((tmp_path / "cache").iterdir()), "nothing half-made is left"


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_are_refused(tmp_path: Path, kind: bytes) -> None:
    entry = tarfile.TarInfo("a")
    entry.type, entry.linkname = kind, "/etc/passwd"
    path = raw_archive(tmp_path / "b.tar.gz", described({"a": b""}), [entry])
    with pytest.raises(CorruptArtifact, match="a link or a device"):
        opened(path, cache=tmp_path / "cache")


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME])
def test_a_name_of_any_length_is_not_read_into_memory(tmp_path: Path, kind: bytes) -> None:
    entry = tarfile.TarInfo("x")
    entry.type, entry.size = kind, 2 * growing.MAX_HEADER_BYTES
    path = raw_archive(tmp_path / "b.tar.gz", described({"a": b""}), [entry])
    for use in (opened, verify_bundle):
        with pytest.raises(CorruptArtifact, match="to name one file"):
            use(path)
    first = tmp_path / "first.tar.gz"
    first.write_bytes(gzip.compress(entry.tobuf(tarfile.GNU_FORMAT) + bytes(entry.size)))
    with pytest.raises(CorruptArtifact, match="to name one file"):
        read_description(first)


def test_an_archive_that_grows_to_many_times_its_size_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives, "SMALL_BYTES", 2**16)
    files = {"a": bytes(2**20)}
    path = archive_of(tmp_path / "b.tar.gz", described(files), files)
    with pytest.raises(CorruptArtifact, match="64 times the archive"):
        read_description(path)
    hidden = tarfile.TarInfo("extra")
    hidden.size = 2**20
    path = raw_archive(tmp_path / "c.tar.gz", described({}), [hidden])
    with pytest.raises(CorruptArtifact, match="64 times the archive"):
        verify_bundle(path)


def test_an_archive_of_more_files_than_anything_needs_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(growing, "MAX_FILES", 3)
    entries = [tarfile.TarInfo(f"extra{number}") for number in range(3)]
    path = raw_archive(tmp_path / "b.tar.gz", described({}), entries)
    with pytest.raises(CorruptArtifact, match="more than 3 files"):
        verify_bundle(path)


@pytest.mark.parametrize(
    ("names", "match"),
    [
        (["a", "a/b"], "as a file and as a folder"),
        (["x" * 256], "no path inside"),
        (["/".join(["x" * 200] * 6)], "no path inside"),
        (["a\nb"], "no path inside"),
        (["a\x1b[31mb"], "no path inside"),
    ],
)
def test_names_that_no_file_system_takes_are_refused_in_words(
    tmp_path: Path, names: list[str], match: str
) -> None:
    files = dict.fromkeys(names, b"content")
    path = archive_of(tmp_path / "b.tar.gz", described(files), files)
    with pytest.raises(CorruptArtifact, match=match):
        opened(path, cache=tmp_path / "cache")


def test_a_file_that_stands_twice_is_refused(tmp_path: Path) -> None:
    entry = tarfile.TarInfo("a")
    path = raw_archive(tmp_path / "b.tar.gz", described({"a": b""}), [entry, entry])
    with pytest.raises(CorruptArtifact, match="'a' twice"):
        opened(path, cache=tmp_path / "cache")


@pytest.mark.parametrize(
    ("packed", "match"),
    [({"a": b"other!!"}, "b.tar.gz/a"), ({"a": b"longer content"}, "b.tar.gz/a"), ({}, "missing")],
)
def test_a_changed_or_missing_file_is_named(tmp_path: Path, packed, match: str) -> None:
    path = archive_of(tmp_path / "b.tar.gz", described({"a": b"content"}), packed)
    with pytest.raises(CorruptArtifact, match=match):
        opened(path, cache=tmp_path / "cache")
    assert not list((tmp_path / "cache").iterdir())


def test_an_archive_cut_short_or_of_something_else_is_refused(tmp_path: Path) -> None:
    files = {"a": bytes(range(256)) * 400}
    whole = archive_of(tmp_path / "b.tar.gz", described(files), files).read_bytes()
    for content in (whole[: len(whole) // 2], whole[:20], b"no archive", b"", gzip.compress(b"x")):
        (tmp_path / "cut.tar.gz").write_bytes(content)
        with pytest.raises(CorruptArtifact, match=r"cut\.tar\.gz"):
            opened(tmp_path / "cut.tar.gz", cache=tmp_path / "cache")
    other = tmp_path / "other.tar.gz"
    write_archive(other, {"a": b"content", BUNDLE_FILE: b"{}"})
    with pytest.raises(CorruptArtifact, match=r"does not begin with bundle\.json"):
        opened(other, cache=tmp_path / "cache")


def test_a_bundle_that_was_unpacked_and_then_changed_is_not_served(tmp_path: Path) -> None:
    files = {"a": b"content"}
    path = archive_of(tmp_path / "b.tar.gz", described(files), files)
    folder = opened(path, cache=tmp_path / "cache").folder
    (folder / "a").write_bytes(b"CONTENT")
    with pytest.raises(CorruptArtifact, match="/a: its SHA-256 is"):
        opened(path, cache=tmp_path / "cache")


def test_files_come_in_the_order_of_the_archive(tmp_path: Path) -> None:
    files = {name: name.encode() for name in "bca"}
    part = {"adapters": {"a": Part("adapters/a", "0" * 64)}}
    path = archive_of(tmp_path / "b.tar.gz", described(files, **part), files)
    assert [(name, size) for name, size, _ in members_of(path)] == [("a", 1), ("b", 1), ("c", 1)]


def test_what_a_killed_process_left_behind_goes_once_it_is_old(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    for name, age_s in ((".glassbox-part-old", 7 * 3600), (".glassbox-part-new", 60)):
        (cache / name).mkdir(parents=True)
        moment = time.time() - age_s
        os.utime(cache / name, (moment, moment))
    files = {"a": b"content"}
    found = opened(archive_of(tmp_path / "b.tar.gz", described(files), files), cache=cache)
    assert {each.name for each in cache.iterdir()} == {".glassbox-part-new", found.folder.name}

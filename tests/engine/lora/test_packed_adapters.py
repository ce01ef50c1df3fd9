"""Adapters that lie in the store as one archive."""

import io
import tarfile
from pathlib import Path

import pytest

from glassbox.engine.lora.bank import AdapterBank, AdapterPlaces
from glassbox.engine.lora.files import CONFIG_FILE, WEIGHTS_FILE
from glassbox.engine.lora.object_store import AdapterStore
from glassbox.errors import CorruptArtifact, NoDiskSpace, UnknownName
from tests.engine.fit_world import tiny_base
from tests.engine.lora.store_world import URL, visible

pytest.importorskip("boto3", reason="object stores need boto3 (extra 'sagemaker')")
pytest.importorskip("moto", reason="the object store of these tests is moto's")

pytestmark = [
    pytest.mark.filterwarnings("ignore:datetime.datetime.utcnow:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning"),
]


def pack(folder: Path, *, entries: dict[str, bytes] | None = None, link: str = "") -> bytes:
    files = entries or {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
        if link:
            entry = tarfile.TarInfo(link)
            entry.type, entry.linkname = tarfile.SYMTYPE, "/etc/passwd"
            tar.addfile(entry)
    return packed.getvalue()


PACKED = f"{URL}.tar.gz"


def test_a_packed_adapter_is_the_same_adapter(s3, made, tmp_path):
    s3.put_object(Bucket="models", Key="adapters/tuned.tar.gz", Body=pack(made))
    places = AdapterPlaces(folder=tmp_path, url_prefix="s3://models/adapters")
    bank = AdapterBank(tiny_base(), places)
    local = AdapterBank(tiny_base()).register(made)
    assert bank.register(PACKED, "tuned").digest == local.digest
    assert bank.acquire(PACKED).digest == local.digest
    (folder,) = visible(tmp_path)
    assert sorted(path.name for path in folder.iterdir()) == [CONFIG_FILE, WEIGHTS_FILE]


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (lambda made: b"no archive", "no whole .tar.gz"),
        (lambda made: pack(made)[:-40], "no whole .tar.gz"),
        (lambda made: pack(made, entries={"readme": b"x"}), f"{CONFIG_FILE}: the file is missing"),
        (lambda made: pack(made, entries={f"deep/{CONFIG_FILE}": b"{}"}), "missing at its top"),
        (lambda made: pack(made, entries={CONFIG_FILE: b"{}"}, link=WEIGHTS_FILE), "a link"),
        (lambda made: pack(made, entries={CONFIG_FILE: b"{}", f"./{CONFIG_FILE}": b"{}"}), "twice"),
        (lambda made: pack(made, entries={WEIGHTS_FILE: bytes(8 << 20)}), "64 times the archive"),
        (lambda made: pack(made, entries={"notes": bytes(8 << 20)}), "64 times the archive"),
        (lambda made: pack(made, entries={"x" * (2 << 20): b""}), "to name one file"),
    ],
)
def test_an_archive_that_is_no_adapter_leaves_nothing(s3, made, tmp_path, content, match):
    s3.put_object(Bucket="models", Key="adapters/tuned.tar.gz", Body=content(made))
    store = AdapterStore(tmp_path / "disk")
    with pytest.raises(CorruptArtifact, match=match), store.fetched(PACKED):
        pass
    assert visible(tmp_path / "disk") == []


def test_a_disk_that_fills_while_an_archive_is_unpacked_is_no_fault_of_it(
    s3, made, tmp_path, monkeypatch
):
    s3.put_object(Bucket="models", Key="adapters/tuned.tar.gz", Body=pack(made))
    opened = Path.open

    def on_a_full_disk(path, mode="r", *rest, **more):
        is_full = mode == "wb" and path.name == WEIGHTS_FILE
        return opened(Path("/dev/full") if is_full else path, mode, *rest, **more)

    monkeypatch.setattr(Path, "open", on_a_full_disk)
    store = AdapterStore(tmp_path / "disk")
    with pytest.raises(NoDiskSpace, match="No space left"), store.fetched(PACKED):
        pass
    assert visible(tmp_path / "disk") == []


def test_an_archive_that_is_not_there_is_said(s3, tmp_path):
    store = AdapterStore(tmp_path)
    with pytest.raises(UnknownName, match="No adapter 's3://"), store.fetched(PACKED):
        pass

"""Adapters in an object store: fetched whole or not at all, and never from anywhere else."""

import os
import shutil
import threading
import time
from pathlib import Path

import pytest

from glassbox.engine.lora.bank import AdapterBank, AdapterPlaces
from glassbox.engine.lora.files import CONFIG_FILE, WEIGHTS_FILE
from glassbox.engine.lora.object_store import ABANDONED_S, AdapterStore, is_url
from glassbox.errors import CorruptArtifact, InvalidValue, UnknownName
from tests.engine.fit_world import tiny_base
from tests.engine.lora.store_world import URL, put, visible
from tests.waiting import PATIENCE_S

pytest.importorskip("boto3", reason="object stores need boto3 (extra 'sagemaker')")
pytest.importorskip("moto", reason="the object store of these tests is moto's")

pytestmark = [
    pytest.mark.filterwarnings("ignore:datetime.datetime.utcnow:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning"),
]


def test_an_adapter_is_fetched_registered_and_fetched_no_second_time(s3, made, tmp_path):
    put(s3, made)
    bank = AdapterBank(tiny_base(), AdapterPlaces(host_bytes=0, folder=tmp_path / "disk"))
    local = AdapterBank(tiny_base()).register(made)
    assert bank.register(URL, "tuned").digest == local.digest
    s3.delete_object(Bucket="models", Key=f"adapters/tuned/{WEIGHTS_FILE}")
    assert bank.acquire("tuned").digest == local.digest
    (folder,) = visible(tmp_path / "disk")
    assert sorted(path.name for path in folder.iterdir()) == [CONFIG_FILE, WEIGHTS_FILE]


def test_what_was_swept_from_the_disk_is_fetched_again(s3, made, tmp_path):
    put(s3, made)
    bank = AdapterBank(tiny_base(), AdapterPlaces(host_bytes=0, folder=tmp_path, disk_bytes=0))
    digest = bank.register(URL, "tuned").digest
    put(s3, made, "adapters/other")
    with bank.store.fetched("s3://models/adapters/other/") as other:
        assert visible(tmp_path) == [other]
    assert bank.acquire("tuned").digest == digest


def test_a_folder_that_is_being_read_is_not_swept(s3, made, tmp_path):
    put(s3, made)
    put(s3, made, "adapters/other")
    store = AdapterStore(tmp_path, disk_bytes=0)
    with store.fetched(URL) as first, store.fetched("s3://models/adapters/other") as second:
        assert {first, second} == set(visible(tmp_path))


def test_an_adapter_that_changed_in_the_store_is_not_passed_off_as_the_old_one(s3, made, tmp_path):
    put(s3, made)
    bank = AdapterBank(tiny_base(), AdapterPlaces(host_bytes=0, folder=tmp_path, disk_bytes=0))
    bank.register(URL, "tuned")
    weights = (made / WEIGHTS_FILE).read_bytes()
    changed = weights[:-1] + bytes([weights[-1] ^ 1])
    s3.put_object(Bucket="models", Key=f"adapters/tuned/{WEIGHTS_FILE}", Body=changed)
    put(s3, made, "adapters/other")
    with bank.store.fetched("s3://models/adapters/other"):
        pass
    with pytest.raises(CorruptArtifact, match=r"s3://models.* has changed since it was loaded"):
        bank.acquire("tuned")


def test_requests_may_name_urls_under_the_allowed_prefix_alone(s3, made, tmp_path):
    put(s3, made)
    put(s3, made, "adapters-of-others/tuned")
    places = AdapterPlaces(folder=tmp_path, url_prefix="s3://models/adapters")
    bank = AdapterBank(tiny_base(), places)
    claim = bank.claim(URL)
    assert visible(tmp_path) == []
    assert bank.acquire_now(claim) is None
    lease = bank.acquire(claim)
    assert bank.acquire_now(claim).slot == bank.acquire_now(bank.claim(URL)).slot == lease.slot
    assert [info.name for info in bank.infos()] == [URL]
    assert bank.acquire(URL).slot == lease.slot
    for url in ("s3://models/adapters-of-others/tuned", "s3://models/adapters/../x", "s3://x/y"):
        for ask in (bank.acquire, bank.claim):
            with pytest.raises(UnknownName, match="No adapter 's3://"):
                ask(url)
    assert not AdapterStore(tmp_path).allows(URL)


def test_a_prefix_of_something_else_is_refused(tmp_path):
    with pytest.raises(InvalidValue, match="prefix of adapter URLs is 'https://x'"):
        AdapterStore(tmp_path, prefix="https://x")


@pytest.mark.parametrize("url", ["s3://", "s3:///adapters", "s3://no bucket/x", "s3:///x.tar.gz"])
def test_an_address_that_can_be_none_is_refused_and_not_tried_again(s3, tmp_path, url):
    with (
        pytest.raises(InvalidValue, match=r"address of the adapter .* with a bucket's name"),
        AdapterStore(tmp_path / "disk").fetched(url),
    ):
        pass


def test_an_engine_without_a_store_fetches_nothing():
    with pytest.raises(UnknownName, match="This engine fetches none from object stores"):
        AdapterBank(tiny_base()).register(URL)


def test_what_is_not_there_is_said(s3, made, tmp_path):
    store = AdapterStore(tmp_path / "disk")
    with (
        pytest.raises(UnknownName, match="The object store has no adapter there"),
        store.fetched(URL),
    ):
        pass
    with (
        pytest.raises(UnknownName, match=r"The object store says .*NoSuchBucket"),
        store.fetched("s3://nowhere/x"),
    ):
        pass
    s3.put_object(Bucket="models", Key=f"adapters/tuned/{CONFIG_FILE}", Body=b"{}")
    with (
        pytest.raises(CorruptArtifact, match=f"{WEIGHTS_FILE}: the file is missing"),
        store.fetched(URL),
    ):
        pass
    assert visible(tmp_path / "disk") == []


def test_what_another_process_takes_away_meanwhile_is_in_nobodys_way(s3, made, tmp_path):
    put(s3, made)
    # As they look between the listing of a folder and the look at what is in it.
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    (tmp_path / "going").mkdir()
    (tmp_path / "going" / CONFIG_FILE).symlink_to(tmp_path / "nowhere")
    with AdapterStore(tmp_path, disk_bytes=0).fetched(URL) as folder:
        assert (folder / WEIGHTS_FILE).is_file()


def test_many_requests_for_one_url_fetch_it_once(s3, made, tmp_path, monkeypatch):
    put(s3, made)
    bank = AdapterBank(tiny_base(), AdapterPlaces(folder=tmp_path, url_prefix="s3://models/"))
    n_downloads: list[str] = []
    real = AdapterStore._download

    def download(self, url, *rest):
        n_downloads.append(url)
        real(self, url, *rest)

    monkeypatch.setattr(AdapterStore, "_download", download)
    leases = []
    threads = [threading.Thread(target=lambda: leases.append(bank.acquire(URL))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert n_downloads == [URL]
    assert len({lease.slot for lease in leases}) == 1
    assert len(leases) == 4


def test_a_slow_download_makes_no_other_url_wait(s3, made, tmp_path, monkeypatch):
    put(s3, made)
    put(s3, made, "adapters/slow")
    store = AdapterStore(tmp_path)
    slow, begun, goes_on = f"{URL.rpartition('/')[0]}/slow", threading.Event(), threading.Event()
    real = AdapterStore._download

    def download(self, url, *rest):
        if url == slow:
            begun.set()
            assert goes_on.wait(PATIENCE_S)
        real(self, url, *rest)

    monkeypatch.setattr(AdapterStore, "_download", download)
    arrived = []

    def fetch() -> None:
        with store.fetched(slow) as folder:
            arrived.append((folder / WEIGHTS_FILE).exists())

    thread = threading.Thread(target=fetch)
    thread.start()
    assert begun.wait(PATIENCE_S)
    with store.fetched(URL) as folder:
        assert (folder / WEIGHTS_FILE).exists()
    with store.fetched(URL, fresh=False):
        assert not arrived
    goes_on.set()
    thread.join(PATIENCE_S)
    assert arrived == [True]


def test_a_url_that_many_ask_for_is_read_and_prepared_once(s3, made, tmp_path, monkeypatch):
    put(s3, made)
    bank = AdapterBank(tiny_base(), AdapterPlaces(folder=tmp_path, url_prefix="s3://models/"))
    n_read: list[object] = []
    real = AdapterBank._read

    def read(self, source, **options):
        n_read.append(source)
        time.sleep(0.05)
        return real(self, source, **options)

    monkeypatch.setattr(AdapterBank, "_read", read)
    claims = [bank.claim(URL) for _ in range(4)]
    leases = []
    threads = [threading.Thread(target=lambda c=c: leases.append(bank.acquire(c))) for c in claims]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert n_read == [URL]
    assert len(leases) == 4


def test_only_so_many_urls_stay_known_and_those_in_use_or_loaded_on_purpose_live(
    s3, made, tmp_path
):
    urls = [f"s3://models/adapters/{name}" for name in "abcd"]
    for url in urls:
        put(s3, made, url.removeprefix("s3://models/"))
        # Another digest for each.
        config = (made / CONFIG_FILE).read_bytes().replace(b'"lora_alpha": 8', b'"lora_alpha": %d')
        config %= 8 + ord(url[-1])
        s3.put_object(
            Bucket="models", Key=f"{url.removeprefix('s3://models/')}/{CONFIG_FILE}", Body=config
        )
    places = AdapterPlaces(folder=tmp_path, url_prefix="s3://models/", n_urls=2)
    bank = AdapterBank(tiny_base(), places)
    bank.register(urls[0], urls[0])
    lease = bank.acquire(urls[1])
    claim = bank.claim(urls[1])
    bank.release(bank.acquire(urls[2]))
    bank.claim(urls[1])
    bank.release(bank.acquire(urls[3]))
    assert [info.name for info in bank.infos()] == [urls[0], urls[1], urls[3]]
    bank.release(bank.acquire(urls[2]))
    assert [info.name for info in bank.infos()] == [urls[0], urls[2], urls[3]]
    assert bank.acquire_now(claim).slot == lease.slot
    with pytest.raises(InvalidValue, match="n_urls is 0"):
        AdapterPlaces(n_urls=0)


def test_what_a_killed_process_left_unfinished_is_swept(s3, made, tmp_path):
    put(s3, made)
    left, under_way = tmp_path / ".part-left", tmp_path / ".part-now"
    for folder in (left, under_way):
        folder.mkdir()
        (folder / WEIGHTS_FILE).write_bytes(b"half")
    long_ago = time.time() - ABANDONED_S - 60
    os.utime(left, (long_ago, long_ago))
    with AdapterStore(tmp_path).fetched(URL) as folder:
        assert set(visible(tmp_path)) == {folder, under_way}


def test_a_folder_that_another_process_fetched_meanwhile_is_taken(s3, made, tmp_path, monkeypatch):
    put(s3, made)
    real = Path.rename

    def rename(self, target):
        if self.name.startswith(".part-"):
            shutil.copytree(self, target)
        return real(self, target)

    monkeypatch.setattr(Path, "rename", rename)
    with AdapterStore(tmp_path).fetched(URL) as folder:
        assert (folder / WEIGHTS_FILE).read_bytes() == (made / WEIGHTS_FILE).read_bytes()
        assert visible(tmp_path) == [folder]


def test_only_addresses_of_object_stores_are_urls():
    assert is_url(URL)
    assert not is_url("runs/tuned")
    assert not is_url(Path("s3:/x"))

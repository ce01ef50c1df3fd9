"""A download breaks off, is refused or finds a full disk: it is said, and nothing is left."""

import builtins
import os

import pytest

from glassbox.engine.lora.files import WEIGHTS_FILE
from glassbox.engine.lora.object_store import AdapterStore
from glassbox.errors import (
    AccessDenied,
    CapacityError,
    CorruptArtifact,
    DependencyMissing,
    NoDiskSpace,
    UnknownName,
)
from tests.engine.lora.store_world import URL, put, visible

pytest.importorskip("boto3", reason="object stores need boto3 (extra 'sagemaker')")
pytest.importorskip("moto", reason="the object store of these tests is moto's")

pytestmark = [
    pytest.mark.filterwarnings("ignore:datetime.datetime.utcnow:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning"),
]


def test_a_download_that_breaks_off_leaves_nothing(s3, made, tmp_path, monkeypatch):
    from botocore.response import StreamingBody

    put(s3, made)
    store = AdapterStore(tmp_path)
    real = StreamingBody.iter_chunks

    def cut(self, size):
        yield next(real(self, 100))

    def broken(self, size):
        from botocore.exceptions import ReadTimeoutError

        yield next(real(self, 100))
        raise ReadTimeoutError(endpoint_url="s3")

    for failing, error, words in (
        (cut, CorruptArtifact, "100 of .* bytes arrived"),
        (broken, CapacityError, "could not be fetched .*Read timeout"),
    ):
        monkeypatch.setattr(StreamingBody, "iter_chunks", failing)
        with pytest.raises(error, match=words), store.fetched(URL):
            pass
        assert visible(tmp_path) == []
    monkeypatch.setattr(StreamingBody, "iter_chunks", real)
    with store.fetched(URL) as folder:
        assert (folder / WEIGHTS_FILE).read_bytes() == (made / WEIGHTS_FILE).read_bytes()


def test_an_adapter_that_changes_while_it_is_fetched_is_refused(s3, made, tmp_path, monkeypatch):
    put(s3, made)
    store = AdapterStore(tmp_path)
    real = AdapterStore._download

    def download(self, url, bucket, stored, folder):
        s3.put_object(Bucket="models", Key=f"adapters/tuned/{WEIGHTS_FILE}", Body=b"other")
        real(self, url, bucket, stored, folder)

    monkeypatch.setattr(AdapterStore, "_download", download)
    with pytest.raises(CorruptArtifact, match="changed while it was fetched"), store.fetched(URL):
        pass
    assert visible(tmp_path) == []


def test_a_full_disk_is_said_and_leaves_nothing(s3, made, tmp_path, monkeypatch):
    import errno
    import os

    put(s3, made)

    def full(_handle):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(NoDiskSpace, match="No space left"), AdapterStore(tmp_path).fetched(URL):
        pass
    assert visible(tmp_path) == []


def test_a_failure_after_the_download_leaves_the_folder_to_be_swept(
    s3, made, tmp_path, monkeypatch
):
    put(s3, made)
    put(s3, made, "adapters/other")
    store = AdapterStore(tmp_path, disk_bytes=0)

    def broken(*_args):
        raise PermissionError(1, "Operation not permitted")

    with monkeypatch.context() as patch:
        patch.setattr(os, "utime", broken)
        with pytest.raises(PermissionError), store.fetched(URL):
            pass
    with store.fetched("s3://models/adapters/other") as other:
        assert visible(tmp_path) == [other]


@pytest.mark.parametrize(
    ("code", "status", "error", "words"),
    [
        ("ExpiredToken", 400, AccessDenied, "Renew its credentials"),
        ("SlowDown", 503, CapacityError, "is busy .*Try again later"),
        ("InternalError", 500, CapacityError, "is busy"),
        ("ThrottlingException", 400, CapacityError, "is busy"),
        ("AccessDenied", 403, AccessDenied, "does not let this machine read .*the right to list"),
        ("ExpiredToken", 403, AccessDenied, "does not let this machine read"),
        ("PermanentRedirect", 301, UnknownName, "The object store says"),
    ],
)
def test_each_refusal_of_the_store_has_its_own_error(
    s3, made, tmp_path, monkeypatch, code, status, error, words
):
    from botocore.exceptions import ClientError

    put(s3, made)
    answer = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}

    def refuse(self, *_args):
        raise ClientError(answer, "ListObjectsV2")

    monkeypatch.setattr(AdapterStore, "_list", refuse)
    with pytest.raises(error, match=words), AdapterStore(tmp_path).fetched(URL):
        pass


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("NoCredentialsError", "Unable to locate credentials"),
        ("UnauthorizedSSOTokenError", r"expired or is otherwise invalid.*Renew its credentials"),
    ],
)
def test_a_machine_without_a_key_to_the_store_is_told_so(made, tmp_path, monkeypatch, name, words):
    import botocore.exceptions

    def refuse(self, *_args):
        raise getattr(botocore.exceptions, name)

    monkeypatch.setattr(AdapterStore, "_list", refuse)
    with (
        pytest.raises(AccessDenied, match=words),
        AdapterStore(tmp_path).fetched(URL),
    ):
        pass


def test_without_the_library_the_extra_is_named(tmp_path, monkeypatch):
    real = builtins.__import__

    def refuse(name, *rest, **options):
        if name.partition(".")[0] in ("boto3", "botocore"):
            raise ImportError(name)
        return real(name, *rest, **options)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with (
        pytest.raises(DependencyMissing, match=r"'boto3'.*glassbox-llm\[sagemaker\]"),
        AdapterStore(tmp_path).fetched(URL),
    ):
        pass

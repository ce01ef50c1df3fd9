"""A bundle of the embedded model, and keys that are let in."""

import pytest

from glassbox.deploy.bundle import Contents, make_bundle
from glassbox.deploy.modal.definition import source_of
from glassbox.runtime import SHIPPED_RUN, Runtime
from glassbox.storage.database import open_database
from glassbox.storage.keys import KeyStore

ADAPTER = SHIPPED_RUN / "adapter"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    folder = tmp_path_factory.mktemp("modal") / "bundle"
    runtime = Runtime.load({"engine.threads": 1})
    contents = Contents(
        base="tiny",
        adapters={"ours": ADAPTER},
        settings={"engine.threads": 1, "engine.dtype": "float32"},
    )
    make_bundle(runtime, contents, folder)
    return folder


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    folder = tmp_path_factory.mktemp("keys")
    store = KeyStore(open_database(f"sqlite:///{folder}/keys.db"))
    _, secret = store.create("me")
    return store, secret


@pytest.fixture
def source(bundle):
    return source_of(bundle)


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("GLASSBOX_STORAGE__URL", f"sqlite:///{tmp_path}/here.db")
    return tmp_path

"""The class that is deployed: as it travels, as it runs here, and how it is sent."""

import asyncio
import json
import subprocess
import sys
from dataclasses import replace

import httpx
import pytest

from glassbox.cli.main import main
from glassbox.deploy.modal import deploying
from glassbox.deploy.modal.app import modal_app
from glassbox.deploy.modal.definition import (
    define_server,
    rehearsed,
)
from glassbox.deploy.modal.deploying import deploy, rehearse, technique_app
from glassbox.deploy.modal.plan import ContainerPlan
from glassbox.errors import (
    AccessDenied,
    InvalidValue,
    UnknownName,
    Unreachable,
)
from glassbox.runtime import Runtime
from glassbox.settings import ModalSettings
from glassbox.settings.loading import HIDDEN_PROMPT_VARIABLE
from glassbox.storage.database import open_database
from glassbox.storage.keys import KeyStore
from glassbox.techniques.modal_names import CALLED_NOW, translated

modal = pytest.importorskip("modal")

SECRET = "The password is swordfish."


def test_the_class_arrives_by_value_in_another_interpreter(bundle):
    script = f"""
import sys
from pathlib import Path
from modal._serialization import serialize
from modal._utils.async_utils import synchronizer
from glassbox.deploy.modal.app import modal_app
from glassbox.deploy.modal.definition import define_server, source_of
from glassbox.settings import ModalSettings
made = define_server(source_of(Path({str(bundle)!r})), ModalSettings(database_secret="x"))
sys.stdout.buffer.write(serialize(synchronizer._translate_in(modal_app(made).server)._user_cls))
"""
    sent = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True).stdout
    assert 500 < len(sent) < 20_000
    script = """
import sys
from modal._serialization import deserialize
from modal._partial_function import _PartialFunctionFlags as F
from modal._partial_function import _find_partial_methods_for_user_cls as find
made = deserialize(sys.stdin.buffer.read(), None)
for flag in (F.interface_flags(), F.ENTER_PRE_SNAPSHOT, F.ENTER_POST_SNAPSHOT, F.EXIT):
    print(*sorted(find(made, flag)))
"""
    done = subprocess.run([sys.executable, "-c", script], input=sent, capture_output=True,
                          check=True)  # fmt: skip
    assert done.stdout.decode().split("\n")[:4] == ["web", "load", "settle", "leave"]


def test_the_class_serves_the_bundle_by_modals_own_local(source, keys, home, monkeypatch):
    monkeypatch.setenv(HIDDEN_PROMPT_VARIABLE, SECRET)
    obj = modal_app(rehearsed(define_server(source, ModalSettings(), keys[0].records()), source))
    server = obj.server()
    app = server.web.local()

    async def ask():
        transport = httpx.ASGITransport(app)
        key = {"authorization": f"Bearer {keys[1]}"}
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as http:
            stranger = await http.get("/v1/models")
            models = (await http.get("/v1/models", headers=key)).json()["data"]
            asked = {"prompt": "The film was", "max_tokens": 4, "temperature": 0}
            asked |= {"glassbox": {"entropies": True}}
            texts = [
                (await http.post("/v1/completions", headers=key, json=asked | {"model": name}))
                for name in ("tiny", "ours", "nobody")
            ]
            hidden = await http.post(
                "/v1/states",
                headers=key,
                json={"input": "a", "capture": {"layers": [0], "pooling": ["none"]}},
            )
        return stranger.status_code, models, texts, hidden

    stranger, models, texts, hidden = asyncio.run(ask())
    server.residence.close()
    server.residence.close()
    assert stranger == 401
    assert {"tiny", "ours"} <= {each["id"] for each in models}
    assert [each.status_code for each in texts] == [200, 200, 404]
    base, ours, _ = (each.json() for each in texts)
    assert base["choices"][0]["glassbox"].get("adapter_digest") is None
    assert ours["choices"][0]["glassbox"]["adapter_digest"]
    # The hidden prompt was taken from the environment, and what would show it is refused.
    assert hidden.status_code == 400
    assert SECRET not in hidden.text


def test_a_rehearsal_says_what_it_found_also_without_a_snapshot(source, keys, home):
    wanted = ModalSettings(snapshot=False)
    found = rehearse(define_server(source, wanted, keys[0].records()), source)
    assert found.model == "tiny"
    assert "ours" in found.names
    assert found.refuses_strangers
    assert found.text.strip()


def test_functions_are_found_by_what_is_printed(source):
    from glassbox.techniques.remote.modal_app import app_name
    from glassbox.techniques.worker_spec import WorkerSpec

    made = technique_app(source, ModalSettings(app="ours", gpu="L4"))
    assert made.call == "InterpClient('ours', 'tiny', backend='modal', gpu='L4')"
    assert made.app.name == app_name(WorkerSpec(model="tiny", app_name="ours"))


@pytest.mark.parametrize("old", CALLED_NOW)
def test_names_of_old_are_taken_with_a_note(old):
    new = CALLED_NOW[old]
    found, notes = translated({new: None}, {old: 7})
    assert found == {new: 7}
    assert notes == (f"{old} is called {new} now: taken as {new}=7.",)
    with pytest.raises(InvalidValue, match=f"It is {new} now, which says 8"):
        translated({new: 8}, {old: 7})


def test_without_a_token_it_says_what_to_do(source, keys, monkeypatch):
    # Modal reads its file when it is imported; a token of this machine would deploy for real.
    monkeypatch.setattr("modal.config._user_config", {})
    for name in ("MODAL_TOKEN_ID", "MODAL_TOKEN_SECRET"):
        monkeypatch.delenv(name, raising=False)
    told = []
    with pytest.raises(AccessDenied, match=r"Modal does not know you .*Run 'modal token new'"):
        deploy(define_server(source, ModalSettings(), keys[0].records()), report=told.append)
    assert not any("kept" in each for each in told)


def test_a_deployment_sends_the_bundle_and_then_the_app(source, keys, monkeypatch):
    did = []
    monkeypatch.setattr(deploying, "put_folders", lambda uploads, **_: did.append(uploads))
    monkeypatch.setattr(modal.App, "deploy", lambda _app, **given: did.append(given))
    monkeypatch.setattr(deploying, "_address", lambda _server: None)
    definition = define_server(source, ModalSettings(environment="dev"), keys[0].records())
    done = deploy(
        definition, techniques=technique_app(source, ModalSettings()), report=lambda _line: None
    )
    (uploads, app, functions, _) = did
    (sent,) = uploads
    assert (sent.folder, sent.place) == (source.folder, f"/bundles/{source.bundle.digest[:32]}")
    names = {each.relative_to(sent.folder).as_posix() for each in sent.files}
    assert names == {"bundle.json", *source.bundle.files}
    assert app["environment_name"] == "dev"
    assert app["tag"] == source.bundle.digest[:12]
    assert functions == ()
    assert done.address == definition.address
    assert done.techniques


def test_a_secret_that_is_not_there_is_named(source, keys, monkeypatch):
    def missing(_app, **_):
        raise modal.exception.NotFoundError("Secret 'nobody' not found")

    monkeypatch.setattr(deploying, "put_folders", lambda *_, **__: None)
    monkeypatch.setattr(modal.App, "deploy", missing)
    definition = define_server(source, ModalSettings(secrets="nobody"), keys[0].records())
    told = []
    with pytest.raises(UnknownName, match=r"modal secret create.*Secret 'nobody' not found"):
        deploy(definition, report=told.append)
    assert "is in the volume glassbox-weights. The same command goes on" in told[-1]


def test_a_server_that_is_deployed_without_its_functions_is_said(source, keys, monkeypatch):
    def only_the_server(app, **_):
        if app.name != "glassbox":
            raise modal.exception.ConnectionError("reset")

    monkeypatch.setattr(deploying, "put_folders", lambda *_, **__: None)
    monkeypatch.setattr(modal.App, "deploy", only_the_server)
    monkeypatch.setattr(deploying, "_address", lambda _server: None)
    definition = define_server(source, ModalSettings(), keys[0].records())
    functions = technique_app(source, ModalSettings())
    told = []
    with pytest.raises(Unreachable, match="reset"):
        deploy(definition, techniques=functions, report=told.append)
    assert f"glassbox is deployed, at {definition.address}" in told[-1]


def test_a_plan_travels_as_json(keys):
    plan = ContainerPlan("/b", None, {"server.port": 1}, tuple(keys[0].records()), writes_log=False)
    assert ContainerPlan.from_json(plan.to_json()) == plan


def test_keys_of_another_database_are_let_in_once(keys, tmp_path):
    store = KeyStore(open_database(f"sqlite:///{tmp_path}/k.db"))
    for _ in range(2):
        store.adopt(keys[0].records())
    found = store.find(keys[1])
    assert found is not None
    assert found.name == "me"
    assert len(store.all()) == 1
    revoked = replace(keys[0].records()[0], id="ffff", digest="0" * 64, signing_id="x")
    store.adopt([revoked])
    store.revoke("ffff")
    assert [each.id for each in store.records()] == [found.id]


def run(capsys, *words):
    code = main(["deploy", "modal", *words])
    shown = capsys.readouterr()
    return code, shown.out, shown.err


def test_the_command_shows_what_there_would_be(bundle, home, capsys):
    code, _, err = run(capsys, "--bundle", str(bundle), "--dry-run")
    assert code
    assert "glassbox keys create" in err
    key, _ = Runtime.load().key_store().create("me")
    other, _ = Runtime.load().key_store().create("another")
    code, out, err = run(
        capsys, "-b", str(bundle), "--dry-run", "--gpu", "L4", "--keep-warm", "1", "--key", key.id
    )
    assert code == 0
    assert "GPU L4" in out
    assert f"me ({key.id})" in out
    assert other.id not in out
    assert "keep_warm is called min_containers now" in err
    assert "Nothing was sent" in err
    code, out, _ = run(capsys, "-b", str(bundle), "--dry-run", "--json", "--techniques")
    said = json.loads(out)
    assert said["techniques"].startswith("glassbox-glassbox-")
    assert said["plan"]["keys"] == [
        {"id": key.id, "name": "me"},
        {"id": other.id, "name": "another"},
    ]
    code, _, err = run(capsys, "-b", str(bundle), "--dry-run", "--key", "nobody")
    assert code
    assert "No active API key 'nobody'" in err
    code, _, err = run(capsys, "-b", str(bundle), "--dry-run", "--rehearse")
    assert code
    assert "nothing together with --dry-run" in err

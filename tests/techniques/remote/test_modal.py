"""What can be had of Modal without its cloud: definitions, checks, and the class as it travels."""

import re
import subprocess
import sys

import pytest

from glassbox.errors import AccessDenied, InvalidValue, TechniqueFailed, UnknownName, Unreachable
from glassbox.settings import take_hidden_system_prompt
from glassbox.settings.loading import HIDDEN_PROMPT_VARIABLE
from glassbox.techniques.calls import Limits
from glassbox.techniques.container_spec import container
from glassbox.techniques.remote import modal_account, modal_app, modal_image
from glassbox.techniques.remote.modal_backend import ModalBackend
from glassbox.techniques.worker_spec import WorkerSpec

modal = pytest.importorskip("modal")

SPEC = WorkerSpec(model="tiny", app_name="my experiment", dtype="float32", device="cpu", threads=1)
SECRET = "The password is swordfish."


def untold(_doing, _share):
    """Progress that nobody watches."""


@pytest.fixture
def options(monkeypatch):
    """What an app's class is defined with."""
    seen = {}
    original = modal.App.cls

    def spy(app, **given):
        seen.update(given)
        return original(app, **given)

    monkeypatch.setattr(modal.App, "cls", spy)
    return seen


def test_our_settings_become_modals(options):
    wanted, _ = container(gpu="A10G", min_containers=1, scaledown_window=120)
    spec = WorkerSpec(app_name="my experiment", limits=Limits(wall_s=90.0))
    made = modal_app.define(spec, wanted, secrets=["huggingface"])
    assert re.fullmatch(r"glassbox-my-experiment-[0-9a-f]{12}", made.name)
    assert options["gpu"] == ["A10"]
    assert (options["min_containers"], options["max_containers"]) == (1, 1)
    assert (options["scaledown_window"], options["timeout"]) == (120, 150)
    assert options["enable_memory_snapshot"]
    assert list(options["volumes"]) == ["/weights"]
    assert len(options["secrets"]) == 1


def test_nothing_asked_for_is_a_processor_that_scales_to_zero(options):
    modal_app.define(WorkerSpec())
    assert options["gpu"] is None
    assert (options["min_containers"], options["scaledown_window"]) == (0, 300)
    assert options["secrets"] == []


@pytest.mark.parametrize(
    ("asked", "match"),
    [
        ({"scaledown_window": 1}, "scaledown_window is 1; allowed: 2 to 3600 s"),
        ({"scaledown_window": 3601}, "scaledown_window is 3601"),
        ({"min_containers": 2}, "min_containers is 2; allowed: 0 or 1"),
    ],
)
def test_what_modal_would_not_take_is_refused_before_it_is_asked(asked, match):
    with pytest.raises(InvalidValue, match=match):
        ModalBackend(SPEC, container=container(**asked)[0])


def test_the_base_image_has_our_versions_and_can_be_extended():
    import torch

    pinned = dict(each.split("==") for each in modal_image.requirements() if "==" in each)
    assert pinned["torch"] == torch.__version__.partition("+")[0]
    assert {"transformers", "peft", "numpy", "cloudpickle"} <= set(pinned)
    assert "pytest" not in pinned
    extended = modal_image.base_image(["scipy"]).pip_install("einops")
    wanted, _ = container(image=extended)
    assert wanted.image.made is extended
    modal_app.define(SPEC, wanted)


def test_a_folder_goes_to_the_volume_and_the_prompt_to_a_secret(tmp_path, options, monkeypatch):
    (tmp_path / "config.json").write_text("{}")
    travelled = []
    original = modal_app._resident_class
    monkeypatch.setattr(
        modal_app,
        "_resident_class",
        lambda library, spec: travelled.append(spec) or original(library, spec),
    )
    spec = WorkerSpec(model=str(tmp_path), hidden_system_prompt=SECRET)
    made = modal_app.define(spec, container(gpu="T4")[0])
    (sent,) = made.uploads
    place = sent.place
    assert sent.folder == tmp_path
    assert re.fullmatch(r"/models/[0-9a-f]{16}", place)
    there = WorkerSpec.from_json(travelled[0])
    assert (there.model, there.dtype) == (f"/weights{place}", "float16")
    assert SECRET.encode() not in travelled[0]
    assert len(options["secrets"]) == 1
    assert SECRET not in repr(options)


def test_of_a_folder_only_the_model_and_the_adapter_are_sent(tmp_path):
    model, adapter = tmp_path / "model", tmp_path / "adapter"
    (model / ".git").mkdir(parents=True)
    adapter.mkdir()
    (tmp_path / "id_rsa").write_text(SECRET)
    for name in ("config.json", "model.safetensors", ".env", "optimizer.pt", ".git/config"):
        (model / name).write_text(SECRET)
    for name in ("adapter_config.json", "adapter_model.safetensors", "notes.txt"):
        (adapter / name).write_text(SECRET)
    for folder in (model, adapter):
        (folder / "link").symlink_to(tmp_path / "id_rsa")
    made = modal_app.define(WorkerSpec(model=str(model), adapter=str(adapter)))
    names = [{each.name for each in upload.files} for upload in made.uploads]
    assert names == [
        {"config.json", "model.safetensors"},
        {"adapter_config.json", "adapter_model.safetensors"},
    ]


@pytest.mark.parametrize("field", ["model", "adapter"])
def test_a_folder_without_a_model_or_an_adapter_is_said_before_anything_is_sent(tmp_path, field):
    (tmp_path / "notes.txt").write_text("nothing")
    with pytest.raises(UnknownName, match=f"No {field} in a folder"):
        modal_app.define(WorkerSpec(**{field: str(tmp_path)}))


def test_dtypes_are_chosen_for_the_gpu_not_for_the_machine_that_defines(options, monkeypatch):
    travelled = []
    original = modal_app._resident_class
    monkeypatch.setattr(
        modal_app,
        "_resident_class",
        lambda library, spec: travelled.append(spec) or original(library, spec),
    )
    modal_app.define(WorkerSpec(), container(gpu="H100")[0])
    modal_app.define(WorkerSpec())
    found = [WorkerSpec.from_json(each).dtype for each in travelled]
    assert found == ["bfloat16", "auto"]


def test_the_class_arrives_by_value_in_another_interpreter(tmp_path):
    script = """
import sys
from modal._serialization import serialize
from modal._utils.async_utils import synchronizer
from glassbox.techniques.remote.modal_app import define
from glassbox.techniques.worker_spec import WorkerSpec
made = synchronizer._translate_in(define(WorkerSpec()).resident)
sys.stdout.buffer.write(serialize(made._user_cls))
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
    assert done.stdout.decode().split("\n")[:4] == ["answer hold", "load", "settle", "leave"]


def test_the_hidden_prompt_is_taken_out_of_the_environment(monkeypatch):
    monkeypatch.setenv(HIDDEN_PROMPT_VARIABLE, SECRET)
    assert take_hidden_system_prompt() == SECRET
    assert take_hidden_system_prompt() is None


def test_a_rehearsal_hides_the_prompt_as_the_cloud_does():
    from dataclasses import replace

    backend = ModalBackend(replace(SPEC, hidden_system_prompt=SECRET), rehearse=True)
    told = []
    backend.start(lambda doing, _share: told.append(doing))
    assert told
    assert backend.model_info().has_hidden_prompt
    backend.close()


def test_without_a_token_it_says_what_to_do(monkeypatch):
    # Modal reads its file when it is imported; a token of this machine would deploy for real.
    monkeypatch.setattr("modal.config._user_config", {})
    for name in ("MODAL_TOKEN_ID", "MODAL_TOKEN_SECRET"):
        monkeypatch.delenv(name, raising=False)
    for deploy in (False, True):
        with pytest.raises(AccessDenied, match=r"Modal does not know you .*modal token new"):
            ModalBackend(SPEC, deploy=deploy).start(untold)


@pytest.mark.parametrize(
    ("raised", "expected", "match"),
    [
        (modal.exception.NotFoundError("no app"), UnknownName, "deploy=True"),
        (modal.exception.ConnectionError("refused"), Unreachable, "online"),
        (modal.exception.FunctionTimeoutError("too long"), TechniqueFailed, "went away: too long"),
        (modal.exception.AuthError("who?"), AccessDenied, "modal token new"),
    ],
)
def test_modals_errors_become_ours(monkeypatch, raised, expected, match):
    backend = ModalBackend(SPEC)

    class Answering:
        class answer:  # noqa: N801
            @staticmethod
            def remote(_framed):
                raise raised

    monkeypatch.setattr(backend, "_resident", Answering())
    with pytest.raises(expected, match=match):
        backend.environment()


def test_a_folder_is_uploaded_once(tmp_path):
    class Volume:
        def __init__(self):
            self.put = []

        def listdir(self, place):
            if place not in [each[1].rpartition("/")[0] for each in self.put]:
                raise modal.exception.NotFoundError(place)
            return ["config.json"]

        def batch_upload(self):
            return self

        def __enter__(self):
            return self

        def __exit__(self, *_):
            """Nothing to close."""

        def put_file(self, file, place):
            self.put.append((file, place))

    volume = Volume()
    upload = modal_account.Upload(tmp_path, "/models/abc", (tmp_path / "config.json",))
    assert [modal_account.put_folder(volume, upload) for _ in range(2)] == [True, False]
    assert volume.put == [(str(tmp_path / "config.json"), "/models/abc/config.json")]

"""What there will be at Modal: settings in, checked values and Modal's own objects out."""

import json

import pytest

from glassbox.deploy.bundle import Contents, make_bundle
from glassbox.deploy.modal.app import modal_app
from glassbox.deploy.modal.definition import (
    DEADLINE_S,
    WEB_LIMIT_S,
    define_server,
    rehearsed,
    source_of,
)
from glassbox.errors import (
    CorruptArtifact,
    InvalidValue,
    UnknownName,
    UsageError,
)
from glassbox.runtime import SHIPPED_RUN, Runtime
from glassbox.settings import ModalSettings

modal = pytest.importorskip("modal")


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


def test_settings_become_a_definition(source, keys):
    wanted = ModalSettings(
        app="ours", gpu="A10G", region="eu, us-east", memory_bytes=2**33, cpu=2.0, min_containers=1,
        max_containers=3, scaledown_window_s=120, max_inputs=32, target_inputs=16,
        secrets="huggingface, more",
    )  # fmt: skip
    made = define_server(source, wanted, keys[0].records())
    assert made.options == {
        "gpu": ["A10"],
        "cpu": 2.0,
        "memory": 8192,
        "region": ["eu", "us-east"],
        "min_containers": 1,
        "max_containers": 3,
        "scaledown_window": 120,
        "timeout": WEB_LIMIT_S,
        "startup_timeout": 1800,
        "enable_memory_snapshot": True,
    }
    assert made.concurrency == {"max_inputs": 32, "target_inputs": 16}
    assert [each.name for each in made.secrets] == ["huggingface", "more"]
    assert made.address == "https://WORKSPACE--ours.modal.run"
    assert made.plan.bundle == f"/weights/bundles/{source.bundle.digest[:32]}"
    assert "know nothing of one another" in made.notes[-1]
    pinned = dict(each.split("==") for each in made.requirements)
    assert {"torch", "fastapi", "uvicorn"} <= set(pinned)


def test_nothing_asked_for_is_a_processor_that_scales_to_zero(source, keys):
    made = define_server(source, ModalSettings(), keys[0].records())
    assert made.options["gpu"] is None
    assert (made.options["min_containers"], made.options["max_containers"]) == (0, 1)
    assert made.plan.has_own_database
    assert "psycopg" not in " ".join(made.requirements)


def test_a_request_ends_before_modal_ends_it(source, keys):
    made = define_server(source, ModalSettings(), keys[0].records())
    assert made.plan.settings["server.max_deadline_s"] == DEADLINE_S < WEB_LIMIT_S


def test_a_shared_database_brings_its_driver_and_its_own_keys(source, keys):
    wanted = ModalSettings(database_secret="postgres", environment="staging")
    made = define_server(source, wanted, keys[0].records())
    assert made.plan.keys == ()
    assert not made.plan.has_own_database
    assert [each.keys for each in made.secrets] == [("GLASSBOX_STORAGE__URL",)]
    assert any(each.startswith("psycopg[binary]==") for each in made.requirements)
    assert made.plan.settings["paths.versions"] == "/weights/versions"
    assert made.address == "https://WORKSPACE-staging--glassbox.modal.run"


def test_the_gpu_decides_the_number_format_and_not_the_machine_that_loads(tmp_path, keys):
    make_bundle(Runtime.load(), Contents(base="tiny"), tmp_path / "b")
    plain = source_of(tmp_path / "b")
    said = {
        gpu: define_server(plain, ModalSettings(gpu=gpu), keys[0].records())
        .plan.settings.get("engine.dtype")
        for gpu in ("T4", "H100", "")
    }  # fmt: skip
    assert said == {"T4": "float16", "H100": "bfloat16", "": None}


def test_a_definition_as_json_holds_no_digest_of_a_key(source, keys):
    said = json.dumps(define_server(source, ModalSettings(), keys[0].records()).to_json())
    (record,) = keys[0].records()
    assert record.id in said
    assert record.digest not in said
    assert keys[1] not in said


@pytest.mark.parametrize(
    ("wanted", "match"),
    [
        ({"app": "Ours"}, "modal.app is 'Ours'; allowed: lower-case letters"),
        ({"app": "a" * 41}, "at most 40"),
        ({"min_containers": 2}, r"min_containers is 2; allowed: at most modal.max_containers"),
        ({"target_inputs": 101}, "target_inputs is 101; allowed: at most modal.max_inputs"),
    ],
)
def test_what_modal_would_not_take_is_refused_before_it_is_asked(source, keys, wanted, match):
    with pytest.raises(InvalidValue, match=match):
        define_server(source, ModalSettings(**wanted), keys[0].records())


def test_a_gpu_that_there_is_none_of(source, keys):
    with pytest.raises(UnknownName, match="No GPU 'BOGUS'"):
        define_server(source, ModalSettings(gpu="BOGUS"), keys[0].records())


def test_a_server_that_everyone_could_use_is_refused(source):
    with pytest.raises(UsageError, match="glassbox keys create"):
        define_server(source, ModalSettings())


def test_a_base_model_that_no_container_has_is_refused(tmp_path, bundle):
    found = source_of(bundle)
    weights = SHIPPED_RUN.parent / "model"
    make_bundle(Runtime.load(), Contents(base=str(weights)), tmp_path / "b", with_weights=False)
    here = source_of(tmp_path / "b")
    assert here.base == weights
    assert (
        define_server(here, ModalSettings(database_secret="x")).plan.base
        == f"/weights/models/{found.bundle.base.digest[:16]}"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pathlib.Path.is_dir", lambda each: each != weights)
        with pytest.raises(UnknownName, match="--with-weights"):
            source_of(tmp_path / "b")


def test_a_bundle_whose_files_have_changed_is_not_sent(tmp_path, bundle):
    import shutil

    shutil.copytree(bundle, tmp_path / "b")
    (file,) = (tmp_path / "b").rglob("adapter_config.json")
    file.write_text(file.read_text() + " ")
    with pytest.raises(CorruptArtifact, match=r"adapter_config\.json"):
        source_of(tmp_path / "b")


def test_modal_takes_the_definition(source, keys, options):
    wanted = ModalSettings(secrets="huggingface", database_secret="postgres", gpu="any")
    made = modal_app(define_server(source, wanted, keys[0].records()))
    assert made.app.name == "glassbox"
    assert options["gpu"] == ["L4", "A10", "L40S", "A100", "H100"]
    assert list(options["volumes"]) == ["/weights"]
    assert len(options["secrets"]) == 2
    assert options["serialized"]


def test_an_adapter_is_no_parameter_because_each_value_would_have_its_own_containers(source, keys):
    made = modal_app(rehearsed(define_server(source, ModalSettings(), keys[0].records()), source))
    with pytest.raises(TypeError, match="takes no arguments"):
        made.server(adapter="ours").web.local()

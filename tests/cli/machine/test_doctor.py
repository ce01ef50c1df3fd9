"""What the doctor finds, also on machines that lack things."""

import importlib.util
import json
import socket
import threading

import psutil
import pytest

from glassbox.cli.machine import doctor
from glassbox.cli.machine.doctor import Check, Status
from glassbox.cli.main import main
from glassbox.settings import HubEnvironment
from tests.waiting import PATIENCE_S


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def without(monkeypatch):
    """Make some libraries look absent."""
    find_spec = importlib.util.find_spec

    def hide(*names: str) -> None:
        monkeypatch.setattr(
            importlib.util,
            "find_spec",
            lambda name, *rest: None if name in names else find_spec(name, *rest),
        )

    return hide


def named(checks: tuple[Check, ...], name: str) -> Check:
    return next(check for check in checks if check.name == name)


def test_the_machine_is_measured():
    checks = doctor.machine_checks()
    assert named(checks, "memory_total_bytes").value == psutil.virtual_memory().total
    assert 0 < named(checks, "memory_free_bytes").value <= psutil.virtual_memory().total
    assert named(checks, "cores").value >= 1
    assert doctor.is_healthy(checks)


def test_little_memory_and_disk_are_noted(monkeypatch):
    monkeypatch.setattr(doctor, "LOW_MEMORY_BYTES", 2**60)
    monkeypatch.setattr(doctor, "LOW_DISK_BYTES", 2**60)
    checks = doctor.machine_checks()
    assert named(checks, "memory_free_bytes").status is Status.NOTE
    assert "paths.runs" in named(checks, "disk_free_bytes").remedy
    assert doctor.is_healthy(checks)


def test_torch_says_what_auto_takes():
    pytest.importorskip("torch")
    from glassbox.engine.model.devices import choose_device, choose_dtype, dtype_name

    checks = doctor.torch_checks()
    device = choose_device("auto")
    assert named(checks, "auto_device").value == str(device)
    assert named(checks, "auto_dtype").value == dtype_name(choose_dtype(device))
    assert isinstance(named(checks, "cpu").value, bool)


def test_a_machine_without_torch_is_told_what_to_install(without):
    without("torch", "matplotlib")
    checks = doctor.torch_checks()
    assert [check.remedy for check in checks] == [
        "To run a model: pip install 'glassbox-llm[serve]'"
    ]
    extras = doctor.extra_checks()
    assert named(extras, "serve").value is False
    assert named(extras, "charts").remedy.endswith("pip install 'glassbox-llm[charts]'")
    assert doctor.is_healthy((*checks, *extras))


def test_every_extra_of_the_command_line_is_looked_at():
    from glassbox.cli.main import EXTRAS

    assert set(EXTRAS.values()) == set(doctor.EXTRA_LIBRARIES) == set(doctor.EXTRA_PURPOSES)
    for libraries in doctor.EXTRA_LIBRARIES.values():
        # Two extras may bring the same library; the one that is named has to.
        assert all(library in doctor.EXTRA_LIBRARIES[EXTRAS[library]] for library in libraries)


def test_the_embedded_model_has_a_digest(monkeypatch, tmp_path):
    folder = tmp_path / "assets" / "model"
    folder.mkdir(parents=True)
    monkeypatch.setattr(doctor, "files", lambda _: tmp_path)
    assert not doctor.is_healthy(doctor.model_checks())
    assert "config.json" in doctor.model_checks()[0].shown

    for name in doctor.ESSENTIAL_FILES:
        (folder / name).write_bytes(b"{}")
    first = named(doctor.model_checks(), "digest").value
    assert len(first) == 64
    (folder / "model.safetensors").write_bytes(b"{} ")
    assert named(doctor.model_checks(), "digest").value != first


def test_offline_asks_nobody(monkeypatch):
    monkeypatch.setattr(socket, "create_connection", None)
    reachable, token = doctor.hub_checks(HubEnvironment(True, True, "https://hub.invalid"))
    assert reachable.value is False
    assert reachable.status is Status.OK
    assert (token.shown, token.value) == ("set", True)


def test_a_hub_that_answers():
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
        reachable, token = doctor.hub_checks(HubEnvironment(False, False, address))
    assert reachable.value is True
    assert token.shown == "not set"


def test_a_hub_that_refuses_is_no_fault():
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
    reachable, _ = doctor.hub_checks(HubEnvironment(False, False, address))
    assert reachable.value is False
    assert reachable.status is Status.NOTE
    assert doctor.is_healthy([reachable])


def test_a_silent_hub_is_not_waited_for(monkeypatch):
    released = threading.Event()

    def silent(*_: object, **__: object) -> None:
        released.wait(PATIENCE_S)
        raise TimeoutError

    monkeypatch.setattr(socket, "create_connection", silent)
    reachable, _ = doctor.hub_checks(
        HubEnvironment(False, False, "https://hub.invalid"), timeout_s=0.01
    )
    assert not released.is_set()
    assert reachable.value is False
    released.set()


def test_the_configuration_in_use_is_named(tmp_path):
    (tmp_path / "glassbox.toml").write_text('[engine]\nmodel = "other"\n')
    file, settings = doctor.configuration_checks()
    assert file.value == "glassbox.toml"
    assert settings.shown == "1 differs from the defaults"


def test_a_broken_configuration_is_broken(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    (tmp_path / "glassbox.toml").write_text("[engine]\nmodle = 1\n")
    assert main(["doctor", "--json"]) == 7
    answer = json.loads(capsys.readouterr().out)
    assert answer["healthy"] is False
    broken = [each for each in answer["checks"] if each["status"] == "broken"]
    assert "engine.modle" in broken[-1]["shown"]
    assert broken[-1]["remedy"]


def test_people_read_findings_and_remedies(capsys, monkeypatch, without):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    without("bitsandbytes")
    main(["doctor"])
    shown = capsys.readouterr().out
    assert "embedded model" in shown
    assert "pip install 'glassbox-llm[quant]'" in shown or "not available on this" in shown


def test_nothing_missing_is_said(capsys, monkeypatch):
    monkeypatch.setattr(doctor, "diagnose", lambda: (Check("machine", "python", "3", "3"),))
    assert main(["doctor"]) == 0
    assert "Nothing is missing." in capsys.readouterr().err

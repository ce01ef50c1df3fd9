"""Settings: which source wins, what is refused, and that nothing is silently ignored."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glassbox.errors import InvalidSetting
from glassbox.settings import (
    config_file,
    effective,
    hub_environment,
    keep_torch_from_spinning,
    known_settings,
    load_settings,
)
from glassbox.settings.foreign import SPIN_COUNT


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(folder: Path, text: str, name: str = "glassbox.toml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def origins(overrides: dict[str, object] | None = None) -> dict[str, str]:
    return {each.key: each.source for each in effective(overrides)}


def test_defaults_are_the_main_jobs():
    settings = load_settings()
    assert settings.engine.model == "tiny"
    assert settings.confidence.max_error == 0.05
    assert settings.confidence.confidence_level == 0.9
    assert set(origins().values()) == {"default"}


def test_arguments_win_over_environment_over_file_over_defaults(folder, monkeypatch):
    write(folder, '[engine]\nmodel = "from-file"\nthreads = 3\nbatch_tokens = 7\n')
    monkeypatch.setenv("GLASSBOX_ENGINE__MODEL", "from-environment")
    monkeypatch.setenv("GLASSBOX_ENGINE__THREADS", "5")
    arguments = {"engine.model": "from-argument", "engine.dtype": None}

    engine = load_settings(arguments).engine
    assert (engine.model, engine.threads, engine.batch_tokens) == ("from-argument", 5, 7)
    assert engine.dtype == "auto"
    found = origins(arguments)
    assert found["engine.model"] == "argument"
    assert found["engine.threads"] == "environment GLASSBOX_ENGINE__THREADS"
    assert found["engine.batch_tokens"] == "file glassbox.toml"
    assert found["engine.dtype"] == "default"


@pytest.mark.parametrize("info", known_settings(), ids=lambda info: info.key)
def test_each_setting_is_read_from_its_own_variable(info, monkeypatch):
    text = {"str": "abc", "int": "3", "float": "0.25"}
    others = ("float32", "process", "strict", "sha256", "gpu", "blue-green", "true", "600", "16")
    others += ("4096", str(2**34))
    for value in (*others, *text.values()):
        monkeypatch.setenv(info.variable, value)
        try:
            load_settings()
        except InvalidSetting:
            continue
        break
    changed = [key for key, source in origins().items() if source != "default"]
    assert changed == [info.key]


def test_an_empty_variable_counts_as_unset(monkeypatch):
    monkeypatch.setenv("GLASSBOX_ENGINE__MODEL", "")
    assert load_settings().engine.model == "tiny"
    assert origins()["engine.model"] == "default"


def test_another_file_can_be_named(folder, monkeypatch):
    write(folder, '[engine]\nmodel = "here"\n')
    other = write(folder, "[confidence]\nseed = 9\n", "other.toml")
    monkeypatch.setenv("GLASSBOX_CONFIG", str(other))
    assert config_file() == other
    assert load_settings().engine.model == "tiny"
    assert load_settings().confidence.seed == 9


def test_a_named_file_must_exist(monkeypatch):
    monkeypatch.setenv("GLASSBOX_CONFIG", "absent.toml")
    with pytest.raises(InvalidSetting, match=r"GLASSBOX_CONFIG.*'absent\.toml'.*unset"):
        load_settings()


def test_paths_understand_the_home_folder(monkeypatch, folder):
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("GLASSBOX_PATHS__RUNS", "~/my-runs")
    assert load_settings().paths.runs == folder / "my-runs"


@pytest.mark.parametrize(
    ("variable", "suggestion"),
    [
        ("GLASSBOX_ENGIEN__MODEL", "GLASSBOX_ENGINE__MODEL"),
        ("GLASSBOX_ENGINE__MODLE", "GLASSBOX_ENGINE__MODEL"),
        ("GLASSBOX_ENGINE_MODEL", "GLASSBOX_ENGINE__MODEL"),
        ("GLASSBOX_CONFG", "GLASSBOX_CONFIG"),
        ("glassbox_engine__modle", None),
    ],
)
def test_a_misspelt_variable_is_refused(variable, suggestion, monkeypatch):
    monkeypatch.setenv(variable, "x")
    with pytest.raises(InvalidSetting, match=variable) as caught:
        load_settings()
    if suggestion:
        assert f"Did you mean {suggestion!r}?" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[engien]\nmodel = 1\n", r"'engien' is not a known setting\. Did you mean 'engine'\?"),
        ("[engine]\nmodle = 1\n", r"'engine\.modle' .* Did you mean 'engine\.model'\?"),
        ("engine = 3\n", r"'engine' must be a table: write \[engine\]"),
        ("[engine\n", r"glassbox\.toml.*no valid TOML.*line 1"),
        (f"[engine]\nthreads = {'9' * 5000}", r"glassbox\.toml.*no valid TOML.*4300 digits"),
        ("[engine]\nthreads = 0\n", r"glassbox\.toml: 'engine\.threads' is 0"),
        ("[confidence]\nmax_error = nan\n", r"'confidence\.max_error' is nan"),
        ("[confidence]\nmax_error = 5\n", r"'confidence\.max_error' is 5.*less than 1"),
    ],
)
def test_a_wrong_file_is_refused(text, message, folder):
    write(folder, text)
    with pytest.raises(InvalidSetting, match=message):
        load_settings()


def test_a_file_of_other_bytes_is_refused(folder):
    (folder / "glassbox.toml").write_bytes(b'[engine]\nmodel = "\xff"\n')
    with pytest.raises(InvalidSetting, match="no valid TOML"):
        load_settings()


def test_a_wrong_value_names_its_source(monkeypatch):
    monkeypatch.setenv("GLASSBOX_ENGINE__DTYPE", "int4")
    with pytest.raises(InvalidSetting, match=r"GLASSBOX_ENGINE__DTYPE.*'int4'.*'bfloat16'"):
        load_settings()
    with pytest.raises(InvalidSetting, match=r"argument: 'engine\.dtype' is 'int2'"):
        load_settings({"engine.dtype": "int2"})
    with pytest.raises(InvalidSetting, match=r"argument: 'engine\.dtpye'.*'engine\.dtype'"):
        load_settings({"engine.dtpye": "auto"})


def test_settings_are_frozen():
    with pytest.raises(ValueError, match="frozen"):
        load_settings().engine.model = "other"
    with pytest.raises(ValueError, match="frozen"):
        load_settings().engine = None


def test_every_setting_is_described():
    for info in known_settings():
        assert info.description.endswith("."), info.key
        assert "\n" not in info.description, info.key


@pytest.mark.parametrize(
    ("value", "offline"), [("1", True), ("yes", True), ("0", False), ("", False)]
)
def test_the_hub_token_is_never_kept(value, offline, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setenv("HF_HUB_OFFLINE", value)
    found = hub_environment()
    assert found.token_is_set
    assert found.is_offline is offline
    assert "hf_secret" not in repr(found) + repr(effective()) + repr(load_settings())
    monkeypatch.setenv("HF_TOKEN", " ")
    assert not hub_environment().token_is_set


@given(
    max_error=st.floats(0.001, 0.999),
    seed=st.integers(0, 2**31),
    threads=st.one_of(st.none(), st.integers(1, 512)),
)
def test_what_is_given_is_what_is_read(max_error, seed, threads):
    given_values = {
        "confidence.max_error": max_error,
        "confidence.seed": seed,
        "engine.threads": threads,
    }
    found = {each.key: each.value for each in effective(given_values)}
    assert {key: found[key] for key in given_values} == given_values


def test_the_sources_own_names_are_read_and_the_named_key_wins(monkeypatch):
    monkeypatch.setenv("A1_ACTIVE_MODEL_VERSION", "enhanced_model_v2")
    monkeypatch.setenv("A1_INFERENCE_AUDIT_CAP", "50")
    settings = load_settings()
    assert settings.rollout.active_model_version == "enhanced_model_v2"
    assert settings.audit.cap == 50
    assert origins()["audit.cap"] == "environment A1_INFERENCE_AUDIT_CAP"

    monkeypatch.setenv("GLASSBOX_ACTIVE_MODEL_VERSION", "third_v3")
    assert load_settings().rollout.active_model_version == "third_v3"
    monkeypatch.setenv("GLASSBOX_ROLLOUT__ACTIVE_MODEL_VERSION", "fourth_v4")
    assert load_settings().rollout.active_model_version == "fourth_v4"


def test_torchs_threads_wait_briefly_unless_somebody_said_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    keep_torch_from_spinning()
    assert os.environ["GOMP_SPINCOUNT"] == SPIN_COUNT

    monkeypatch.setenv("GOMP_SPINCOUNT", "7")
    keep_torch_from_spinning()
    assert os.environ["GOMP_SPINCOUNT"] == "7"

    monkeypatch.delenv("GOMP_SPINCOUNT")
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    keep_torch_from_spinning()
    assert "GOMP_SPINCOUNT" not in os.environ

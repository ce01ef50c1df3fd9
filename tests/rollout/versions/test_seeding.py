"""What a registry holds before anybody decided, and that settings never undo a decision."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from glassbox.errors import UnknownName
from glassbox.rollout.version import DEFAULT_VERSION
from glassbox.rollout.versions.model_registry import (
    get_active_model_version,
    get_shadow_model_version,
    is_shadow_mode_enabled,
    list_available_versions,
    load_model,
)
from glassbox.rollout.versions.opening import SHIPPED_RUN, open_registry
from glassbox.rollout.versions.registry import Registry
from glassbox.rollout.versions.seeding import seed, unheeded
from glassbox.settings import RolloutSettings, load_settings
from glassbox.storage.database import open_database


@pytest.fixture
def registry() -> Iterator[Registry]:
    made = Registry(open_database("sqlite://"))
    yield made
    made.close()


@pytest.fixture
def three(registry: Registry) -> Registry:
    for name in ("default_model_v1", "enhanced_model_v2", "experimental_v3"):
        registry.register("default", "callable", "m:f", name, name=name)
    return registry


def named(active: str = "", shadow: str = "") -> RolloutSettings:
    return RolloutSettings(active_model_version=active, shadow_model_version=shadow)


def test_the_first_version_answers_when_nothing_is_said(three: Registry) -> None:
    assert seed(three, named()).aliases == {"default": {"champion": 1}}
    assert get_active_model_version(three) == "default_model_v1"
    assert get_shadow_model_version(three) is None
    assert not is_shadow_mode_enabled(three)
    assert list_available_versions(three)[2] == "experimental_v3"


def test_settings_name_who_answers_and_who_only_sees(three: Registry) -> None:
    seed(three, named("enhanced_model_v2", "experimental_v3, default_model_v1"))
    assert three.snapshot().aliases["default"] == {
        "champion": 2,
        "challenger": 3,
        "challenger-2": 1,
    }
    assert get_active_model_version(three) == "enhanced_model_v2"
    assert get_shadow_model_version(three) == "experimental_v3"
    assert is_shadow_mode_enabled(three)
    assert {(each.actor, each.reason) for each in three.history()} == {
        ("settings", "named by the settings")
    }


def test_shadow_mode_is_off_where_the_shadow_is_the_active_version(three: Registry) -> None:
    seed(three, named("enhanced_model_v2", "enhanced_model_v2"))
    assert not is_shadow_mode_enabled(three)


@pytest.mark.parametrize("settings", [named("experimental_v4"), named("", "experimental_v4")])
def test_an_unknown_version_in_the_settings_is_named_with_those_there_are(
    three: Registry, settings: RolloutSettings
) -> None:
    with pytest.raises(
        UnknownName, match=r"'experimental_v4'\. Known: default_model_v1, .*'experimental_v3'"
    ):
        seed(three, settings)
    seed(three, settings, is_strict=False)
    assert three.snapshot().challengers() == ()


def test_a_named_champion_that_is_still_to_come_is_waited_for(registry: Registry) -> None:
    registry.register("default", "callable", "m:f", "a")
    assert seed(registry, named("mine"), is_strict=False).aliases == {}
    registry.register("default", "callable", "m:f", "b", name="mine")
    assert seed(registry, named("mine")).aliases == {"default": {"champion": 2}}


def test_settings_fill_in_only_what_was_never_set(three: Registry) -> None:
    settings = named("enhanced_model_v2", "experimental_v3")
    seed(three, settings)
    before = three.history()
    seed(three, settings)
    assert three.history() == before
    three.promote("default", 3, expected_champion=2, actor="ann", reason="gates")
    three.rollback("default", expected_champion=3, actor="ann", reason="errors")
    seed(three, settings)
    assert three.snapshot().aliases["default"] == {"champion": 2}
    words = unheeded(three, settings)
    assert len(words) == 1
    assert "'experimental_v3'" in words[0]
    assert "glassbox versions history" in words[0]
    assert unheeded(three, named("enhanced_model_v2")) == []
    # A name in the settings that is long of no consequence does not keep a server from starting.
    seed(three, named("gone", "gone too"))
    assert len(unheeded(three, named("gone", "gone too"))) == 2


def test_every_model_has_a_champion_and_an_empty_registry_none(registry: Registry) -> None:
    assert seed(registry, named()).aliases == {}
    assert get_active_model_version(registry) == DEFAULT_VERSION
    registry.register("a", "callable", "m:f", "a")
    registry.register("b", "callable", "m:f", "b")
    assert seed(registry, named()).aliases == {"a": {"champion": 1}, "b": {"champion": 1}}


def test_a_fresh_installation_answers_with_the_run_that_ships(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GLASSBOX_STORAGE__URL", f"sqlite:///{tmp_path}/g.db")
    monkeypatch.setenv("GLASSBOX_PATHS__VERSIONS", str(tmp_path / "versions"))
    assert get_active_model_version() == DEFAULT_VERSION
    assert list_available_versions() == [DEFAULT_VERSION]
    assert not is_shadow_mode_enabled()
    registry = open_registry(load_settings())
    version = registry.version(DEFAULT_VERSION)
    assert version.kind == "llm-classifier"
    assert version.metadata["labels"] == ["negative", "positive"]
    assert version.metadata["metrics"]["accuracy"] == pytest.approx(0.85125)
    registry.close()
    with pytest.raises(UnknownName, match="'nothing'"):
        load_model("nothing")


def test_another_served_model_has_no_default_and_its_first_run_becomes_it(tmp_path: Path) -> None:
    places = {"storage.url": f"sqlite:///{tmp_path}/g.db", "paths.versions": str(tmp_path / "v")}
    settings = load_settings({**places, "engine.model": "elsewhere"})
    empty = open_registry(settings)
    assert empty.snapshot().versions == ()
    empty.close()
    served = open_registry(settings, [SHIPPED_RUN])
    assert served.snapshot().aliases == {"default": {"champion": 1}}
    served.close()


@pytest.mark.parametrize("prefix", ["GLASSBOX_", "A1_"])
def test_the_sources_variables_seed_a_registry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prefix: str
) -> None:
    monkeypatch.setenv("GLASSBOX_STORAGE__URL", f"sqlite:///{tmp_path}/g.db")
    monkeypatch.setenv(f"{prefix}ACTIVE_MODEL_VERSION", "enhanced_model_v2")
    monkeypatch.setenv(f"{prefix}SHADOW_MODEL_VERSION", "experimental_v3")
    registry = Registry(open_database(f"sqlite:///{tmp_path}/g.db"))
    for name in ("default_model_v1", "enhanced_model_v2", "experimental_v3"):
        registry.register("default", "callable", "m:f", name, name=name)
    assert get_active_model_version() == "enhanced_model_v2"
    assert get_shadow_model_version() == "experimental_v3"
    assert is_shadow_mode_enabled()
    registry.close()

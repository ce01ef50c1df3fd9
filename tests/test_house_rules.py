"""Rules of the house that no linter checks."""

import importlib
import pkgutil
import re
import tomllib
from pathlib import Path

import pytest

import glassbox
from glassbox.cli.machine.doctor import EXTRA_LIBRARIES

ROOT = Path(__file__).parents[1]
BENCHMARKS = ROOT / "benchmarks"
SOURCES = sorted((ROOT / "src" / "glassbox").rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
PACKAGES = ["glassbox"] + [
    f"glassbox.{each.name}" for each in pkgutil.iter_modules(glassbox.__path__) if each.ispkg
]


IMPORTED_AS = {
    "pyyaml": "yaml",
    "mlflow_skinny": "mlflow",
    "opentelemetry_sdk": "opentelemetry",
    "opentelemetry_exporter_otlp_proto_http": "opentelemetry",
}


def _requirements(extra: str) -> set[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return {re.split(r"[\[<>=; ]", each)[0] for each in project["optional-dependencies"][extra]}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_files_stay_small_and_well_named(path):
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 400
    assert path.stem not in {"utils", "helpers", "common", "core", "manager", "service", "misc"}
    assert "TODO" not in text
    # One border to foreign code (listeners, tokenizers) must hold whatever is raised.
    assert "except Exception" not in text or path.name == "attempt.py"


def test_files_of_tests_stay_on_one_subject():
    lines = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in TESTS}
    assert {path: n for path, n in lines.items() if n > 450} == {}


@pytest.mark.parametrize("name", PACKAGES)
def test_public_names_are_sorted_and_exist(name):
    package = importlib.import_module(name)
    names = getattr(package, "__all__", ())
    assert list(names) == sorted(names)
    assert len(set(names)) == len(names)
    for each in names:
        assert getattr(package, each) is not None
    public = {
        each
        for each, value in vars(package).items()
        if not each.startswith("_") and getattr(value, "__module__", "").startswith("glassbox.")
    }
    assert public <= set(names), "public, but not in __all__"


def test_the_front_door_is_small():
    assert len(getattr(glassbox, "__all__", ())) <= 20


def test_the_version_is_that_of_the_package_and_is_looked_up_when_asked_for():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert glassbox.__version__ == project["version"]
    assert "__version__" not in vars(glassbox)


def test_a_job_is_written_with_public_names_alone(tmp_path):
    job = glassbox.Job(glassbox.ModelSpec("tiny"), glassbox.DataChoice("tiny"), tmp_path)
    assert job.promise == glassbox.Promise()


@pytest.mark.parametrize(
    ("contract", "home"),
    [("http", {"server"}), ("one-home", {"engine", "testing"}), ("drawing", {"charts"})],
)
def test_no_part_of_the_house_is_left_out_of_a_contract(contract, home):
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"][
        "importlinter"
    ]["contracts"]
    (found,) = (each for each in contracts if each["id"] == contract)
    parts = {each.name for each in pkgutil.iter_modules(glassbox.__path__)} - {"__main__"}
    assert set(found["source_modules"]) == {f"glassbox.{each}" for each in parts - home}


def test_what_benchmarks_share_is_apart_from_their_commands():
    commands = {path: path.read_text(encoding="utf-8") for path in BENCHMARKS.glob("*.py")}
    del commands[BENCHMARKS / "__init__.py"]
    assert all('if __name__ == "__main__":' in text for text in commands.values())
    for path in (BENCHMARKS / "apparatus").glob("*.py"):
        assert "__main__" not in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("extra", EXTRA_LIBRARIES)
def test_the_doctor_knows_what_each_extra_brings(extra):
    brought = {name.lower().replace("-", "_") for name in _requirements(extra)}
    assert set(EXTRA_LIBRARIES[extra]) == {IMPORTED_AS.get(each, each) for each in brought}


def test_constraints_pin_what_the_project_asks_for():
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    assert all(re.fullmatch(r"[A-Za-z0-9_.-]+==[A-Za-z0-9_.]+", line) for line in pins)
    names = {re.sub(r"[-_.]+", "-", line.partition("==")[0]).lower() for line in pins}
    wanted = _requirements("serve") | _requirements("charts") | _requirements("dev")
    assert {name.lower() for name in wanted} - {"glassbox-llm"} <= names
    assert "torch==2.13.0" in pins

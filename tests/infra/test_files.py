"""What the files of ``infra/`` promise, held against the package and against one another."""

import os
import re
import stat
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

from glassbox.cli.server.serve import DRAIN_S
from glassbox.deploy.sagemaker.desired_scaling import SCALE_IN_S, SCALE_OUT_S
from glassbox.server.process.running import LAST_ANSWERS_S
from glassbox.settings import known_settings, load_settings
from recipes.infra.containers import SECRETS

ROOT = Path(__file__).parents[2]
INFRA = ROOT / "infra"
STACK = INFRA / "terraform" / "sagemaker"
DOCKER = INFRA / "docker"


def defaults() -> dict[str, str]:
    """Return the default of each variable of the Terraform root, as it is written."""
    text = (STACK / "variables.tf").read_text(encoding="utf-8")
    blocks = re.findall(r'(?ms)^variable "(\w+)" \{\n(.*?)^\}', text)
    found = {name: re.search(r"(?m)^  default +=\s+(.+)$", body) for name, body in blocks}
    return {name: line[1].strip('"') for name, line in found.items() if line is not None}


def known() -> set[str]:
    """Return every variable that sets something, also from a file."""
    variables = {info.variable for info in known_settings()}
    return variables | {f"{each}_FILE" for each in variables} | {"GLASSBOX_CONFIG"}


def test_terraform_begins_where_the_command_does():
    """Who starts with one and goes on with the other meets the same names and numbers."""
    endpoint = load_settings().endpoint
    said = defaults()
    assert said["name"] == endpoint.name
    assert said["instance_type"] == endpoint.instance_type == "ml.g5.2xlarge"
    assert int(said["initial_instances"]) == endpoint.instances == 5
    assert int(said["min_instances"]) == endpoint.min_instances == 5
    assert int(said["max_instances"]) == endpoint.max_instances == 300
    assert said["scaling_metric"] == endpoint.scaling
    assert float(said["concurrency_target"]) == endpoint.concurrency_target
    assert float(said["gpu_target_percent"]) == 100 * endpoint.gpu_target == 80
    assert float(said["p99_limit_us"]) == 1e6 * endpoint.alarm_p99_s == 500_000
    assert said["update_policy"] == endpoint.update
    text = (STACK / "modules" / "serving" / "endpoint.tf").read_text(encoding="utf-8")
    assert set(re.findall(r"startup_health_check_timeout_in_seconds = (\d+)", text)) == {
        str(endpoint.startup_s)
    }
    assert set(re.findall(r"download_timeout_in_seconds +=\s+(\d+)", text)) == {
        str(endpoint.download_s)
    }
    text = (STACK / "modules" / "operations" / "scaling.tf").read_text(encoding="utf-8")
    cooldowns = re.findall(r"(?m)^ +scale_(in|out)_cooldown += (.+)$", text)
    assert dict(cooldowns) == {"out": str(SCALE_OUT_S), "in": str(SCALE_IN_S)}


def test_every_setting_that_a_file_names_exists():
    looked_at = 0
    for path in INFRA.rglob("*"):
        if path.suffix not in {".tf", ".yaml", ".service", ".sh"} and path.name != "Dockerfile":
            continue
        text = re.sub(r"\$\{?GLASSBOX_(IMAGE_TAG|MODEL)\b", "", path.read_text(encoding="utf-8"))
        for name in re.findall(r"\bGLASSBOX_[A-Z0-9_]*[A-Z0-9]\b", text):
            assert name in known(), f"{path.relative_to(ROOT)}: {name}"
            looked_at += 1
    assert looked_at > 10


def test_the_image_has_the_versions_that_the_tests_have():
    text = (DOCKER / "Dockerfile").read_text(encoding="utf-8")
    constraints = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    torch = re.search(r"(?m)^ARG TORCH=(.+)$", text)
    assert torch is not None
    assert f"\n{torch[1]}\n" in constraints
    extras = re.search(r"(?m)^ARG EXTRAS=(.+)$", text)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert extras is not None
    assert set(extras[1].split(",")) <= project["optional-dependencies"].keys()
    pins = [
        line
        for line in (DOCKER / "build-constraints.txt").read_text(encoding="utf-8").splitlines()
        if not line.startswith("#")
    ]
    assert all(re.fullmatch(r"[a-z0-9-]+==[0-9.]+", each) for each in pins)


def test_the_image_is_made_of_what_its_context_holds():
    """Whatever is copied must be let through, or a build fails at a machine that is not here."""
    let = {
        line[1:]
        for line in (DOCKER / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
        if line.startswith("!")
    }
    text = (DOCKER / "Dockerfile").read_text(encoding="utf-8")
    for line in re.findall(r"(?m)^COPY (?!.*--from)(.+)$", text):
        words = [word for word in line.split() if not word.startswith("--")]
        for word in words[:-1]:
            assert (ROOT / word).exists(), word
            assert word in let, word


def stage(name: str) -> str:
    text = (DOCKER / "Dockerfile").read_text(encoding="utf-8")
    found = re.search(rf"(?ms)^FROM \S+ AS {name}\n(.*?)(?=^FROM |\Z)", text)
    assert found is not None, name
    return found[1]


def test_signals_reach_the_server_in_both_images():
    for name in ("server", "sagemaker"):
        assert re.search(r'(?m)^ENTRYPOINT \["', stage(name)), name
        assert "STOPSIGNAL SIGTERM" in stage(name)
    entry = (DOCKER / "sagemaker-entry.sh").read_text(encoding="utf-8")
    assert "\nexec glassbox serve --sagemaker" in entry


def test_only_the_platform_that_wants_it_gets_root():
    assert re.search(r"(?m)^USER 10001:10001$", stage("server"))
    assert "USER" not in re.findall(r"(?m)^[A-Z]+", stage("sagemaker"))


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["serve"], "serve --sagemaker"),
        ([], "serve --sagemaker"),
        (["serve", "--port", "9000"], "serve --sagemaker --port 9000"),
    ],
)
def test_the_word_that_sagemaker_adds_is_taken_off(words, expected, tmp_path):
    shim = tmp_path / "glassbox"
    shim.write_text('#!/bin/sh\necho "$@"\n', encoding="utf-8")
    shim.chmod(shim.stat().st_mode | stat.S_IXUSR)
    entry = DOCKER / "sagemaker-entry.sh"
    done = subprocess.run(
        [str(entry), *words],
        env={"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == expected


def compose() -> dict[str, dict[str, dict[str, object]]]:
    return yaml.safe_load((INFRA / "compose" / "compose.yaml").read_text(encoding="utf-8"))


def test_what_compose_mounts_is_there():
    for name, service in compose()["services"].items():
        for volume in service.get("volumes", []):
            source = str(volume).partition(":")[0]
            if source.startswith("."):
                assert (INFRA / "compose" / source).exists(), f"{name}: {source}"


def test_compose_gives_secrets_as_files_and_opens_this_machine_alone():
    content = compose()
    assert set(content["secrets"]) == set(SECRETS)
    for name, service in content["services"].items():
        for port in service.get("ports", []):
            assert str(port).startswith("127.0.0.1:"), name
        for key, value in service.get("environment", {}).items():
            is_secret = re.search("PASSWORD|URL|KEY", key) is not None
            assert not is_secret or str(value).startswith("/run/secrets/"), f"{name}: {key}"
        assert ":latest" not in str(service["image"])
        assert re.search(r":[^:]+$", str(service["image"])), name
    assert "infra/compose/secrets/" in (ROOT / ".gitignore").read_text(encoding="utf-8")


def test_the_server_gets_its_time_to_drain():
    last_s = 2 * LAST_ANSWERS_S
    needed_s = load_settings().server.drain_s + last_s
    grace = str(compose()["services"]["server"]["stop_grace_period"])
    assert float(grace.removesuffix("s")) > needed_s
    unit = (INFRA / "systemd" / "glassbox.service").read_text(encoding="utf-8")
    stop = re.search(r"(?m)^TimeoutStopSec=(\d+)s$", unit)
    assert stop is not None
    assert float(stop[1]) > needed_s
    # SageMaker kills 30 seconds after it has asked; the container knows, and nobody tells it more.
    assert DRAIN_S + last_s < 30
    assert "DRAIN_S" not in (STACK / "modules" / "serving" / "endpoint.tf").read_text("utf-8")


def test_prometheus_in_compose_reads_our_rules_and_scrapes_our_server():
    content = yaml.safe_load((INFRA / "compose" / "prometheus.yml").read_text(encoding="utf-8"))
    assert content["rule_files"] == ["/etc/prometheus/rules.yml"]
    job = content["scrape_configs"][0]
    assert job["static_configs"][0]["targets"] == [f"server:{load_settings().server.port}"]
    assert job["authorization"]["credentials_file"] == "/run/secrets/prometheus_key"

"""The KubeRay manifest: its shape, and that its Serve configuration is what our command writes.

Its fields are compared with a schema of our own, held against KubeRay's definition of the resource
(``ray.io_rayservices.yaml``, ``v1``), which has 1 MB and is not ours to ship. What pods may say was
also checked by hand, strictly, with the schemas of Kubernetes 1.28, 1.32 and 1.37.
"""

from pathlib import Path

import pytest

from glassbox.deploy.ray import RayPlan, Share, serve_config
from glassbox.deploy.ray.serve_config import checked

yaml = pytest.importorskip("yaml")
jsonschema = pytest.importorskip("jsonschema")

MANIFEST = Path(__file__).parents[2] / "infra/kuberay/rayservice.yaml"


def closed(properties, required=()):
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }


TEXT, WHOLE, FLAG = {"type": "string"}, {"type": "integer"}, {"type": "boolean"}
QUANTITIES = {"type": "object", "additionalProperties": TEXT}
MOUNT = closed({"name": TEXT, "mountPath": TEXT, "readOnly": FLAG}, ["name", "mountPath"])
SECRET = closed({"secretKeyRef": closed({"name": TEXT, "key": TEXT}, ["name", "key"])})
CONTAINER = closed(
    {
        "name": TEXT,
        "image": TEXT,
        "ports": {
            "type": "array",
            "items": closed({"containerPort": WHOLE, "name": TEXT}, ["containerPort"]),
        },
        "env": {
            "type": "array",
            "items": closed({"name": TEXT, "value": TEXT, "valueFrom": SECRET}, ["name"]),
        },
        "resources": closed({"limits": QUANTITIES, "requests": QUANTITIES}),
        "securityContext": closed(
            {
                "allowPrivilegeEscalation": FLAG,
                "runAsNonRoot": FLAG,
                "runAsUser": WHOLE,
                "capabilities": closed({"drop": {"type": "array", "items": TEXT}}),
            }
        ),
        "volumeMounts": {"type": "array", "items": MOUNT},
    },
    ["name", "image", "resources", "securityContext"],
)
POD = closed(
    {
        "spec": closed(
            {
                "containers": {"type": "array", "items": CONTAINER, "minItems": 1},
                "terminationGracePeriodSeconds": WHOLE,
                "volumes": {
                    "type": "array",
                    "items": closed(
                        {"name": TEXT, "persistentVolumeClaim": closed({"claimName": TEXT})}
                    ),
                },
            },
            ["containers"],
        )
    },
    ["spec"],
)
STARTS = {"type": "object", "additionalProperties": TEXT}
SERVICE = closed(
    {
        "apiVersion": {"const": "ray.io/v1"},
        "kind": {"const": "RayService"},
        "metadata": closed({"name": TEXT}, ["name"]),
        "spec": closed(
            {
                "upgradeStrategy": closed({"type": {"enum": ["NewCluster", "None"]}}),
                "serveConfigV2": TEXT,
                "rayClusterConfig": closed(
                    {
                        "rayVersion": TEXT,
                        "authOptions": closed(
                            {"mode": {"enum": ["disabled", "token"]}, "secretName": TEXT}
                        ),
                        "enableInTreeAutoscaling": FLAG,
                        "headGroupSpec": closed(
                            {"rayStartParams": STARTS, "template": POD},
                            ["rayStartParams", "template"],
                        ),
                        "workerGroupSpecs": {
                            "type": "array",
                            "items": closed(
                                {
                                    "groupName": TEXT,
                                    "replicas": WHOLE,
                                    "minReplicas": WHOLE,
                                    "maxReplicas": WHOLE,
                                    "rayStartParams": STARTS,
                                    "template": POD,
                                },
                                ["groupName", "maxReplicas", "minReplicas", "template"],
                            ),
                        },
                    },
                    ["headGroupSpec"],
                ),
            },
            ["serveConfigV2", "rayClusterConfig"],
        ),
    },
    ["apiVersion", "kind", "metadata", "spec"],
)


@pytest.fixture(scope="module")
def manifest():
    return yaml.safe_load(MANIFEST.read_text())


@pytest.fixture(scope="module")
def served(manifest):
    return yaml.safe_load(manifest["spec"]["serveConfigV2"])


def test_it_has_the_fields_of_a_ray_service_and_no_others(manifest):
    jsonschema.validate(manifest, SERVICE)


def test_its_serve_configuration_is_what_our_command_writes(served):
    pytest.importorskip("ray.serve")
    zero = "0" * 64
    plan = RayPlan(
        "/srv/glassbox/bundles/current", zero, zero,
        replicas=2, min_replicas=2, max_replicas=8, share=Share(1.0, 4.0), host="0.0.0.0",
    )  # fmt: skip
    assert served == serve_config(plan)
    checked(served)


def test_what_it_promises_fits_together(manifest, served):
    cluster = manifest["spec"]["rayClusterConfig"]
    (workers,) = cluster["workerGroupSpecs"]
    (deployment,) = served["applications"][0]["deployments"]
    limits = workers["template"]["spec"]["containers"][0]["resources"]["limits"]
    share = deployment["ray_actor_options"]
    assert share["num_cpus"] <= float(limits["cpu"])
    assert share["num_gpus"] <= float(limits["nvidia.com/gpu"])
    assert workers["maxReplicas"] > deployment["autoscaling_config"]["max_replicas"]
    grace = workers["template"]["spec"]["terminationGracePeriodSeconds"]
    assert grace > deployment["graceful_shutdown_timeout_s"]
    head = cluster["headGroupSpec"]["template"]["spec"]["containers"][0]
    assert head["env"] == workers["template"]["spec"]["containers"][0]["env"]
    assert not any("password" in str(each).lower() for each in head["env"])


def test_whoever_reaches_ray_needs_a_token(manifest):
    cluster = manifest["spec"]["rayClusterConfig"]
    assert cluster["authOptions"] == {"mode": "token"}
    # KubeRay refuses the mode where it does not know that Ray has it.
    assert cluster["rayVersion"] >= "2.52.0"


def test_every_variable_is_a_setting(manifest):
    from glassbox.settings import known_settings

    known = {"GLASSBOX_" + each.key.upper().replace(".", "__") for each in known_settings()}
    head = manifest["spec"]["rayClusterConfig"]["headGroupSpec"]["template"]["spec"]
    names = {each["name"] for each in head["containers"][0]["env"]}
    assert {each for each in names if each.startswith("GLASSBOX_")} <= known

"""What a plan allows, what becomes of it in Serve's words, and what Serve's words become."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glassbox.deploy.bundle import read_bundle
from glassbox.deploy.ray.plan import RayPlan, Share, core_of
from glassbox.deploy.ray.serve_config import application, as_yaml, checked, serve_config
from glassbox.deploy.ray.state import LOST, death_of, fallen_of, read_state, reason_of
from glassbox.errors import InvalidValue, UnknownName
from tests.bundles import ADAPTER, make

ZERO = "0" * 64
PLAN = RayPlan("/srv/bundle", ZERO, ZERO)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"replicas": 0}, "replicas is 0"),
        ({"replicas": 1001}, "replicas is 1001"),
        ({"replicas": 3, "max_replicas": 2}, "replicas is 3"),
        ({"min_replicas": 4, "max_replicas": 2}, "min_replicas is 4"),
        ({"name": "a name"}, "name is 'a name'"),
        ({"port": 0}, "port is 0"),
        ({"target_ongoing": 0}, "target_ongoing is 0"),
    ],
)
def test_a_plan_that_cannot_run_is_refused(options, match):
    with pytest.raises(InvalidValue, match=match):
        replace(PLAN, **options)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"num_gpus": 2.0}, "num_gpus is 2.0"),
        ({"accelerator": "A10G"}, "more than 0 with accelerator 'A10G'"),
        ({"num_cpus": 0.0}, "num_cpus is 0.0"),
        ({"memory_bytes": 0}, "memory is 0"),
    ],
)
def test_a_share_that_no_replica_can_have_is_refused(options, match):
    with pytest.raises(InvalidValue, match=match):
        Share(**options)


@given(
    st.integers(1, 40),
    st.integers(0, 20),
    st.integers(1, 60),
    st.sampled_from([0.0, 0.25, 1.0]),
    st.booleans(),
)
def test_ray_takes_every_plan_that_we_take(replicas, fewest, most, num_gpus, surge):
    pytest.importorskip("ray.serve")
    options = {"replicas": replicas, "share": Share(num_gpus), "surge": surge}
    if fewest <= replicas <= most:
        options |= {"min_replicas": fewest, "max_replicas": most}
    plan = replace(PLAN, **options)
    (taken,) = checked(serve_config(plan)).applications
    (deployment,) = taken.deployments
    assert taken.args["most_replicas"] == plan.most
    if plan.is_autoscaled:
        assert deployment.autoscaling_config["max_replicas"] == most
    else:
        assert deployment.num_replicas == replicas


def test_a_file_holds_what_the_command_deploys_and_no_secret():
    yaml = pytest.importorskip("yaml")
    config = serve_config(replace(PLAN, replicas=2))
    text = as_yaml(config)
    assert yaml.safe_load(text) == config
    assert "serve deploy FILE" in text
    assert "settings" not in config["applications"][0]["args"]


def test_a_bundle_with_other_adapters_has_the_same_core(tmp_path):
    one, both = (
        make(tmp_path, out, verifier=None, classifiers={}, adapters=adapters)[0]
        for out, adapters in (
            ("one", {"support": ADAPTER}),
            ("both", {"support": ADAPTER, "second": ADAPTER}),
        )
    )
    other, _ = make(tmp_path, "other", verifier=None, adapters={})
    plans = [RayPlan.of(each, replicas=2) for each in (one, both, other)]
    assert plans[0].core == plans[1].core == core_of(read_bundle(both))
    assert len({each.digest for each in plans}) == 3
    assert plans[2].core != plans[0].core
    assert set(plans[1].adapters) == {"support", "second"}
    args = [application(each)["args"] for each in plans[:2]]
    assert args[0] == args[1], "running replicas take other adapters on"
    with pytest.raises(UnknownName, match="bundle"):
        RayPlan.of(tmp_path / "nowhere")


DEAD = {
    "State": "DEAD",
    "Name": "SERVE_REPLICA::glassbox#Replica#ab12",
    "Pid": 77,
    "EndTime": 2_000,
    "DeathCause": 'actor_died_error_context {\n  error_message: "Worker died. exit detail: '
    'code 2. End of file. Some common causes include: (1) much"\n}\n',
}


def details(status, message="", replicas=()):
    deployed = {
        "deployments": [{"name": "Replica", "user_config": {"bundle": "/b", "digest": "d"}}]
    }
    return {
        "applications": {
            "glassbox": {
                "status": status,
                "message": message,
                "deployed_app_config": deployed,
                "deployments": {"Replica": {"target_num_replicas": 2, "replicas": replicas}},
            }
        }
    }


def test_a_replica_that_has_ended_counts_no_more_even_where_serve_has_not_missed_it():
    replicas = [
        {"replica_id": id_, "state": "RUNNING", "pid": 7, "node_ip": "n", "start_time_s": 1.0}
        for id_ in ("ab12", "cd34")
    ]
    found = read_state("glassbox", details("RUNNING", "old", replicas), "http://a", [DEAD])
    assert [each.state for each in found.replicas] == [LOST, "RUNNING"]
    assert (found.n_ready, found.wanted, found.digest, found.message) == (1, 2, "d", "")
    assert found.fallen[0].ended_s == 2.0
    assert found.fallen[0].reason.endswith("where memory was short, by the system)")
    assert found.to_json()["n_ready"] == 1
    assert read_state("other", details("RUNNING"), "http://a") is None


def test_only_replicas_of_the_application_that_ended_unasked_are_listed():
    asked = {**DEAD, "DeathCause": 'error_message: "killed via `ray.kill`"\n'}
    alive = {**DEAD, "State": "ALIVE"}
    other = {**DEAD, "Name": "SERVE_REPLICA::glassbox-2#Replica#ab12"}
    assert fallen_of("glassbox", [asked, alive, other]) == ()
    many = [{**DEAD, "EndTime": at} for at in range(9)]
    assert [each.ended_s for each in fallen_of("glassbox", many)] == [
        0.008, 0.007, 0.006, 0.005, 0.004,
    ]  # fmt: skip


def test_the_end_for_want_of_memory_is_said():
    cause = (
        'oom_context {\n  error_message: "Task was killed due to the node running low on memory"\n}'
    )
    assert death_of(cause).startswith("out of memory: Task was killed")
    assert death_of(None) == ""


def test_the_reason_is_our_own_error_where_there_is_one():
    trace = (
        "The deployment failed to start 3 times in a row. Error:\n\x1b[36mray::x()\x1b[39m\n"
        'Traceback (most recent call last):\n  File "a.py", line 1\n'
        "glassbox.errors.CorruptArtifact: /b: the bundle on this machine has digest 12\n"
    )
    assert reason_of(trace) == "/b: the bundle on this machine has digest 12"
    theirs = trace.replace("glassbox.errors.CorruptArtifact", "ValueError")
    assert reason_of(theirs).endswith("ValueError: /b: the bundle on this machine has digest 12")
    assert "File" not in reason_of(theirs)
    assert "\x1b" not in reason_of(theirs)
    assert reason_of("Deploying\n") == "Deploying"

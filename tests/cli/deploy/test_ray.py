"""``glassbox deploy ray``: what is asked of a cluster, what is printed, what is refused."""

import pytest

from glassbox.cli.main import main
from glassbox.deploy.ray.plan import APPLICATION
from glassbox.deploy.ray.state import Deployed, Fallen, ReplicaState
from tests.bundles import make

pytest.importorskip("ray.serve")

UP = Deployed(
    APPLICATION, "RUNNING", "", "http://127.0.0.1:8000", "/srv/b", "ab" * 32, 2,
    (
        ReplicaState("one", "RUNNING", 41, "10.0.0.1", 1_795_291_739.0),
        ReplicaState("two", "LOST", 42, "10.0.0.2", 1_795_291_739.0),
    ),
    (Fallen("two", 42, 1_795_291_758.0, "out of memory: the node was running low"),),
)  # fmt: skip


@pytest.fixture
def cluster(monkeypatch):
    """A cluster that remembers what was asked of it."""
    asked = []

    class Pretend:
        found = UP

        def __init__(self, address, *, say):
            asked.append(("address", address))
            self._say = say

        def deploy(self, plan, **options):
            self._say("2 of 2 replicas answer")
            asked.append(("deploy", plan, options))
            return UP

        def status(self, name):
            return Pretend.found if name == APPLICATION else None

        def destroy(self, name):
            asked.append(("destroy", name))
            return name == APPLICATION

    monkeypatch.setattr("glassbox.deploy.ray.Cluster", Pretend)
    return asked, Pretend


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    made, _ = make(tmp_path_factory.mktemp("bundle"), verifier=None, classifiers={}, adapters={})
    return made


def test_a_bundle_is_deployed_as_asked(cluster, bundle, capsys):
    asked, _ = cluster
    words = (
        f"deploy ray --address auto --bundle {bundle} --replicas 2 --max-replicas 4 --num-gpus 0.5 "
        "--accelerator L4 --no-surge --may-grow --wait 60"
    )
    assert main(words.split()) == 0
    (_, plan, options) = asked[-1]
    assert (plan.replicas, plan.fewest, plan.most, plan.share.num_gpus) == (2, 1, 4, 0.5)
    assert (plan.surge, plan.settings, plan.share.accelerator) == (False, {}, "L4")
    assert options == {"may_grow": True, "timeout_s": 60.0}
    said = capsys.readouterr().err
    assert "2 of 2 replicas answer" in said
    assert "OpenAI API   http://127.0.0.1:8000/v1" in said


def test_a_local_cluster_has_the_programs_settings_and_goes_when_it_is_told_to(
    cluster, bundle, capsys, monkeypatch
):
    asked, _ = cluster
    monkeypatch.setenv("GLASSBOX_SERVER__DRAIN_S", "3")
    monkeypatch.setenv("GLASSBOX_AUDIT__DURABILITY", "strict")
    stay = []
    monkeypatch.setattr("glassbox.cli.deploy.ray._stay", lambda _, name: stay.append(name))
    assert main(["deploy", "ray", "--bundle", str(bundle), "--port", "0"]) == 0
    plan = asked[-1][1]
    assert plan.settings == {"server.drain_s": 3.0, "audit.durability": "strict"}
    assert plan.drain_s == 3.0
    assert plan.port > 0
    assert stay == [APPLICATION]


def test_the_status_says_what_ended_unasked(cluster, capsys):
    assert main(["deploy", "ray", "--address", "auto", "--status"]) == 0
    said = capsys.readouterr().out
    assert "glassbox: RUNNING, 1 of 2 replicas, http://127.0.0.1:8000" in said
    assert "ended unasked 2026-11-21 20:09:18 UTC  two (pid 42)" in said
    assert "out of memory: the node was running low" in said
    assert main(["deploy", "ray", "--address", "auto", "--status", "--json"]) == 0
    assert '"n_ready": 1' in capsys.readouterr().out


def test_nothing_there_is_said_and_counts_as_not_in_order(cluster, capsys):
    words = ["deploy", "ray", "--address", "auto", "--name", "other"]
    assert main([*words, "--status"]) == 7
    assert "Nothing runs as 'other'" in capsys.readouterr().out
    assert main([*words, "--destroy"]) == 0
    assert "nothing to do" in capsys.readouterr().err
    assert main(["deploy", "ray", "--address", "auto", "--destroy"]) == 0
    assert "Took 'glassbox' down." in capsys.readouterr().err


def test_a_file_for_serve_deploy_is_written_and_nothing_else_done(
    cluster, bundle, tmp_path, capsys
):
    asked, _ = cluster
    path = tmp_path / "serve.yaml"
    words = ["deploy", "ray", "--bundle", str(bundle), "--write-config", str(path)]
    assert main(words) == 0
    assert "glassbox.deploy.ray.entry:build" in path.read_text()
    assert [each[0] for each in asked] == ["address"]
    assert f"serve deploy {path}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--address", "auto"], "--bundle is None"),
        (["--address", "auto", "--status", "--destroy"], "one of --status and --destroy"),
        (["--status"], "a local cluster ends with the command that started it"),
        (["--bundle", "/no/such/bundle"], "/no/such/bundle"),
        (["--bundle", "BUNDLE", "--num-gpus", "2"], "num_gpus is 2.0"),
    ],
)
def test_what_makes_no_sense_is_refused(cluster, bundle, capsys, words, said):
    words = [str(bundle) if word == "BUNDLE" else word for word in words]
    assert main(["deploy", "ray", *words]) == 2
    assert said in capsys.readouterr().err.replace("\n", " ")

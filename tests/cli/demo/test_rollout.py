"""``glassbox demo rollout``: its parts alone, and once the whole story against a real server."""

import re
import signal
import socket
import threading
import time
from types import SimpleNamespace

import httpx
import orjson
import pytest

from glassbox.artifacts import read_json
from glassbox.cli import main as shell
from glassbox.cli.demo import rollout
from glassbox.cli.demo import traffic as demo_traffic
from glassbox.cli.demo.folder import MARK, demo_folder
from glassbox.cli.demo.rollout import PLAN, RULES, play
from glassbox.cli.demo.server import taking_alerts
from glassbox.cli.demo.traffic import Told, Traffic
from glassbox.client import Client
from glassbox.errors import ConflictError, DeadlineExceeded, Unreachable
from glassbox.rollout.alerts.rules_file import read_alert_file
from glassbox.rollout.decisions.plan import plan_from
from glassbox.runtime import SHIPPED_RUN
from glassbox.wire.rollouts import GateAnswered
from tests.waiting import clock_of_this_process, until

SHIPPED = pytest.mark.skipif(not SHIPPED_RUN.is_dir(), reason="the embedded world is not built")


class PretendClient(Client):
    """Answers at once, fails where it is told to, and keeps what it was told."""

    def __init__(self, fails_on=""):
        self.fails_on = fails_on
        self.asked: list[str] = []
        self.labels: dict[str, str | float] = {}
        self._lock = threading.Lock()

    def predict(self, features):
        with self._lock:
            self.asked.append(features["text"])
            number = len(self.asked)
        if features["text"] == self.fails_on:
            raise Unreachable("http://127.0.0.1:1")
        return SimpleNamespace(request_id=f"{features['text']}-{number}")

    def tell_labels(self, known):
        self.labels.update(known)


@pytest.fixture
def traffic(monkeypatch):
    monkeypatch.setattr(demo_traffic, "LABELS_AFTER_S", 0.0)
    made: list[Traffic] = []

    def begin(client, per_second=300.0):
        made.append(Traffic(client, per_second))
        return made[-1]

    yield begin
    for each in made:
        each.stop()


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def gate(name, verdict):
    return GateAnswered(name=name, value=0.1, low=0.0, high=0.2, limit=0.1, verdict=verdict, n=200)


def test_a_port_that_is_taken_leaves_the_demo_that_has_it_alone(tmp_path):
    (tmp_path / MARK).write_text("")
    (tmp_path / "glassbox.db").write_text("of the demo that runs")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConflictError, match=rf"Port {port} is taken, perhaps by a demo"):
            play(tmp_path, port, opens=False, stays=False)
    assert (tmp_path / "glassbox.db").read_text() == "of the demo that runs"


@pytest.mark.parametrize(
    ("verdicts", "only_slow"),
    [
        ({"error_rate": "pass", "canary_latency": "fail"}, True),
        ({"error_rate": "fail", "canary_latency": "fail"}, False),
        ({"error_rate": "pass", "latency": "pass"}, False),
    ],
)
def test_a_machine_that_is_slow_is_told_from_a_version_that_is_worse(verdicts, only_slow):
    gates = [gate(name, verdict) for name, verdict in verdicts.items()]
    assert rollout._was_only_slow(gates) is only_slow


def test_a_folder_that_holds_something_else_is_left_alone(tmp_path):
    kept = tmp_path / "thesis.txt"
    kept.write_text("years of work")
    with pytest.raises(ConflictError, match="holds something else than a demo"):
        play(tmp_path, free_port(), opens=False, stays=False)
    assert kept.read_text() == "years of work"


def test_a_demos_own_folder_is_emptied(tmp_path):
    (tmp_path / MARK).write_text("")
    (tmp_path / "glassbox.db").write_text("of the last time")
    (tmp_path / "versions").mkdir()
    with demo_folder(tmp_path):
        assert [each.name for each in tmp_path.iterdir()] == [MARK]


def test_a_demo_that_works_in_a_folder_is_left_alone_whatever_its_port(tmp_path):
    with demo_folder(tmp_path):
        (tmp_path / "glassbox.db").write_text("of the demo that runs")
        with pytest.raises(ConflictError, match="Another demo works in"):
            play(tmp_path, free_port(), opens=False, stays=False)
        assert (tmp_path / "glassbox.db").read_text() == "of the demo that runs"
    with demo_folder(tmp_path, fresh=False):
        assert {each.name for each in tmp_path.iterdir()} == {MARK, "glassbox.db"}
    assert "may be deleted" in (tmp_path / MARK).read_text()


def test_the_plan_and_the_rules_are_what_a_server_takes(tmp_path):
    assert plan_from(PLAN).min_requests == PLAN["min_requests"]
    rules = tmp_path / "alerts.toml"
    rules.write_text(RULES.format(url="http://127.0.0.1:9/alerts"))
    assert {each.name for each in read_alert_file(rules).rules} == {"rollout failed", "drift"}


@SHIPPED
def test_the_base_model_is_registered_with_its_own_figures(tmp_path):
    run = rollout._base_run(tmp_path)
    results = read_json(run / "results.json")
    assert results["final"] == "base"
    assert read_json(run / "classifier.json")["adapter"] is None
    assert results["models"] == read_json(SHIPPED_RUN / "results.json")["models"]


@SHIPPED
def test_reviews_carry_the_truth_and_questions_do_not():
    assert {each.label for each in rollout._held_out()} == {"negative", "positive"}
    questions = rollout._questions()
    assert len(questions) > 500
    assert all(each.label is None for each in questions)


def test_alerts_are_shown_as_they_come_and_waited_for(capsys):
    alerts = rollout._Alerts()
    assert not alerts.wait("drift", 0.01)
    told = {"type": "alert.firing", "data": {"state": "firing", "rule": "drift", "summary": "So."}}
    with taking_alerts(alerts) as url:
        assert httpx.post(url, content=orjson.dumps(told)).status_code == 204
        assert alerts.wait("drift", 5.0)
    assert not alerts.wait("rollout failed", 0.01)
    assert "firing: drift. So." in " ".join(capsys.readouterr().out.split())


def test_everybody_is_asked_about_and_the_truth_is_told_once(traffic):
    client = PretendClient()
    people = traffic(client)
    people.send([Told("good", "positive"), Told("what?", None)])
    people.wait(20)
    assert {"good", "what?"} <= set(client.asked)
    until(lambda: client.labels)
    people.stop()
    assert people.n_answered == len(client.asked)
    assert people.n_failed == 0
    assert set(client.labels.values()) == {"positive"}
    assert all(each.startswith("good-") for each in client.labels)


def test_what_fails_is_counted_and_does_not_end_it(traffic):
    client = PretendClient(fails_on="bad")
    people = traffic(client)
    people.send([Told("bad", "negative"), Told("good", "positive")])
    people.wait(10)
    until(lambda: people.n_failed)
    people.stop()
    assert people.n_failed > 0
    assert people.n_answered + people.n_failed == len(client.asked)


def test_another_kind_of_text_takes_the_place_of_the_first(traffic):
    client = PretendClient()
    people = traffic(client)
    people.send([Told("review", None)])
    people.wait(5)
    people.send([Told("question", None)])
    people.wait(20)
    people.stop()
    first = client.asked.index("question")
    assert set(client.asked[first + demo_traffic.PEOPLE :]) == {"question"}


def test_waiting_ends_where_nothing_is_answered_any_more(traffic, monkeypatch):
    monkeypatch.setattr(demo_traffic, "SILENT_S", 0.3)
    people = traffic(PretendClient(fails_on="bad"))
    people.send([Told("bad", None)])
    with clock_of_this_process() as clock:
        began_s = time.monotonic()
        with pytest.raises(DeadlineExceeded, match=r"answered nothing for 0\.3 s"):
            people.wait(1)
        assert time.monotonic() - began_s >= 0.3
        assert clock() < 3.0


def test_it_is_asked_to_end_as_by_an_interrupt():
    before = signal.getsignal(signal.SIGTERM)
    asked_to_end = rollout._ending_in_order()
    asked_to_end.__enter__()
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGTERM)
    asked_to_end.__exit__(None, None, None)
    assert signal.getsignal(signal.SIGTERM) == before


@pytest.mark.slow
@SHIPPED
def test_the_whole_story_is_told(tmp_path, capsys, monkeypatch):
    port = free_port()
    seen = tmp_path / "seen"
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" >> {seen}\n')
    browser.chmod(0o755)
    monkeypatch.setenv("BROWSER", f"{browser} %s")
    words = ["demo", "rollout", "--no-stay", "--port", str(port)]
    assert shell.main([*words, "--out", str(tmp_path / "demo")]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert seen.read_text().split() == [f"http://127.0.0.1:{port}/rollout"]
    assert "tuned_v1 was promoted" in out
    assert "hasty_v1 was taken back; the alert was delivered" in out
    assert "drift; the alert was delivered" in out
    assert "Against it: no drift" in out
    assert re.search(r"\d+ requests were answered in \d+ s, 0 were not", out)
    with pytest.raises(httpx.TransportError):
        httpx.get(f"http://127.0.0.1:{port}/livez")

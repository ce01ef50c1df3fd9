"""Dashboard and rules name nothing that the server does not have, and Prometheus reads them."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import promql_parser
import pytest
import yaml

from glassbox.server.telemetry.metrics import Metrics
from recipes.grafana import __main__ as dashboard

INFRA = Path(__file__).parents[2] / "infra"
RULES = INFRA / "prometheus" / "rules.yml"

BOUND = {"$__rate_interval": "5m", "$instance": ".*", "$version": ".*"}
"""What Grafana puts in."""

SAMPLES = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count"), "gauge": ("",)}
"""What a metric's samples are called behind its name."""


@pytest.fixture(scope="module")
def known() -> dict[str, frozenset[str]]:
    """Every sample that the server can have, with its labels."""
    found: dict[str, frozenset[str]] = {}
    metrics = Metrics()
    collectors = list(metrics.registry._collector_to_names)
    for collector in collectors:
        labels = frozenset(getattr(collector, "_labelnames", ()))
        for family in collector.describe():
            own = labels | frozenset(getattr(family, "_labelnames", ()))
            for end in SAMPLES[family.type]:
                extra = {"le"} if end == "_bucket" else set()
                found[family.name + end] = own | extra | {"instance", "job"}
    return found


def rules() -> list[dict[str, object]]:
    content = yaml.safe_load(RULES.read_text(encoding="utf-8"))
    return [rule for group in content["groups"] for rule in group["rules"]]


def board() -> dict[str, object]:
    return json.loads((INFRA / "grafana" / "glassbox.json").read_text(encoding="utf-8"))


def expressions() -> list[tuple[str, str]]:
    found = [(str(rule.get("alert") or rule["record"]), str(rule["expr"])) for rule in rules()]
    for panel in board()["panels"]:
        for target in panel.get("targets", ()):
            expr = target["expr"]
            for name, value in BOUND.items():
                expr = expr.replace(name, value)
            found.append((f"{panel['title']} {target['refId']}", expr))
    return found


def selectors(expression: str) -> Iterator[object]:
    """Yield every selector of a parsed expression, through the parser's own walk."""
    found: list[object] = []
    promql_parser.walk(promql_parser.parse(expression), found.append)
    yield from (node for node in found if isinstance(node, promql_parser.VectorSelector))


@pytest.mark.parametrize(("where", "expression"), expressions(), ids=lambda value: value[:40])
def test_every_expression_can_be_read_and_names_what_there_is(where, expression, known):
    recorded = {str(rule["record"]) for rule in rules() if "record" in rule}
    names = re.findall(r"glassbox:\w+(?::\w+)?", expression)
    assert names, where
    for selector in selectors(expression):
        if selector.name in recorded:
            continue
        assert selector.name in known, f"{where}: {selector.name}"
        labels = {matcher.name for matcher in selector.matchers.matchers}
        assert labels <= known[selector.name], f"{where}: {labels} of {selector.name}"


def test_the_selectors_are_all_found():
    """The parser's walk must not pass over anything."""
    for where, expression in expressions():
        found = sorted(selector.name for selector in selectors(expression))
        assert found == sorted(re.findall(r"glassbox:\w+(?::\w+)?", expression)), where


def test_every_metric_of_predictions_is_looked_at_by_something(known):
    used = " ".join(expression for _, expression in expressions())
    families = {
        re.sub(r"_(bucket|sum|count)$", "", name)
        for name in known
        if re.match(r"glassbox:(inference|rollout|drift|quality|audit|alert|component|state)", name)
    }
    assert {name for name in families if name not in used} == set()


def test_every_alert_says_how_bad_it_is_and_what_to_do():
    for rule in rules():
        if "alert" in rule:
            assert rule["labels"]["severity"] in ("info", "warn", "error"), rule["alert"]
            assert rule["annotations"]["summary"], rule["alert"]
            assert rule["annotations"]["description"].endswith("."), rule["alert"]


def test_the_dashboard_is_what_its_program_writes():
    assert dashboard.text() == dashboard.TARGET.read_text(encoding="utf-8"), (
        "run: python -m recipes.grafana"
    )


def test_panels_have_places_of_their_own_names_and_explanations():
    taken: set[tuple[int, int]] = set()
    panels = board()["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    for panel in panels:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells
        if panel["type"] != "row":
            assert panel["description"], panel["title"]


def test_the_how_to_knows_every_alert():
    page = INFRA.parent / "docs" / "how-to" / "watch-from-outside.md"
    text = page.read_text(encoding="utf-8")
    missing = [rule["alert"] for rule in rules() if "alert" in rule and rule["alert"] not in text]
    assert missing == []


@pytest.mark.parametrize(
    "words", [["check", "rules", "rules.yml"], ["test", "rules", "rules_test.yml"]]
)
def test_prometheus_itself_takes_the_rules(words):
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed (Debian: apt install prometheus)")
    done = subprocess.run(
        [promtool, *words], cwd=RULES.parent, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_prometheus_itself_finds_no_fault_with_the_metrics():
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed (Debian: apt install prometheus)")
    metrics = Metrics()
    metrics.inference.show({"summary": {"ring_utilisation": 0.5}})
    done = subprocess.run(
        [promtool, "check", "metrics"], input=metrics.text(), capture_output=True, check=False
    )
    said = done.stdout.decode() + done.stderr.decode()
    # Colons are Glassbox's way, as they are vLLM's, whose dashboards these names fit.
    lines = [line for line in said.splitlines() if line and "should not contain ':'" not in line]
    assert lines == []

"""What servers counted adds up: in any order, in any grouping, as if one had counted it all."""

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glassbox.audit.records import LabelEvent, PrimaryEvent, ShadowEvent
from glassbox.server.fleet.counters import Buckets, Counters, added, read_counters, since
from glassbox.server.telemetry.metrics import Metrics

EDGES = (0.1, 0.5, 1.0, 5.0)

# Halves add up exactly, in any order.
sums = st.integers(0, 1000).map(lambda each: each / 2)


@st.composite
def buckets(draw, edges=None):
    chosen = draw(st.sets(st.sampled_from(EDGES))) if edges is None else edges
    edges = tuple(sorted(chosen))
    counts = draw(st.lists(st.integers(0, 50), min_size=len(edges) + 1, max_size=len(edges) + 1))
    return Buckets(edges, tuple(counts), draw(sums))


names = st.sampled_from(["requests|2xx", "requests|5xx", "prompt_tokens", "labels"])
counters = st.builds(
    Counters,
    st.dictionaries(names, st.integers(0, 1000)),
    st.dictionaries(st.sampled_from(["request", "prediction|v1"]), buckets()),
)


@given(counters, counters, counters)
def test_order_and_grouping_do_not_matter(a, b, c):
    assert a + b == b + a
    assert (a + b) + c == a + (b + c)
    assert a + Counters() == a
    assert added([a, b, c]) == added([c, a, b])


@given(counters)
def test_json_and_back_is_the_same(a):
    assert Counters.from_json(a.to_json()) == a


@given(st.lists(st.floats(0.001, 10.0), max_size=40), st.lists(st.floats(0.001, 10.0), max_size=40))
def test_two_histograms_together_are_the_histogram_of_all(first, second):
    def observed(values, edges):
        counts = np.histogram(values, [0.0, *edges, np.inf])[0]
        return Buckets(tuple(edges), tuple(map(int, counts)), float(sum(values)))

    # Servers of two versions may have other edges: what both have is exact.
    one, other = observed(first, EDGES), observed(second, (0.5, 2.0, 5.0))
    both = one + other
    assert both.edges == (0.5, 5.0)
    assert both.counts == observed(first + second, both.edges).counts


@given(buckets(edges=EDGES), buckets(edges=EDGES))
def test_what_came_after_a_moment_is_the_difference(then, after):
    before = Counters({"labels": 3}, {"request": then})
    now = before + Counters({"labels": 4}, {"request": after})
    assert since(now, before) == Counters({"labels": 4}, {"request": after})


def test_a_quantile_lies_in_the_bucket_that_holds_it():
    draws = random.Random(3)
    values = [draws.uniform(0.0, 5.0) for _ in range(2000)]
    counts = np.histogram(values, [0.0, *EDGES, np.inf])[0]
    found = Buckets(EDGES, tuple(map(int, counts)))
    # Even within each bucket, so interpolation is nearly exact.
    assert found.quantile(0.5) == pytest.approx(np.quantile(values, 0.5), abs=0.1)
    assert found.quantile(0.99) == pytest.approx(np.quantile(values, 0.99), abs=0.1)
    assert Buckets((), (0,)).quantile(0.5) is None
    assert Buckets((1.0,), (0, 0)).quantile(0.5) is None
    assert Buckets((1.0, 2.0), (0, 0, 9)).quantile(0.5) == 2.0


def primary(status, version="v1"):
    return PrimaryEvent(
        request_id="r",
        time_s=1.0,
        model="default",
        model_version=version,
        feature_hash="h",
        latency_ms=12.0,
        status=status,
    )


def test_counters_are_read_from_what_the_server_counts():
    metrics = Metrics()
    metrics.answered("/v1/completions", "POST", 200, 0.2)
    metrics.answered("/api/v2/models/predict", "POST", 503, 0.4)
    # Neither pages nor those who watch nor machines that ask for health.
    for route in ("/", "/livez", "/metrics", "/v1/fleet", "/api/v2/models/events"):
        metrics.answered(route, "GET", 200, 50.0)
    metrics.inference.observe(primary("success"))
    metrics.inference.observe(primary("error"))
    metrics.inference.observe(
        ShadowEvent(
            request_id="r", time_s=1.0, shadow_version="v2", role="challenger", status="timeout"
        )
    )
    metrics.inference.observe(LabelEvent("r", 1.0, "yes", "somebody"))
    found = read_counters(metrics.registry)
    assert found.of("requests") == {"2xx": 1, "5xx": 1}
    assert found.n_requests == 2
    assert found.of("predictions") == {"success|v1": 1, "error|v1": 1}
    assert found.of("shadows") == {"timeout|v2": 1}
    assert found.numbers["labels"] == 1
    assert sum(found.durations["request"].counts) == 2
    assert found.durations["request"].total_s == pytest.approx(0.6)
    assert sum(found.durations["prediction|v1"].counts) == 2

"""Events in, tallies out."""

from dataclasses import replace

import pytest

from glassbox.audit.records import (
    ErasureEvent,
    LabelEvent,
    PrimaryEvent,
    ShadowEvent,
)
from glassbox.errors import CorruptArtifact
from glassbox.rollout.decisions.earlier import Earlier
from glassbox.rollout.decisions.evidence import Evidence, Folding, Stage
from glassbox.rollout.decisions.plan import GateLimits, RolloutPlan

PLAN = RolloutPlan(limits=GateLimits(slow_ms=100.0))
SHADOW, CANARY, BAKE = Stage(), Stage(is_canary=True), Stage(is_bake=True)


def primary(request_id="q1", **changes):
    event = PrimaryEvent(
        request_id=request_id,
        time_s=1.0,
        model="default",
        model_version="v1",
        feature_hash=f"v1:k1:{request_id}",
        latency_ms=10.0,
        status="success",
        prediction=0.8,
        confidence=0.8,
        label_probs={"a": 0.8, "b": 0.2},
    )
    return replace(event, **changes)


def shadow(request_id="q1", **changes):
    event = ShadowEvent(
        request_id=request_id,
        time_s=1.0,
        shadow_version="v2",
        status="ok",
        prediction=0.6,
        confidence=0.6,
        label_probs={"a": 0.6, "b": 0.4},
        diff=0.2,
        latency_ms=20.0,
    )
    return replace(event, **changes)


def folded(*events, stage=SHADOW, plan=PLAN, find=lambda _id: None, first=1):
    evidence, folding = Evidence.begin("r", "v1", "v2", plan), Folding(plan, find)
    for sequence, event in enumerate(events, start=first):
        folding.add(evidence, event, stage, sequence)
    return evidence


def counts_of(evidence):
    return {name: (t.n, round(t.mean, 6)) for name, t in evidence.tallies.items() if t.n}


def test_a_pair_counts_in_every_tally():
    found = counts_of(folded(primary(), shadow()))
    assert found == {
        "champion_errors": (1, 0.0),
        "errors": (1, 0.0),
        "difference": (1, 0.2),
        "slow": (1, 0.0),
        "confidence": (1, -0.2),
    }


@pytest.mark.parametrize("status", ["error", "timeout", "breaker_open"])
def test_a_challenger_that_did_not_answer_is_an_error(status):
    evidence = folded(primary(), shadow(status=status, prediction=None, diff=None))
    assert counts_of(evidence)["errors"] == (1, 1.0)
    assert evidence.counts == {status: 1}


@pytest.mark.parametrize("status", ["dropped", "sampled_out", "disabled"])
def test_a_copy_that_it_never_saw_is_counted_and_no_more(status):
    evidence = folded(primary(), shadow(status=status, prediction=None, diff=None))
    assert evidence.n_pairs == 0
    assert evidence.counts == {status: 1}


@pytest.mark.parametrize("prediction", [None, float("nan"), float("inf")])
def test_an_answer_that_is_no_number_is_an_error(prediction):
    evidence = folded(primary(), shadow(prediction=prediction, diff=None))
    assert counts_of(evidence)["errors"] == (1, 1.0)


def test_where_both_fail_neither_is_worse():
    failed = primary(status="error", prediction=None)
    assert counts_of(folded(failed, shadow(status="error")))["errors"] == (1, 0.0)


def test_others_events_change_nothing():
    evidence = folded(
        primary(model_version="v9"),
        shadow(shadow_version="v3"),
        primary("q2", model_version="v2", arm="challenger", rollout_id="another"),
        ErasureEvent("q1", 1.0, "t", "r"),
        shadow("never-seen"),
    )
    assert counts_of(evidence) == {}


def test_the_champions_second_answer_is_its_noise():
    evidence = folded(primary(), shadow(shadow_version="v1", role="noise_floor", diff=0.05))
    assert counts_of(evidence)["noise"] == (1, 0.05)
    assert evidence.counts == {}


def test_a_canarys_answers_count_beside_the_champions_of_the_same_time():
    mine = primary("q2", model_version="v2", arm="challenger", rollout_id="r", latency_ms=200.0)
    found = counts_of(folded(primary(), mine, stage=CANARY))
    assert found["canary_errors"] == (1, 0.0)
    assert found["canary_slow"] == (1, 1.0)
    assert found["canary_champion_errors"] == (1, 0.0)


def test_after_the_promotion_the_challengers_answers_are_the_bakes():
    found = counts_of(folded(primary(model_version="v2", status="error"), stage=BAKE))
    assert found == {"bake_errors": (1, 1.0)}


def test_slow_is_measured_by_the_champion_unless_the_plan_says_otherwise():
    plan = RolloutPlan(limits=GateLimits(slow_ratio=2.0, slow_slack_ms=5.0))
    found = counts_of(folded(primary(), shadow(latency_ms=26.0), plan=plan))
    assert found["slow"] == (1, 1.0)
    found = counts_of(folded(primary(), shadow(latency_ms=25.0), plan=plan))
    assert found["slow"] == (1, 0.0)


def test_a_label_compares_the_two_forecasts_once():
    told = LabelEvent("q1", 2.0, "a", "t")
    evidence = folded(primary(), shadow(), told, told)
    n, mean = counts_of(evidence)["brier"]
    assert n == 1
    # Half of (0.4² + 0.4²) less half of (0.2² + 0.2²).
    assert mean == pytest.approx(0.16 - 0.04)


@pytest.mark.parametrize("order", ["psl", "pls"])
def test_a_label_counts_whether_it_comes_before_or_after_the_copy(order):
    events = {"p": primary(), "s": shadow(), "l": LabelEvent("q1", 2.0, "a", "t")}
    assert counts_of(folded(*(events[each] for each in order)))["brier"][0] == 1


def test_a_label_of_an_answer_from_before_a_restart_counts_once():
    # The log: answer 1, label 2, copy 3, label 4. Wherever a restart was, what came behind it
    # and what came before count once together.
    events = [
        primary(),
        LabelEvent("q1", 2.0, "a", "t"),
        shadow(),
        LabelEvent("q1", 2.0, "a", "t"),
    ]
    known = Earlier(primary(), ((3, shadow()),), 2, "a")
    for n_before in range(len(events) + 1):
        before, after = events[:n_before], events[n_before:]
        told = [
            counts_of(folded(*before)).get("brier", (0,))[0],
            counts_of(folded(*after, find=lambda _id: known, first=n_before + 1)).get(
                "brier", (0,)
            )[0],
        ]
        assert sum(told) == 1, n_before


def test_a_challenger_that_cannot_say_the_truth_is_judged_by_it():
    told = LabelEvent("q1", 2.0, "b", "t")
    n, mean = counts_of(folded(primary(), shadow(label_probs={"a": 0.6, "c": 0.4}), told))["brier"]
    assert n == 1
    # Half of (0.6² + 0.4² + 1) less half of (0.8² + 0.8²).
    assert mean == pytest.approx(0.76 - 0.64)


def test_a_label_that_neither_knows_changes_nothing():
    known = Earlier(primary(), ((2, shadow()),), 3, "z")
    told = LabelEvent("q1", 2.0, "z", "t"), LabelEvent("q1", 2.0, 1.5, "t")
    assert "brier" not in counts_of(folded(*told, find=lambda _id: known, first=3))


def test_an_answer_from_before_a_restart_is_looked_up():
    known = Earlier(primary())
    assert counts_of(folded(shadow(), find=lambda _id: known))["difference"] == (1, 0.2)


def test_evidence_survives_a_break():
    evidence = folded(primary(), shadow(), shadow(status="dropped"))
    kept = Evidence.from_json(evidence.to_json())
    assert kept.to_json() == evidence.to_json()
    assert counts_of(kept) == counts_of(evidence)
    with pytest.raises(CorruptArtifact, match="evidence of a rollout"):
        Evidence.from_json({"champion": "v1"})

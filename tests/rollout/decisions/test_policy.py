"""The policy alone: values in, verdict out."""

from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from glassbox.errors import InvalidData, InvalidValue, UnknownName
from glassbox.rollout.decisions.evidence import Evidence
from glassbox.rollout.decisions.gates import gates_of, read_gates
from glassbox.rollout.decisions.plan import GateLimits, RolloutPlan, load_plan, plan_from
from glassbox.rollout.decisions.policy import State, decide
from glassbox.stats.sequential.means import mean_bounds

PLAN = RolloutPlan(
    min_requests=50, min_distinct=5, min_step_requests=10, consecutive_passes=1, step_s=0.0
)

COUNTS = st.integers(0, 3000)

FEW = st.one_of(st.just(0), st.integers(0, 30), COUNTS)
"""Requests that went badly: what is near a limit is drawn as often as what is far beyond all."""

FINE = (1000, 0)
"""Requests of a challenger that nothing is held against."""

DOUBTFUL = (1000, 10)
"""Requests of one whose errors are as many as are allowed."""


def evidence_of(good=0, bad=0, *, canary=(0, 0), bake=(0, 0), distinct=10, champion=(1000, 0)):
    """Evidence of requests that went well or not, in each stage."""
    it = Evidence.begin("r", "v1", "v2", PLAN)
    tallies = it.tallies
    for name in ("errors", "difference", "slow", "brier", "confidence"):
        tallies[name].add_many(0.0, good)
        tallies[name].add_many(1.0, bad)
    for where, (n_good, n_bad) in (("canary", canary), ("bake", bake)):
        for name in ("errors", "slow"):
            tallies[f"{where}_{name}"].add_many(0.0, n_good)
            tallies[f"{where}_{name}"].add_many(1.0, n_bad)
    for name in ("champion_errors", "canary_champion_errors"):
        tallies[name].add_many(0.0, champion[0])
        tallies[name].add_many(1.0, champion[1])
    it.distinct.update(str(each) for each in range(distinct))
    return it


PHASES = st.sampled_from(["Waiting", "Progressing", "WaitingPromotion", "Finalising"])


def decided(phase, shadow, canary, bake, is_paused=False, is_confirmed=False, seconds=9.0):
    state = State(phase, 0.5, is_paused, is_confirmed, seconds, seconds, 0, 5)
    return decide(PLAN, state, evidence_of(*shadow, canary=canary, bake=bake))


@settings(max_examples=30)
@given(
    PHASES,
    *[st.one_of(st.just(FINE), st.tuples(COUNTS, FEW))] * 3,
    st.booleans(),
    st.booleans(),
    st.floats(0, 1e6),
)
@example("Progressing", FINE, FINE, FINE, False, False, 9.0)
@example("Progressing", FINE, FINE, FINE, True, False, 9.0)
@example("WaitingPromotion", FINE, FINE, FINE, False, True, 9.0)
@example("Progressing", DOUBTFUL, FINE, FINE, False, False, 9.0)
@example("WaitingPromotion", FINE, DOUBTFUL, FINE, False, True, 9.0)
def test_nothing_is_promoted_unless_all_gates_pass(
    phase, shadow, canary, bake, is_paused, is_confirmed, seconds
):
    found = decided(phase, shadow, canary, bake, is_paused, is_confirmed, seconds)
    if found.verdict == "promote":
        assert {each.verdict for each in found.gates} <= {"pass", "off"}
        assert not is_paused
    if any(each.verdict == "fail" for each in found.gates):
        assert found.verdict == "rollback"
        assert found.state.phase == "Failed"
        assert found.state.weight == 0.0
    if found.verdict == "rollback":
        assert found.reason


@pytest.mark.parametrize(
    ("phase", "shadow", "canary", "verdict"),
    [
        ("Progressing", FINE, FINE, "promote"),
        ("WaitingPromotion", FINE, FINE, "promote"),
        ("Progressing", DOUBTFUL, FINE, "wait"),
        ("Progressing", FINE, DOUBTFUL, "wait"),
    ],
)
def test_one_gate_in_doubt_is_enough_to_wait(phase, shadow, canary, verdict):
    assert decided(phase, shadow, canary, FINE, is_confirmed=True).verdict == verdict


@settings(max_examples=10)
@given(PHASES, st.booleans())
def test_a_sure_breach_rolls_back_from_every_phase(phase, is_paused):
    evidence = evidence_of(0, 300, canary=(0, 300), bake=(0, 300))
    found = decide(PLAN, State(phase, 0.5, is_paused), evidence)
    assert found.verdict == "rollback"


@settings(max_examples=15)
@given(COUNTS, FEW)
def test_a_gate_never_passes_where_its_figure_breaks_the_limit(good, bad):
    for each in read_gates(PLAN, evidence_of(good, bad), gates_of(PLAN)):
        if each.value is not None and each.value > each.limit:
            assert each.verdict != "pass"
        if each.value is not None and each.value < each.limit:
            assert each.verdict != "fail"


def test_few_requests_do_not_pass_however_good_they_are():
    gates = read_gates(replace(PLAN, min_requests=2000), evidence_of(1999), ("error_rate",))
    assert gates[0].verdict == "not_enough_data"
    assert gates[0].needed == 2000
    gates = read_gates(replace(PLAN, min_requests=2000), evidence_of(2000), ("error_rate",))
    assert gates[0].verdict == "pass"


def test_few_requests_fail_where_there_is_no_doubt():
    (gate,) = read_gates(PLAN, evidence_of(0, 20), ("error_rate",))
    assert gate.verdict == "fail"


def test_one_breach_of_many_is_no_reason_to_roll_back():
    (gate,) = read_gates(PLAN, evidence_of(100, 2), ("error_rate",))
    assert gate.verdict == "inconclusive"


def test_all_gates_together_roll_back_wrongly_as_seldom_as_one_alone():
    evidence = evidence_of(900, 100)
    alone = replace(PLAN, limits=GateLimits(difference=None, slow_share=None, calibration=None))
    for plan, n_gates in ((PLAN, len(gates_of(PLAN))), (alone, 3)):
        assert len(gates_of(plan)) == n_gates
        alpha = plan.limits.alpha
        bounds = mean_bounds(evidence.tallies["errors"], alpha / n_gates, alpha)
        (gate,) = read_gates(plan, evidence, ("error_rate",))
        assert (gate.low, gate.high) == (bounds.low, bounds.high)


def test_each_stage_is_judged_by_its_own_requests():
    evidence = evidence_of(1000, canary=(1900, 100), bake=(150, 50), champion=(900, 0))
    evidence.tallies["canary_champion_errors"].add_many(1.0, 100)
    names = ("error_rate", "canary_error_rate", "bake_error_rate")
    errors = [each.value for each in read_gates(PLAN, evidence, names)]
    assert errors == pytest.approx([0.0, 0.05 - 0.1, 0.25 - 0.0])
    names = ("latency", "canary_latency", "bake_latency")
    slow = [each.value for each in read_gates(PLAN, evidence, names)]
    assert slow == pytest.approx([0.0, 0.05, 0.25])


def test_an_answer_that_always_differs_needs_no_champion_compared_with_itself():
    evidence = evidence_of(0, 300)
    assert evidence.tallies["noise"].n == 0
    (gate,) = read_gates(PLAN, evidence, ("difference",))
    assert gate.verdict == "fail"


def test_being_surer_without_labels_raises_doubt_and_no_more():
    evidence = evidence_of(2000)
    evidence.tallies["brier"] = Evidence.begin("r", "v1", "v2", PLAN).tallies["brier"]
    evidence.tallies["confidence"].add_many(1.0, 2000)
    (gate,) = read_gates(PLAN, evidence, ("calibration",))
    assert gate.verdict == "inconclusive"
    assert gate.limit == PLAN.limits.confidence
    assert "want of labels" in gate.about


def test_with_labels_confidence_does_not_stand_in_for_them():
    evidence = evidence_of(2000)
    doubtful = Evidence.begin("r", "v1", "v2", PLAN).tallies["brier"]
    doubtful.add_many(0.02, 30)
    evidence.tallies["brier"] = doubtful
    (gate,) = read_gates(PLAN, evidence, ("calibration",))
    assert gate.verdict == "inconclusive"
    assert gate.about.startswith("Brier score on labelled requests")


def test_calibration_is_off_for_versions_without_confidence():
    evidence = evidence_of(2000)
    empty = Evidence.begin("r", "v1", "v2", PLAN).tallies
    evidence.tallies["brier"], evidence.tallies["confidence"] = empty["brier"], empty["confidence"]
    (gate,) = read_gates(PLAN, evidence, ("calibration",))
    assert gate.verdict == "off"
    # One that keeps its confidence to itself where the champion tells it is in doubt.
    evidence.n_unsaid = 1
    (gate,) = read_gates(PLAN, evidence, ("calibration",))
    assert gate.verdict == "not_enough_data"


def test_gates_that_are_off_are_not_read():
    limits = GateLimits(difference=None, error_rate=None, slow_share=None)
    assert gates_of(replace(PLAN, limits=limits)) == ("calibration",)
    assert len(gates_of(PLAN)) == 8


def test_a_canary_step_lasts_as_long_as_it_must():
    plan = replace(PLAN, step_s=60.0)
    state = State("Progressing", 0.1, step_s=59.0)
    evidence = evidence_of(2000, canary=(9, 0))
    assert "1 more request in" in decide(plan, state, evidence).reason
    evidence = evidence_of(2000, canary=(10, 0))
    assert "1 s more" in decide(plan, state, evidence).reason
    found = decide(plan, replace(state, step_s=60.0), evidence)
    assert (found.verdict, found.state.weight) == ("advance", 0.2)
    assert found.state.n_before_step == 10


def test_a_bake_without_requests_goes_on():
    state = State("Finalising", step_s=1e6)
    assert decide(PLAN, state, evidence_of(2000)).verdict == "wait"
    found = decide(PLAN, state, evidence_of(2000, bake=(100, 0)))
    assert found.state.phase == "Succeeded"


def test_a_plan_comes_back_from_toml_and_json(tmp_path):
    path = tmp_path / "plan.toml"
    path.write_text(
        'confirm = true\nmin_requests = 7\n[limits]\nslow_ms = 30\ncalibration = "off"\n'
    )
    plan = load_plan(path)
    assert plan.confirm
    assert plan.min_requests == 7
    assert plan.limits.slow_ms == 30.0
    assert plan.limits.calibration is None
    assert plan_from(plan.to_json()) == plan
    assert plan_from(None) == RolloutPlan()


@pytest.mark.parametrize(
    ("value", "error", "words"),
    [
        ({"step_wight": 1}, UnknownName, "Did you mean 'step_weight'"),
        ({"limits": {"differences": 1}}, UnknownName, "No limit 'differences'"),
        ({"limits": 3}, InvalidValue, "a table of limits"),
        ({"step_weight": 0}, InvalidValue, "a fraction in"),
        ({"step_weight": 0.6}, InvalidValue, "at most max_weight"),
        ({"min_requests": 1.5}, InvalidValue, "a whole number"),
        ({"min_requests": True}, InvalidValue, "a number"),
        ({"min_requests": 10**30}, InvalidValue, "a whole number up to 1,000,000,000,000"),
        ({"step_s": 10**400}, InvalidValue, "a number"),
        ({"confirm": 1}, InvalidValue, "true or false"),
        ({"bake_s": "soon"}, InvalidValue, "a number"),
        ({"bake_s": float("nan")}, InvalidValue, "a number"),
        ({"limits": {"alpha": 0.9}}, InvalidValue, r"in \(0, 0.5\]"),
        ({"limits": {"difference": 2}}, InvalidValue, "below limits.difference_cap"),
    ],
)
def test_a_plan_that_cannot_be_followed_is_refused(value, error, words):
    with pytest.raises(error, match=words):
        plan_from(value)


@pytest.mark.parametrize("name", ["most_noise", "slow_ratio", "slow_slack_ms", "slow_ms"])
def test_an_amount_that_is_allowed_may_be_none_at_all(name):
    assert getattr(plan_from({"limits": {name: 0}}).limits, name) == 0
    with pytest.raises(InvalidValue, match=f"limits.{name}.*at least 0"):
        plan_from({"limits": {name: -1e-9}})


def test_a_file_that_is_no_plan_is_refused(tmp_path):
    with pytest.raises(UnknownName, match="No file"):
        load_plan(tmp_path / "none.toml")
    (tmp_path / "plan.toml").write_text("step_s = = 1")
    with pytest.raises(InvalidData, match="no TOML"):
        load_plan(tmp_path / "plan.toml")
    (tmp_path / "plan.toml").write_bytes("# späte Schritte\n".encode("latin-1"))
    with pytest.raises(InvalidData, match=r"no TOML.*utf-8"):
        load_plan(tmp_path / "plan.toml")


def test_labels_that_come_while_it_bakes_can_still_roll_it_back():
    evidence = evidence_of(1000, canary=FINE, bake=FINE)
    evidence.tallies["brier"].add_many(1.0, 1000)
    found = decide(PLAN, State("Finalising"), evidence)
    assert (found.verdict, found.state.phase) == ("rollback", "Failed")
    assert "calibration" in found.reason


def test_a_promotion_that_was_decided_is_not_too_late():
    watched_s = PLAN.max_duration_s + 1.0
    evidence = evidence_of(1000, canary=FINE)
    for phase, verdict in (("WaitingPromotion", "rollback"), ("Promoting", "promote")):
        assert decide(PLAN, State(phase, 0.5, watched_s=watched_s), evidence).verdict == verdict


def test_what_nobody_lets_go_on_has_all_of_its_time():
    evidence = evidence_of(1000, canary=FINE)
    state = State("WaitingPromotion", 0.5, watched_s=PLAN.max_duration_s)
    assert decide(PLAN, state, evidence).verdict == "wait"
    late = decide(PLAN, replace(state, watched_s=PLAN.max_duration_s + 1.0), evidence)
    assert late.verdict == "rollback"
    assert late.reason.endswith("(nobody let it go on).")


def test_what_somebody_confirms_waits_for_no_further_step():
    state = State("WaitingPromotion", 0.5, is_confirmed=True, step_s=0.0)
    found = decide(replace(PLAN, step_s=60.0), state, evidence_of(1000, canary=FINE))
    assert (found.verdict, found.state.phase) == ("promote", "Promoting")


def test_a_look_in_doubt_begins_the_row_anew():
    plan = replace(PLAN, consecutive_passes=3)
    state = State("Waiting", n_passes=2)
    doubtful = decide(plan, state, evidence_of(*DOUBTFUL))
    assert doubtful.state.n_passes == 0
    assert not doubtful.reason.endswith("; ."), "the inputs are enough"
    assert decide(plan, state, evidence_of(*FINE)).verdict == "advance"

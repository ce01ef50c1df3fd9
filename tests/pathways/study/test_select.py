"""Which latents go on, how many of them chance gives, and the prompts that stand for them."""

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import false_discovery_control

from glassbox.errors import CorruptArtifact, NotEnoughData
from glassbox.pathways.integration.inputs import latent_rows
from glassbox.pathways.latents import LatentId
from glassbox.pathways.sections import AuditSection, SelectSection
from glassbox.pathways.study.audit import audit_study
from glassbox.pathways.study.faults import FaultList
from glassbox.pathways.study.log_records import read_log_records
from glassbox.pathways.study.prompts_sample import read_prompts, sample_prompts, write_prompts
from glassbox.pathways.study.report import AuditReport, LatentEvidence
from glassbox.pathways.study.responses import read_responses
from glassbox.pathways.study.select import select_latents, with_bootstrap
from glassbox.pathways.study.selection_file import read_selection, write_selection
from glassbox.stats.multiple_testing import benjamini_hochberg
from tests.pathways.study.studies import CONTRAST, made_study

AUDIT = AuditSection(n_permutations=200)


def _report(*effects, layer=0, **fields):
    """Latents with these d, all of one layer."""
    return AuditReport(
        errors=(),
        warnings=(),
        latents=tuple(
            LatentEvidence(LatentId(layer, place), True, d, p=0.5, q=0.5, **fields)
            for place, d in enumerate(effects)
        ),
    )


def _names(selection):
    return [each.name for each in selection.latents]


def test_the_largest_effects_of_each_layer_go_on_whatever_their_sign():
    first, second = _report(0.2, -0.9, 0.5, None), _report(1.4, -0.1, layer=2)
    report = replace(first, latents=first.latents + second.latents)
    selection = select_latents(report, SelectSection(top_per_layer=2), AUDIT)
    assert _names(selection) == ["L0-1", "L0-2", "L2-0", "L2-1"]
    assert [each.rank for each in selection.latents] == [1, 2, 1, 2]
    assert [each.smallest_d for each in selection.layers] == [0.5, 0.1]
    assert [each.n_tested for each in selection.layers] == [4, 2]


def test_recomputed_effects_count_for_more_than_reported_ones():
    report = _report(0.9, 0.1)
    low, high = report.latents
    report = replace(
        report,
        latents=(
            replace(low, recomputed_d=0.0, n_treated=30, n_baseline=30),
            replace(high, recomputed_d=0.7, n_treated=30, n_baseline=30),
        ),
    )
    assert _names(select_latents(report, SelectSection(top_per_layer=1), AUDIT)) == ["L0-1"]


def test_corrected_evidence_selects_by_q_and_both_needs_both():
    report = _report(0.9, 0.8, 0.7)
    latents = [
        replace(each, q=q) for each, q in zip(report.latents, (0.3, 0.01, 0.02), strict=True)
    ]
    report = replace(report, latents=tuple(latents))
    two = SelectSection(top_per_layer=2)
    by_rule = {
        rule: _names(select_latents(report, two.model_copy(update={"rule": rule}), AUDIT))
        for rule in ("abs_d", "corrected", "both")
    }
    assert by_rule == {
        "abs_d": ["L0-0", "L0-1"],
        "corrected": ["L0-1", "L0-2"],
        "both": ["L0-1"],
    }
    reasons = {
        each.name: each.reasons
        for each in select_latents(report, SelectSection(rule="corrected"), AUDIT).latents
    }
    assert reasons == {"L0-1": ("abs_d", "corrected"), "L0-2": ("abs_d", "corrected")}


def test_a_selection_of_nulls_is_all_chance_and_a_strong_one_is_none():
    nulls = select_latents(_report(*[0.1] * 200), SelectSection(top_per_layer=50), AUDIT)
    assert nulls.expected_by_chance == 50
    strong = select_latents(
        _report(*[0.1] * 197, 2.0, 2.1, 2.2), SelectSection(top_per_layer=3), AUDIT
    )
    assert strong.expected_by_chance < 1e-6
    assert strong.layers[0].null_d == pytest.approx(0.66, abs=0.02)


def test_a_layer_of_nulls_is_all_chance_however_strong_another_layer_is():
    rng = np.random.default_rng(0)
    p = rng.random((6, 500))
    p[0, :300] = 1e-6
    q = benjamini_hochberg(p.ravel()).reshape(p.shape)
    latents = tuple(
        LatentEvidence(LatentId(layer, place), True, 0.5, p=p[layer, place], q=q[layer, place])
        for layer in range(6)
        for place in range(500)
    )
    report = AuditReport(errors=(), warnings=(), latents=latents)
    selection = select_latents(report, SelectSection(rule="corrected"), AUDIT)
    strong, *nulls = selection.layers
    n_null = sum(each.n_selected for each in nulls)
    assert n_null >= 5
    assert sum(each.expected_by_chance for each in nulls) > 0.5 * n_null
    assert strong.expected_by_chance < 0.05 * strong.n_selected


def test_a_larger_dictionary_makes_chance_larger():
    settings = SelectSection(top_per_layer=50)
    report = _report(*[0.82] * 50)
    small = select_latents(report, settings, AUDIT)
    large = select_latents(report, settings.model_copy(update={"dictionary_size": 32_768}), AUDIT)
    assert small.expected_by_chance < 1
    assert large.expected_by_chance == 50
    assert large.layers[0].null_d == pytest.approx(0.86, abs=0.01)


def test_evidence_is_corrected_over_all_that_the_study_chose_from():
    p_values = (1e-7, 1e-4, 0.002, 0.01, 0.4, None)
    report = _report(1.5, 1.2, 1.0, 0.9, 0.3, None)
    held = benjamini_hochberg(np.array(p_values[:5])).tolist()
    report = replace(
        report,
        latents=tuple(
            replace(each, p=p, q=q)
            for each, p, q in zip(report.latents, p_values, [*held, None], strict=True)
        ),
    )
    settings = SelectSection(rule="corrected")
    assert _names(select_latents(report, settings, AUDIT)) == ["L0-0", "L0-1", "L0-2", "L0-3"]
    for size, names in ((3, 4), (100, 2), (32_768, 1)):
        sized = settings.model_copy(update={"dictionary_size": size})
        found = select_latents(report, sized, AUDIT)
        assert _names(found) == [f"L0-{at}" for at in range(names)]
        # As if each latent that the checkpoints do not hold had been tested and shown nothing.
        n_unheld = max(size, len(p_values)) - 5
        expected = false_discovery_control([*p_values[:5], *[1.0] * n_unheld])[:names]
        assert [each.evidence.q for each in found.latents] == pytest.approx(expected)


def test_latents_that_are_no_candidates_are_counted_by_reason():
    report = _report(0.9, 0.8, 0.7, None)
    one, two, three, four = report.latents
    report = replace(
        report,
        latents=(
            replace(one, is_faulty=True),
            replace(two, is_causal=False),
            three,
            replace(four, p=None, q=None),
        ),
    )
    selection = select_latents(report, SelectSection(), AUDIT)
    assert _names(selection) == ["L0-2"]
    assert selection.left_out == {"faulty": 1, "not_causal": 1, "no_effect_size": 1}
    whole = select_latents(report, SelectSection(only_causal=False), AUDIT)
    assert _names(whole) == ["L0-1", "L0-2"]


def test_nothing_left_is_said_with_the_reasons():
    report = _report(0.9)
    report = replace(report, latents=(replace(report.latents[0], is_causal=False),))
    with pytest.raises(NotEnoughData, match=r"1 not causal.*With select\.only_causal false"):
        select_latents(report, SelectSection(), AUDIT)


def test_errors_are_passed_over_only_on_request(tmp_path):
    study = made_study(n_latents=6)
    study.results[0]["cohen_d"] = float("nan")
    study.logs[0]["response"] = ""
    study.logs[200]["response"] = ""
    report = audit_study(*study.write(tmp_path), AUDIT)
    going_on = AUDIT.model_copy(update={"despite_errors": True})
    selection = select_latents(report, SelectSection(), going_on)
    assert _names(selection) == ["L0-103", "L1-104", "L2-102", "L2-105"]


@pytest.fixture
def chosen(tmp_path):
    study = made_study(n_latents=6, effects={3: 0.45})
    for record in study.logs:
        if record["feature"] == "L1-101" and record["condition"] == "risky_baseline":
            del record["prompt"]
    checkpoints, logs = study.write(tmp_path)
    report = audit_study(checkpoints, logs, AUDIT)
    responses = read_responses(logs, FaultList(), FaultList())
    selection = select_latents(report, SelectSection(), AUDIT)
    return with_bootstrap(selection, responses), responses, logs


def test_every_latent_gets_a_representative_prompt(chosen, tmp_path):
    selection, responses, logs = chosen
    sample = sample_prompts(selection, responses, logs)
    assert list(sample) == _names(selection)
    for name, entry in sample.items():
        assert entry["condition"] == ("safe_baseline" if name == "L1-101" else "risky_baseline")
        assert entry["prompt"]
    lengths = {}
    for record in read_log_records(logs):
        if record.condition == "risky_baseline":
            lengths.setdefault(record.feature, []).append(len(record.response))
    entry = sample["L0-103"]
    below = sum(each < len(entry["response"]) for each in lengths["L0-103"])
    above = sum(each > len(entry["response"]) for each in lengths["L0-103"])
    assert max(below, above) <= 15
    write_prompts(sample, tmp_path / "prompts.json")
    assert read_prompts(tmp_path / "prompts.json") == sample


def test_bootstrap_intervals_are_near_the_exact_ones(chosen):
    for each in chosen[0].latents:
        assert each.boot_low <= each.evidence.hedges_g <= each.boot_high
        exact = each.evidence.g_high - each.evidence.g_low
        assert each.boot_high - each.boot_low == pytest.approx(exact, rel=0.4)
        # Of decisions, both are the difference of the shares that stopped.
        assert each.delta == pytest.approx(each.rate_difference)
        assert each.rate_low <= each.rate_difference <= each.rate_high
        assert np.sign(each.rate_difference) == np.sign(each.evidence.recomputed_d)


def test_that_no_decision_changed_is_no_interval_without_width(tmp_path):
    study = made_study(n_latents=3)
    before = {
        (each["feature"], each["trial"]): each["decision"]
        for each in study.logs
        if each["condition"] == CONTRAST[1]
    }
    for record in study.logs:
        if record["condition"] == CONTRAST[0]:
            record["decision"] = before[record["feature"], record["trial"]]
    for result in study.results:
        result["cohen_d"] = 0.0
    checkpoints, logs = study.write(tmp_path)
    report = audit_study(checkpoints, logs, AUDIT)
    responses = read_responses(logs, FaultList(), FaultList())
    selection = with_bootstrap(select_latents(report, SelectSection(), AUDIT), responses)
    assert [(each.boot_low, each.boot_high) for each in selection.latents] == [(None, None)] * 3
    for row in latent_rows(selection):
        assert row.effect_low < -0.4
        assert row.effect_high > 0.4


def test_the_file_comes_back_as_it_was_written(chosen, tmp_path):
    path = tmp_path / "causal_features.json"
    write_selection(chosen[0], path)
    assert read_selection(path) == chosen[0]
    content = json.loads(path.read_text())
    assert content["schema"] == 1
    first = content["latents"][0]
    assert {"feature", "layer", "feature_id", "is_causal", "cohen_d"} <= set(first)
    first["feature"] = "L9-9"
    path.write_text(json.dumps(content))
    with pytest.raises(CorruptArtifact, match="L9-9 is not L0-100"):
        read_selection(path)
    path.write_text('{"schema": 2}')
    with pytest.raises(CorruptArtifact, match="schema is 2"):
        read_selection(path)
    path.write_text("[]")
    with pytest.raises(CorruptArtifact, match="schema"):
        read_selection(path)
    path.write_text('{"L0-1": []}')
    with pytest.raises(CorruptArtifact, match="sample of prompts"):
        read_prompts(path)


def test_half_characters_do_not_reach_the_sample(tmp_path):
    study = made_study(n_latents=1)
    for record in study.logs:
        record["response"] = "Stop \ud800 now."
    checkpoints, logs = study.write(tmp_path)
    report = audit_study(checkpoints, logs, AUDIT)
    selection = select_latents(report, SelectSection(), AUDIT)
    responses = read_responses(logs, FaultList(), FaultList())
    write_prompts(sample_prompts(selection, responses, logs), tmp_path / "p.json")
    assert read_prompts(tmp_path / "p.json")["L0-100"]["response"] == "Stop \ufffd now."

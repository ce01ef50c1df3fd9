"""The audit on studies with known effects: figures, counts, joins, and files that come back."""

import json

import numpy as np
import pytest
from scipy import stats

from glassbox.errors import CorruptArtifact, InvalidData
from glassbox.pathways.sections import AuditSection
from glassbox.pathways.study.audit import audit_study, error_summary
from glassbox.pathways.study.conditions import CONDITIONS, CONTRASTS
from glassbox.pathways.study.report_file import read_report, write_report
from glassbox.stats.effects.max_statistic import null_order_statistic
from tests.pathways.study.studies import CONTRAST, made_study

QUICK = AuditSection(n_permutations=200)


def _audit(study, folder, settings=QUICK):
    return audit_study(*study.write(folder), settings)


def test_a_sound_study_has_neither_errors_nor_warnings(tmp_path):
    report = _audit(made_study(), tmp_path)
    assert report.validated
    assert report.error_counts == {}
    assert report.warning_counts == {}
    assert report.causal_by_layer == {0: 4, 1: 4, 2: 4}
    assert report.n_joinable == 12
    assert report.condition_counts == dict.fromkeys(CONDITIONS, 360)
    assert report.files["n_responses"] == report.files["n_usable_responses"] == 12 * 6 * 30
    assert report.files["n_response_files"] == 5


def test_the_largest_null_is_that_of_as_many_trials_as_there_are(tmp_path):
    statistics = _audit(made_study(n_trials=60), tmp_path / "logs").statistics
    assert statistics.null_largest_d == null_order_statistic(12, 1, n_treated=60, n_baseline=60)
    study = made_study(n_trials=60)
    study.logs.clear()
    alone = _audit(study, tmp_path / "no logs").statistics
    assert alone.null_largest_d == null_order_statistic(12, 1, n_treated=30, n_baseline=30)


def test_where_no_outcome_varies_there_is_no_threshold(tmp_path):
    study = made_study(n_latents=3)
    for record in study.logs:
        record["decision"] = "stop"
    statistics = _audit(study, tmp_path).statistics
    assert statistics.max_d_threshold is None
    assert statistics.n_above_threshold == 0


def test_effects_are_recomputed_from_the_logs(tmp_path):
    report = _audit(made_study(effects={3: 0.45}), tmp_path)
    assert report.statistics.match_share == 1
    assert report.statistics.contrast_from == "records"
    for each in report.latents:
        assert each.recomputed_d == pytest.approx(each.cohen_d, abs=1e-9)
        assert each.g_low < each.hedges_g < each.g_high
        assert abs(each.hedges_g) < abs(each.recomputed_d) or each.recomputed_d == 0
        assert each.p_from == "logs"
        assert (each.n_treated, each.n_baseline) == (30, 30)
    strongest = max(report.latents, key=lambda each: abs(each.effect))
    assert strongest.name == "L0-103"
    assert strongest.q < 0.05
    assert strongest.p_max < 0.05


def test_p_values_of_decisions_are_fishers(tmp_path):
    study = made_study(n_latents=4)
    report = _audit(study, tmp_path)
    for each in report.latents:
        stops = {
            condition: sum(
                record["decision"] == "stop"
                for record in study.logs
                if (record["feature"], record["condition"]) == (each.name, condition)
            )
            for condition in CONTRAST
        }
        table = [[stops[condition], 30 - stops[condition]] for condition in CONTRAST]
        assert each.p == pytest.approx(stats.fisher_exact(table).pvalue)


def test_other_outcomes_than_decisions_are_compared_too(tmp_path):
    report = _audit(made_study(outcome="p_stop", effects={2: 0.2}), tmp_path)
    assert report.validated
    assert report.statistics.outcome == "p_stop"
    assert report.statistics.match_share == 1
    found = [each.name for each in report.latents if each.q <= 0.05]
    assert found == ["L2-102"]


def test_latents_without_effect_are_silent(tmp_path):
    alarms, family = 0, 0
    for seed in range(8):
        report = _audit(made_study(n_latents=12, seed=seed), tmp_path / str(seed))
        alarms += report.statistics.n_significant > 0
        family += report.statistics.n_above_threshold > 0
    assert alarms <= 2
    assert family <= 3


def test_the_contrast_is_found_out_where_nobody_says_it(tmp_path):
    report = _audit(made_study(named_contrast=False), tmp_path)
    assert report.validated
    assert report.statistics.contrast_from == "data"
    assert report.statistics.contrast == CONTRAST


def test_a_study_that_subtracts_the_other_way_round_is_recognised(tmp_path):
    study = made_study(named_contrast=False)
    for each in study.results:
        each["cohen_d"] = -each["cohen_d"]
    report = _audit(study, tmp_path)
    assert report.validated
    assert report.statistics.contrast == (CONTRAST[1], CONTRAST[0])


def test_effects_that_no_contrast_gives_are_told_once(tmp_path):
    study = made_study(named_contrast=False)
    for place, each in enumerate(study.results):
        each["cohen_d"] = 5.0 + place
    report = _audit(study, tmp_path)
    assert report.validated
    assert report.warning_counts == {"effects-not-reproduced": 1}
    assert report.statistics.contrast_from == "assumed"


def test_an_effect_that_the_logs_do_not_give_is_an_error(tmp_path):
    study = made_study()
    study.results[4]["cohen_d"] += 0.2
    report = _audit(study, tmp_path)
    (error,) = report.errors
    assert (error.code, error.latent) == ("effect-disagrees", "L1-104")
    assert [each.name for each in report.latents if each.is_faulty] == ["L1-104"]


def test_the_configuration_decides_what_is_compared(tmp_path):
    settings = AuditSection(n_permutations=200, contrast=CONTRASTS[1])
    report = _audit(made_study(named_contrast=False, effects={0: 0.4}), tmp_path, settings)
    assert report.statistics.contrast == CONTRASTS[1]
    assert report.statistics.contrast_from == "configuration"
    assert report.error_counts.keys() == {"effect-disagrees"}


def test_outcomes_that_never_vary_are_flagged_and_ranked_nowhere(tmp_path):
    study = made_study(n_latents=3)
    for record in study.logs:
        if record["feature"] == "L0-100" and record["condition"] in CONTRAST:
            # One side always stops, the other never: d is infinite, the evidence is not.
            record["decision"] = "stop" if record["condition"] == CONTRAST[0] else "continue"
        if record["feature"] == "L1-101" and record["condition"] in CONTRAST:
            record["decision"] = "stop"
    study.results[0]["cohen_d"] = study.results[1]["cohen_d"] = None
    report = _audit(study, tmp_path)
    assert report.validated
    assert report.warning_counts == {"zero-variance": 2}
    separated, constant, _ = report.latents
    assert separated.effect is None
    assert separated.p < 1e-10
    assert separated.p_max < 0.01
    assert constant.p == 1
    assert constant.p_max is None
    assert constant.zero_variance


def test_labels_are_permuted_within_prompts_only_where_both_sides_have_them(tmp_path):
    assert _audit(made_study(n_latents=4), tmp_path / "a").statistics.within_prompts == 4
    study = made_study(n_latents=4)
    for record in study.logs:
        if record["feature"] == "L0-100":
            record["prompt"] += record["condition"]
        if record["feature"] == "L1-101":
            del record["prompt"]
    report = _audit(study, tmp_path / "b")
    assert report.statistics.within_prompts == 2
    assert report.warning_counts == {"no-prompts": 1}


def test_split_halves_take_odd_and_even_trials(tmp_path):
    study = made_study(n_latents=2, n_trials=40)
    for record in study.logs:
        if record["feature"] == "L0-100" and record["condition"] == CONTRAST[0]:
            stops = record["trial"] % 2 == 0 or record["trial"] == 1
            record["decision"] = "stop" if stops else "continue"
    study.results[0]["cohen_d"] = None
    report = _audit(study, tmp_path, AuditSection(n_permutations=100, expected_trials=40))
    first = report.latents[0]
    assert first.d_even is not None
    assert first.d_odd < -0.5 < 0.5 < first.d_even


def test_counts_are_held_against_what_was_expected(tmp_path):
    study = made_study(n_latents=3)
    study.logs = [
        record
        for record in study.logs
        if not (record["feature"] == "L0-100" and record["condition"] == CONDITIONS[4])
        and not (record["feature"] == "L1-101" and record["trial"] >= 19)
    ]
    report = _audit(study, tmp_path)
    assert report.warning_counts["missing-condition"] == 1
    assert report.warning_counts["few-trials"] == 6
    words = [each.message for each in report.warnings if each.code == "few-trials"]
    assert words[0] == "L1-101, safe_baseline: 19 trials; about 30 expected"
    many = AuditSection(n_permutations=100, expected_trials=12, least_trials=10)
    assert _audit(made_study(n_latents=1), tmp_path / "b", many).warning_counts == {
        "many-trials": 6
    }


def test_latents_of_one_side_only_are_told(tmp_path):
    study = made_study(n_latents=4)
    gone = study.results.pop(1)["feature"]
    study.logs = [record for record in study.logs if record["feature"] != "L2-102"]
    report = _audit(study, tmp_path)
    assert report.logs_only == (gone,)
    assert report.warning_counts == {"not-in-logs": 1, "not-in-checkpoints": 1}
    assert report.n_joinable == 2
    (alone,) = [each for each in report.latents if each.name == "L2-102"]
    assert alone.p_from == "checkpoint"
    assert alone.hedges_g == pytest.approx(0.987 * alone.cohen_d, abs=1e-3)


def test_repeated_checkpoints_are_one_latent(tmp_path):
    study = made_study()
    study.results += [dict(each) for each in study.results]
    report = _audit(study, tmp_path)
    assert report.validated
    assert len(report.latents) == 12
    assert report.files["n_repeated_results"] == 12


def test_the_files_come_back_as_they_were_written(tmp_path):
    study = made_study(n_latents=5)
    study.logs[3]["response"] = " "
    study.logs[4]["condition"] = "bold_baseline\udcff"
    report = _audit(study, tmp_path)
    validation, evidence = write_report(report, tmp_path / "audit")
    again = read_report(tmp_path / "audit")
    assert again.latents == report.latents
    assert again.statistics == report.statistics
    assert again.error_counts == report.error_counts
    assert len(again.errors) == 2
    content = json.loads(validation.read_text())
    assert content["validated"] is content["audit_results"]["validated"] is False
    assert content["total_causal_features"] == 5
    assert content["causal_by_layer"] == {"0": 2, "1": 2, "2": 1}
    assert "1 × empty-response" in error_summary(report)
    evidence.write_bytes(b"no table")
    with pytest.raises(CorruptArtifact, match="not the audit's table"):
        read_report(tmp_path / "audit")
    validation.write_text('{"schema_version": 1}')
    with pytest.raises(CorruptArtifact, match="not what an audit writes"):
        read_report(tmp_path / "audit")


def test_the_result_does_not_depend_on_how_records_lie_in_files(tmp_path):
    study = made_study(effects={5: 0.3})
    one = _audit(study, tmp_path / "a")
    study.logs_per_file, study.checkpoints_per_file = 37, 2
    other = _audit(study, tmp_path / "b")
    assert one.latents == other.latents
    assert one.statistics == other.statistics


def test_progress_is_told_in_bytes(tmp_path):
    told = []
    folders = made_study(n_latents=3).write(tmp_path)
    report = audit_study(*folders, QUICK, progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (report.files["n_response_bytes"],) * 2
    assert np.all(np.diff([done for done, _ in told]) > 0)


def test_a_study_without_decisions_keeps_what_the_checkpoints_say(tmp_path):
    study = made_study(n_latents=3, named_contrast=False)
    for record in study.logs:
        del record["decision"]
    report = _audit(study, tmp_path)
    assert report.warning_counts == {"no-outcomes": 1}
    assert all(each.p_from == "checkpoint" for each in report.latents)
    assert report.statistics.n_permutations == 0


def test_an_unfit_study_says_so_when_it_is_selected_from(tmp_path):
    from glassbox.pathways.sections import SelectSection
    from glassbox.pathways.study.select import select_latents

    study = made_study(n_latents=3)
    study.logs[0]["response"] = ""
    report = _audit(study, tmp_path)
    with pytest.raises(InvalidData, match=r"1 error \(1 × empty-response\)"):
        select_latents(report, SelectSection(), QUICK)

"""Every kind of bad study file: told with its place, never raised, never the end of the reading."""

import json

import pytest

from glassbox.pathways.sections import AuditSection
from glassbox.pathways.study import faults
from glassbox.pathways.study.audit import audit_study
from tests.pathways.study.studies import made_study

QUICK = AuditSection(n_permutations=100)


def _audited(tmp_path, spoil):
    study = made_study(n_latents=6)
    spoil(study)
    return audit_study(*study.write(tmp_path), QUICK)


def _set(record, **fields):
    record.update(fields)


@pytest.mark.parametrize(
    ("spoil", "code", "words"),
    [
        (lambda s: s.results[2].pop("is_causal"), "missing-field", "is_causal missing"),
        (lambda s: _set(s.results[2], layer="2"), "wrong-type", "layer is text ('2')"),
        (lambda s: _set(s.results[2], layer=True), "wrong-type", "layer is true or false"),
        (lambda s: _set(s.results[2], feature_id=102.0), "wrong-type", "decimal number (102.0)"),
        (lambda s: _set(s.results[2], is_causal=1), "wrong-type", "is_causal is a whole number"),
        (lambda s: _set(s.results[2], is_causal="true"), "wrong-type", "is_causal is text"),
        (lambda s: _set(s.results[2], cohen_d="0.4"), "wrong-type", "cohen_d is text"),
        (lambda s: _set(s.results[2], cohen_d=float("nan")), "non-finite-effect", "is nan"),
        (lambda s: _set(s.results[2], cohen_d=float("inf")), "non-finite-effect", "is inf"),
        (lambda s: _set(s.results[2], cohen_d=1e30), "out-of-range", "no effect is that large"),
        (lambda s: _set(s.results[2], layer=1), "name-disagrees", "L2-102 has layer 1"),
        (lambda s: _set(s.results[2], feature_id=7), "name-disagrees", "has feature_id 7"),
        (lambda s: _set(s.results[2], layer=-2, feature="L2-102"), "out-of-range", "layer is -2"),
        (lambda s: _set(s.results[2], feature="2/102"), "bad-name", "no name like L13-2044"),
        (lambda s: _set(s.results[2], feature="L02-102"), "bad-name", "is written L2-102"),
        (lambda s: _set(s.results[2], feature=7), "wrong-type", "feature is a whole number"),
        (lambda s: s.results.insert(2, ["L2-102"]), "not-an-object", "this is a list"),
        (
            lambda s: s.results.append({**s.results[2], "cohen_d": 0.9}),
            "contradictory-feature",
            "L2-102 has cohen_d 0.9",
        ),
        (lambda s: s.logs[159].pop("response"), "missing-field", "response missing"),
        (lambda s: s.logs[159].pop("feature"), "missing-field", "feature missing"),
        (lambda s: _set(s.logs[159], response=""), "empty-response", "empty"),
        (lambda s: _set(s.logs[159], response=" \n"), "empty-response", "empty"),
        (lambda s: _set(s.logs[159], response=None), "empty-response", "empty"),
        (lambda s: _set(s.logs[159], response=3), "wrong-type", "response is a whole number"),
        (lambda s: _set(s.logs[159], condition="safe"), "unknown-condition", "'safe' is none"),
        (lambda s: _set(s.logs[159], condition=["x"]), "wrong-type", "condition is a list"),
        (lambda s: _set(s.logs[159], feature="13"), "bad-name", "'13' is no name"),
        (lambda s: s.logs.insert(159, None), "not-an-object", "this is null"),
        (
            lambda s: s.logs.append({**s.logs[159], "response": "Something else."}),
            "contradictory-response",
            "with another response",
        ),
    ],
)
def test_one_bad_record_is_one_error_and_the_rest_is_used(tmp_path, spoil, code, words):
    report = _audited(tmp_path, spoil)
    assert not report.validated
    assert report.error_counts == {code: 1}
    (error,) = report.errors
    assert words in error.message
    assert error.source.endswith(".json")
    assert error.record is not None
    assert len(report.latents) >= 5


def test_every_fault_is_listed_not_only_the_first(tmp_path):
    def spoil(study):
        for place in range(0, 1080, 10):
            study.logs[place]["response"] = ""
        for place in range(5, 1080, 10):
            study.logs[place]["condition"] = "unheard_of"
        for each in study.results:
            del each["cohen_d"]
            each["layer"] = "0"

    report = _audited(tmp_path, spoil)
    assert report.error_counts == {
        "empty-response": 108,
        "unknown-condition": 108,
        "missing-field": 6,
        "wrong-type": 6,
    }
    assert len(report.errors) == 228
    assert report.latents == ()


def test_a_list_without_end_is_counted_on(tmp_path, monkeypatch):
    monkeypatch.setattr(faults, "MOST_LISTED", 10)
    report = _audited(tmp_path, lambda s: [_set(each, response="") for each in s.logs[:50]])
    assert report.n_errors == 50
    assert len(report.errors) == 10
    assert report.latents[0].is_faulty


def test_a_repeated_response_counts_once(tmp_path):
    report = _audited(tmp_path, lambda s: s.logs.extend(dict(each) for each in s.logs[5:8]))
    assert report.validated
    assert report.warning_counts == {"repeated-response": 3}
    assert report.files["n_responses"] - report.files["n_usable_responses"] == 3
    assert "stands in responses_000.json, record 5 too" in report.warnings[0].message


def test_odd_trial_numbers_are_warned_of(tmp_path):
    def spoil(study):
        study.logs[0]["trial"] = "0"
        study.logs[1]["trial"] = -4
        study.logs[2].pop("trial")
        study.results[0]["contrast"] = ["safe_baseline"]

    report = _audited(tmp_path, spoil)
    assert report.validated
    assert report.warning_counts == {"bad-trial": 2, "bad-contrast": 1, "no-trial-numbers": 1}


def test_a_numeric_outcome_must_be_a_number(tmp_path):
    study = made_study(n_latents=3, outcome="p_stop")
    study.logs[0]["p_stop"] = float("nan")
    study.logs[1]["p_stop"] = "0.3"
    study.logs[2]["p_stop"] = None
    study.logs[3]["p_stop"] = 10**400
    report = audit_study(*study.write(tmp_path), QUICK)
    assert report.error_counts["bad-outcome"] == 3


def test_no_files_at_all_is_an_error_and_no_exception(tmp_path):
    report = audit_study(tmp_path / "none", tmp_path / "nothing", QUICK)
    assert report.error_counts == {"no-checkpoints": 1, "no-response-logs": 1}
    assert report.latents == ()
    assert report.statistics.n_tested == 0


def test_checkpoints_and_logs_of_different_studies_are_told_apart(tmp_path):
    def spoil(study):
        for record in study.logs:
            record["feature"] = record["feature"].replace("-", "-9")

    report = _audited(tmp_path, spoil)
    assert report.error_counts == {"no-overlap": 1}
    assert "L0-100" in report.errors[0].message
    assert "L0-9100" in report.errors[0].message
    # What is obvious from the first is not said again for every latent.
    assert report.warning_counts == {}


def test_damaged_files_are_told_and_the_others_are_read(tmp_path):
    checkpoints, logs = made_study(n_latents=9).write(tmp_path)
    first, second = sorted(checkpoints.iterdir())
    first.write_bytes(first.read_bytes()[:-300])
    (checkpoints / "comprehensive_patching_checkpoint_999.json").write_text('{"results": []}')
    (checkpoints / "comprehensive_patching_checkpoint_998.json").write_text("[]")
    (logs / "broken.json").write_text("not json")
    (logs / "empty.json").write_text("")
    (logs / "none.json").write_text("[]")
    report = audit_study(checkpoints, logs, QUICK)
    assert report.error_counts == {"truncated": 1, "no-records": 3}
    assert {each.source for each in report.errors} == {
        first.name,
        "comprehensive_patching_checkpoint_998.json",
        "broken.json",
        "empty.json",
    }
    told = {each.source for each in report.warnings if each.code == "no-records"}
    assert told == {"comprehensive_patching_checkpoint_999.json", "none.json"}
    named = {each.name for each in report.latents}
    assert {json.loads(second.read_text())["results"][0]["feature"]} <= named


def test_an_unreadable_file_is_told(tmp_path):
    checkpoints, logs = made_study(n_latents=3).write(tmp_path)
    (logs / "gone.json").symlink_to(tmp_path / "nowhere")
    (logs / "folder.json").mkdir()
    report = audit_study(checkpoints, logs, QUICK)
    assert report.validated

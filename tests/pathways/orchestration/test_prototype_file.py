"""The rehearsal's file, read back."""

import json

import pytest

from glassbox.errors import CorruptArtifact, InvalidData
from glassbox.pathways.orchestration.prototype_file import read_prototype


def content():
    numbers = {"seconds": 1.5, "added_bytes": 10, "peak_bytes": 20, "disk_bytes": 30}
    return {
        "schema_version": 1,
        "feature": "L4-3",
        "n_tokens": 9,
        "position": 7,
        "activation": 2.5,
        "upstream_candidates": [
            {"source": "L2-1", "activation": 1.0, "gradient": 0.5, "attribution": 0.5}
        ],
        "stages": [{"name": "sweep", **numbers}],
        "forecast": {
            "steps": [{"step": "tokens", **numbers}],
            "peak_bytes": 20,
            "limit_bytes": 40,
            "memory": "resident set",
        },
    }


def written(tmp_path, what):
    path = tmp_path / "single_feature_test.json"
    path.write_text(what if isinstance(what, str) else json.dumps(what))
    return path


def test_the_content_comes_back_whole(tmp_path):
    more = {**content(), "mode": "total"}
    assert read_prototype(written(tmp_path, more)) == more


def test_one_that_is_not_there_says_which_step_makes_it(tmp_path):
    with pytest.raises(InvalidData, match="run 'glassbox pathways prototype' first"):
        read_prototype(tmp_path / "single_feature_test.json")


def test_a_damaged_file_or_that_of_another_version_is_refused(tmp_path):
    with pytest.raises(CorruptArtifact, match="not valid JSON"):
        read_prototype(written(tmp_path, json.dumps(content())[:90]))
    with pytest.raises(CorruptArtifact, match="schema_version is 2; this Glassbox reads 1"):
        read_prototype(written(tmp_path, {**content(), "schema_version": 2}))
    without = {name: each for name, each in content().items() if name != "stages"}
    with pytest.raises(CorruptArtifact, match=r"not what 'prototype' writes \(stages: Field"):
        read_prototype(written(tmp_path, without))
    wrong = content()
    wrong["forecast"]["steps"][0]["seconds"] = "soon"
    with pytest.raises(CorruptArtifact, match=r"forecast\.steps\.0\.seconds: .*with --fresh"):
        read_prototype(written(tmp_path, wrong))

"""A study's configuration: what it reads, what it refuses, and what its digest depends on."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glassbox.errors import InvalidData, InvalidSetting, UnknownName
from glassbox.pathways.config import NEUTRAL, SILENT, StudyConfig
from glassbox.pathways.config_file import load_config, save_config


def written(tmp_path, text, name="study.yaml"):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def test_yaml_and_toml_of_the_same_study_are_the_same_value(tmp_path):
    yaml = written(tmp_path, "study: {name: a, out: o}\nreplay: {doses: [half], q: 0.1}\n")
    toml = written(
        tmp_path, '[study]\nname = "a"\nout = "o"\n[replay]\ndoses = ["half"]\nq = 0.1\n', "s.toml"
    )
    assert load_config(yaml) == load_config(toml)


def test_an_empty_file_is_the_embedded_study(tmp_path):
    config = load_config(written(tmp_path, ""))
    assert config.model.name == "tiny"
    assert config.saes.folder == "tiny"
    assert config.select.top_per_layer == 50


def test_relative_paths_are_relative_to_the_file(tmp_path):
    (tmp_path / "weights").mkdir()
    config = load_config(
        written(
            tmp_path,
            "study: {out: results}\nsaes: {files: {3: l3}}\nmodel: {name: weights}\n"
            "data: {checkpoints: c, response_logs: l}\n",
        )
    )
    assert config.out == tmp_path / "results"
    assert config.saes.files == {3: str(tmp_path / "l3")}
    assert config.data.checkpoints == str(tmp_path / "c")
    assert config.data.response_logs == str(tmp_path / "l")
    assert config.model.name == str(tmp_path / "weights")


def test_a_hub_name_stays_as_it_is(tmp_path):
    config = load_config(written(tmp_path, "model: {name: meta-llama/Llama-3.1-8B}"))
    assert config.model.name == "meta-llama/Llama-3.1-8B"


def test_a_saved_configuration_reads_back_as_itself(tmp_path):
    config = load_config(written(tmp_path, "saes: {files: {0: a, 11: b}}\ntokens: {top: 3}\n"))
    save_config(config, tmp_path / "kept" / "config.json")
    assert load_config(tmp_path / "kept" / "config.json") == config


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("reply: {}", "Did you mean 'replay'"),
        ("study: {nam: x}", "Did you mean 'study.name'"),
        ("replay: {q: 2}", r"'replay\.q' is 2: input should be less than 1"),
        ("replay: {q: .nan}", "finite number"),
        ("replay: {doses: [triple]}", "'ablate', 'half' or 'double'"),
        ("replay: {doses: [half, half]}", "stands there twice"),
        ("contexts: {top: 0, spread: 0}", "a target needs a context"),
        ("saes: {files: {first: a}}", r"'saes\.files\.first' is 'first': .*valid integer"),
        # The other half would come of an experiment of hours, about other latents.
        ("data: {checkpoints: c}", "'data' is .*name both, or neither"),
        ("data: {response_logs: l}", "name both, or neither"),
        ("study: {name: ../up}", "should match pattern"),
    ],
)
def test_a_key_or_value_that_means_nothing_is_refused_by_name(tmp_path, text, said):
    with pytest.raises(InvalidSetting, match=said):
        load_config(written(tmp_path, text))


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.yaml", "study: [1", "not valid YAML"),
        ("a.yaml", "study: {name: 2001-99-99}", "not valid YAML .*month"),
        ("a.yaml", "study: {name: x, name: y}", "'name' stands there twice"),
        ("a.yaml", "study: x", "sections of keys"),
        ("a.yaml", "- 1", "sections of keys"),
        ("a.toml", "[study", "not valid TOML"),
    ],
)
def test_a_broken_file_is_refused_with_its_reason(tmp_path, name, text, said):
    with pytest.raises(InvalidData, match=said):
        load_config(written(tmp_path, text, name))


def test_python_objects_in_yaml_are_not_made(tmp_path):
    with pytest.raises(InvalidData, match="not valid YAML"):
        load_config(written(tmp_path, "study: {name: !!python/object/apply:os.getcwd []}"))


def test_a_file_that_is_not_there_or_of_another_kind_is_said_to_be_that(tmp_path):
    with pytest.raises(UnknownName, match=r"study\.yaml"):
        load_config(tmp_path / "study.yaml")
    with pytest.raises(InvalidSetting, match=r"neither \.yaml"):
        load_config(written(tmp_path, "", "study.ini"))


def test_where_things_are_and_how_work_is_spread_change_no_digest():
    plain = StudyConfig()
    other = StudyConfig.from_json(
        {
            "study": {"name": "other", "out": "/elsewhere"},
            "parallel": {"backend": "ray", "workers": 4, "contexts_per_shard": 1},
            "limits": {"gpu_bytes": 1},
            "model": {"device": "cuda:1"},
            "replay": {"batch_tokens": 300},
        }
    )
    assert other.digest == plain.digest


@given(st.floats(0.001, 0.999))
def test_every_value_that_changes_results_changes_the_digest(q):
    config = StudyConfig.from_json({"tokens": {"q": q}})
    assert (config.digest == StudyConfig().digest) == (q == StudyConfig().tokens.q)


def test_every_name_in_the_lists_of_silent_keys_exists():
    whole = StudyConfig().to_json()
    assert set(whole) >= SILENT
    assert all(key in whole[section] for section, key in NEUTRAL)

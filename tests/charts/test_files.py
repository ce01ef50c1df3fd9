"""Every chart is written as PNG, SVG and JSON; the JSON is what was drawn; the bytes repeat."""

import json
import subprocess
import sys
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from glassbox.charts.chart import plain, save
from glassbox.charts.registry import CHARTS, chart_info
from glassbox.errors import UnknownName
from tests.charts.worlds import DRAW, bars, panels, sample_sizes


@pytest.fixture(scope="module")
def charts():
    return {name: draw() for name, draw in DRAW.items()}


@pytest.fixture(scope="module")
def written(charts, tmp_path_factory):
    folder = tmp_path_factory.mktemp("charts")
    return folder, {name: save(chart, folder) for name, chart in charts.items()}


def test_a_chart_exists_for_every_registered_name(charts):
    assert set(charts) == set(CHARTS)
    assert all(chart.info == CHARTS[name] for name, chart in charts.items())


@pytest.mark.parametrize("name", CHARTS)
def test_each_chart_has_three_files_in_its_folder(name, written):
    folder, files = written
    stem = folder / CHARTS[name].folder / name
    for suffix, path in zip(("png", "svg", "json"), vars(files[name]).values(), strict=True):
        assert path == stem.with_name(f"{name}.{suffix}")
    assert files[name].png.read_bytes().startswith(b"\x89PNG")
    assert ElementTree.parse(files[name].svg).getroot().tag.endswith("svg")


@pytest.mark.parametrize("name", CHARTS)
def test_the_json_holds_the_numbers_of_the_picture(name, written, charts):
    content = json.loads(written[1][name].json.read_text())
    assert content["values"] == charts[name].values
    assert content["chart"] == name
    assert content["title"] == CHARTS[name].title
    assert content["summary"].startswith(CHARTS[name].alt)


def test_the_json_equals_the_inputs(written):
    base, tuned = panels()
    files = written[1]
    single = json.loads(files["reliability_raw_model_output"].json.read_text())["values"]["panel"]
    assert single["curve"]["counts"] == base.curve.counts.tolist()
    assert single["ece"]["low"] == base.ece.low
    empty = base.curve.counts == 0
    assert [each is None for each in single["curve"]["accuracy"]] == empty.tolist()
    pair = json.loads(files["finetuning_raw_reliability_comparison"].json.read_text())["values"]
    assert pair["tuned"]["mean_confidence"] == tuned.mean_confidence
    sizes = json.loads(files["sample_size_thresholds"].json.read_text())["values"]
    assert sizes["rows_needed"] == sample_sizes().rows_needed.tolist()
    accuracy = json.loads(files["accuracy_comparison"].json.read_text())["values"]
    assert accuracy == plain(bars())


@pytest.mark.parametrize("name", ["reliability_raw_model_output", "truth_versus_confidence"])
def test_the_same_values_give_the_same_bytes(name, written, tmp_path):
    again = save(DRAW[name](), tmp_path)
    for first, second in zip(vars(written[1][name]).values(), vars(again).values(), strict=True):
        assert first.read_bytes() == second.read_bytes()


def test_no_picture_carries_a_date_or_a_library_version(written):
    for files in written[1].values():
        assert b"<dc:date>" not in files.svg.read_bytes()
        assert b"Matplotlib" not in files.svg.read_bytes()
        assert b"Matplotlib" not in files.png.read_bytes()


def test_an_unknown_chart_is_named_with_the_closest_one():
    with pytest.raises(UnknownName, match="Did you mean 'risk_coverage'"):
        chart_info("risk_coverige")


def test_registry_texts_are_complete_sentences():
    for info in CHARTS.values():
        assert info.folder in ("calibration", "fine_tuning", "probes", "capacity")
        assert info.alt.endswith(".")
        assert info.reading.endswith(".")
        assert not info.title.endswith(".")


def test_plain_keeps_values_and_drops_what_does_not_exist():
    value = {"a": np.array([1.5, np.nan]), 2: (np.int64(3), float("inf")), "b": [True, None, "x"]}
    assert plain(value) == {"a": [1.5, None], "2": [3, None], "b": [True, None, "x"]}


def test_matplotlib_is_imported_only_to_draw_and_torch_never():
    modules = "business capacity chart comparison confusion histograms probes registry reliability"
    imports = "; ".join(
        f"import glassbox.charts.{name}"
        for name in f"{modules} report selective style training truth".split()
    )
    code = f"{imports}; import sys; print({{'matplotlib', 'torch', 'jinja2'}} & set(sys.modules))"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "set()"

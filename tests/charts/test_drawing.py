"""What stands on the pictures: axes, colours, absent bins, and extreme inputs."""

import dataclasses
import itertools
from typing import get_args

import numpy as np
import pytest

from glassbox.charts import style
from glassbox.charts.business import business_reliability, business_reliability_progression
from glassbox.charts.chart import picture
from glassbox.charts.comparison import (
    Bars,
    accuracy_comparison,
    calibration_error_comparison,
)
from glassbox.charts.confusion import LabelConfusion, label_confusion
from glassbox.charts.histograms import confidence_distribution_changes, raw_confidence_histogram
from glassbox.charts.reliability import reliability, reliability_comparison
from glassbox.charts.selective import RiskCoverageSeries, risk_coverage, sample_size_thresholds
from glassbox.charts.training import TrainingCurve, training_curve
from glassbox.charts.truth import truth_versus_confidence
from glassbox.errors import InvalidValue
from glassbox.stats.selective.ranking import risk_coverage_curve
from glassbox.stats.selective.threshold import choose_threshold
from tests.charts import worlds

RAW = "reliability_raw_model_output"


def to_rgb(colour) -> tuple[float, float, float]:
    from matplotlib.colors import to_rgb

    return to_rgb(colour)


def to_hex(colour) -> str:
    from matplotlib.colors import to_hex

    return to_hex(colour)


def texts(figure) -> str:
    found = [each.get_text() for each in figure.texts]
    for axes in figure.axes:
        found += [each.get_text() for each in axes.texts]
    return "\n".join(found)


def dots(axes) -> np.ndarray:
    return np.asarray(axes.collections[-1].get_offsets())


def test_reliability_axes_are_square_and_show_the_whole_range():
    base, tuned = worlds.panels()
    charts = (
        reliability(RAW, base),
        reliability_comparison("finetuning_raw_reliability_comparison", base, tuned),
    )
    for chart in charts:
        squares = chart.figure.axes[1::2]
        for axes in squares:
            assert axes.get_xlim() == (0, 1)
            assert axes.get_ylim() == (0, 1)
            assert axes.get_aspect() == 1
            box = axes.get_window_extent()
            assert box.width == pytest.approx(box.height)


def test_tick_labels_read_in_percent_while_values_stay_fractions():
    chart = reliability(RAW, worlds.panels()[0])
    axes = chart.figure.axes[1]
    assert axes.yaxis.get_major_formatter()(0.2, 0) == "20\u00a0%"
    assert axes.yaxis.get_major_formatter()(0.075, 0) == "7.5\u00a0%"
    assert 0 <= chart.values["panel"]["mean_confidence"] <= 1


def test_empty_bins_are_absent():
    panel = worlds.panels()[0]
    axes = reliability(RAW, panel).figure.axes[1]
    filled = panel.curve.counts > 0
    assert 0 < filled.sum() < filled.size
    expected = np.c_[panel.curve.mean_confidence[filled], panel.curve.accuracy[filled]]
    np.testing.assert_allclose(dots(axes), expected)
    strip = reliability(RAW, panel).figure.axes[0]
    assert len(strip.patches) == filled.sum()


def test_larger_bins_have_larger_dots_on_one_scale():
    panel = worlds.panels()[0]
    sizes = reliability(RAW, panel).figure.axes[1].collections[-1].get_sizes()
    counts = panel.curve.counts[panel.curve.counts > 0]
    assert np.array_equal(np.argsort(sizes, kind="stable"), np.argsort(counts, kind="stable"))


def test_base_is_the_first_colour_tuned_the_second_and_edges_are_darker():
    with style.drawing():
        import matplotlib as mpl

        cycle = mpl.rcParams["axes.prop_cycle"].by_key()["color"]
    assert style.face("base") == cycle[0]
    assert style.face("tuned") == cycle[1]
    for role in ("base", "tuned", "wrong", "other", "highlight", "baseline"):
        face, edge = (np.array(to_rgb(each)) for each in (style.face(role), style.edge(role)))
        np.testing.assert_allclose(edge, 0.7 * face, atol=1 / 255)
    base, tuned = worlds.panels()
    chart = reliability_comparison("finetuning_raw_reliability_comparison", base, tuned)
    for axes, role in zip(chart.figure.axes[1::2], ("base", "tuned"), strict=True):
        assert to_hex(axes.collections[-1].get_facecolor()[0]) == style.face(role).lower()
        assert to_hex(axes.collections[-1].get_edgecolor()[0]) == style.edge(role)


def luminance(colour: str) -> float:
    """Source: WCAG 2.2, relative luminance."""
    channels = np.array(to_rgb(colour))
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


@pytest.mark.parametrize("ink", [style.INK, style.MUTED])
def test_text_is_legible_on_paper_and_on_faces(ink):
    backs = (
        ["#ffffff", *(style.face(role) for role in ("base", "tuned"))]
        if ink == style.INK
        else ["#ffffff"]
    )
    for back in backs:
        assert (luminance(back) + 0.05) / (luminance(ink) + 0.05) >= 4.5


@pytest.mark.parametrize("role", get_args(style.Role))
def test_curves_and_their_names_can_be_read_on_paper(role):
    ratio = 1.05 / (luminance(style.stroke(role)) + 0.05)
    assert ratio >= 4.5
    assert style.contrast(style.stroke(role)) == pytest.approx(ratio)


def test_the_figures_beside_the_diagram_are_the_values():
    panel = worlds.panels()[0]
    words = texts(reliability(RAW, panel).figure)
    assert f"{panel.ece.estimate:.3f}" in words
    assert f"{panel.ece.low:.3f} to {panel.ece.high:.3f}" in words
    assert f"{panel.null.mean:.3f}" in words
    assert "test part, n = 400" in words
    assert "over-confident" in words


def test_a_model_within_the_null_level_is_not_called_miscalibrated():
    panel = worlds.panels()[0]
    calm = dataclasses.replace(panel, null=dataclasses.replace(panel.null, quantile_95=0.5))
    assert "No worse than perfect" in texts(reliability(RAW, calm).figure)


@pytest.mark.parametrize("binning", ["equal-width", "equal-mass"])
def test_thirty_rows_can_be_drawn(binning):
    confidence, correct = worlds.outcomes(2.0, 30)
    panel = worlds.panel(confidence, correct, binning=binning, n_bins=10)
    assert picture(reliability(RAW, panel), "svg")


def test_equal_confidences_make_one_dot_and_one_point():
    confidence = np.full(60, 0.7)
    correct = np.arange(60) % 3 > 0
    panel = worlds.panel(confidence, correct)
    assert dots(reliability(RAW, panel).figure.axes[1]).shape == (1, 2)
    curve = risk_coverage_curve(confidence, correct)
    chart = risk_coverage([RiskCoverageSeries("All equal", "base", "test part", curve)])
    assert picture(chart, "svg")
    stage = worlds.business((confidence, correct), max_error=0.01)
    assert stage.threshold.value is None
    written = texts(business_reliability(stage).figure).replace("\n", " ")
    assert "No safe threshold" in written
    assert "The 60 surest rows hold too many errors; of many more rows" in written
    assert "Tried on the threshold part" in written


@pytest.mark.parametrize("method", ["temperature scaling", "isotonic regression"])
def test_names_of_curves_stand_whole_on_the_sheet(method):
    curve = risk_coverage_curve(*worlds.TUNED)
    name = f"Tuned model, {method}"
    figure = risk_coverage([RiskCoverageSeries(name, "tuned", "test part", curve)]).figure
    (written,) = [each for each in figure.texts if each.get_text() == name]
    assert written.get_window_extent().x1 < figure.bbox.x1


def test_curves_that_would_hide_each_other_are_drawn_once_and_named_twice():
    curve = risk_coverage_curve(*worlds.TUNED)
    other = risk_coverage_curve(*worlds.BASE)
    series = [
        RiskCoverageSeries(name, "base", "test part", each)
        for name, each in (("Raw", curve), ("Temperature", curve), ("Platt", other))
    ]
    figure = risk_coverage(series).figure
    (axes,) = figure.axes
    assert len(axes.lines) == 2
    for name in ("Raw", "Temperature", "Platt"):
        assert name in texts(figure)
    assert texts(figure).count("The same curve") == 1


def test_a_curve_of_sample_sizes_has_its_name_at_its_end_and_no_two_overlap():
    value = worlds.sample_sizes()
    # Curves that end almost together, as those of a hundred errors would.
    table = np.array([[100 + n] * len(value.max_error) for n in range(len(value.n_errors))])
    figure = sample_size_thresholds(dataclasses.replace(value, rows_needed=table)).figure
    first, second = figure.axes
    for axes in (first, second):
        boxes = [each.get_window_extent() for each in axes.texts]
        assert all(not one.overlaps(two) for one, two in itertools.pairwise(boxes))
        assert all(box.x0 >= axes.bbox.x1 for box in boxes)
    assert max(each.get_window_extent().x1 for each in second.texts) < figure.bbox.x1
    assert max(each.get_window_extent().x1 for each in first.texts) < second.bbox.x0


def test_user_texts_with_dollars_and_great_length_are_shown_as_they_are():
    title = "price $5 or $6 " + "very " * 40 + "long"
    panel = dataclasses.replace(worlds.panels()[0], title=title)
    chart = reliability_comparison("finetuning_raw_reliability_comparison", panel, panel)
    assert picture(chart, "svg")
    assert "price \\$5 or \\$6" in texts(chart.figure)
    assert picture(reliability(RAW, panel), "svg")


def test_stages_share_their_axes():
    chart = business_reliability_progression(
        [worlds.business(worlds.BASE), worlds.business(worlds.TUNED)]
    )
    shares, errors = chart.figure.axes[0::2], chart.figure.axes[1::2]
    assert len({each.get_ylim() for each in shares}) == 1
    assert len({each.get_ylim() for each in errors}) == 1
    assert {each.get_xlim() for each in chart.figure.axes} == {(0, 1)}


def test_no_rounding_changes_what_is_promised():
    confidence = np.repeat([0.99982, 0.6], [3000, 500])
    correct = np.repeat([True, False], [3000, 500])
    panel = dataclasses.replace(
        worlds.business(worlds.BASE),
        threshold=choose_threshold(confidence, correct, max_error=0.0125, confidence_level=0.995),
    )
    written = texts(business_reliability(panel).figure).replace("\n", " ")
    assert "a confidence of 99.98\u00a0% or more" in written
    assert "a true error of at most 1.25\u00a0%, with 99.5\u00a0% confidence" in written
    assert "at 99.98\u00a0% or more" in texts(business_reliability_progression([panel]).figure)


def test_a_threshold_is_in_the_key_where_there_is_one_to_see():
    def key(chart) -> list[str]:
        (legend,) = chart.figure.legends
        return [each.get_text() for each in legend.get_texts()]

    safe, none = worlds.business(worlds.TUNED), worlds.business(worlds.BASE, max_error=0.001)
    assert safe.threshold.is_safe
    assert not none.threshold.is_safe
    assert "Chosen threshold" in key(business_reliability(safe))
    assert "Chosen threshold" not in key(business_reliability(none))
    assert "Chosen threshold" in key(business_reliability_progression([none, safe]))
    assert "Chosen threshold" not in key(business_reliability_progression([none, none]))


def test_histograms_share_their_axes_and_stack_wrong_answers():
    base, tuned = (worlds.histogram(each) for each in worlds.panels())
    chart = confidence_distribution_changes([base, tuned])
    assert len({(each.get_xlim(), each.get_ylim()) for each in chart.figure.axes}) == 1
    axes = raw_confidence_histogram(base).figure.axes[0]
    filled = base.curve.counts > 0
    heights = np.array([each.get_height() for each in axes.patches]).reshape(2, -1)
    np.testing.assert_allclose(heights.sum(axis=0), base.curve.counts[filled])
    np.testing.assert_allclose(
        heights[0], (base.curve.counts * (1 - base.curve.accuracy))[filled], atol=1e-9
    )


@pytest.mark.parametrize(("accuracy", "confidence"), [(0.1, 0.2), (0.2, 0.9), (0.95, 0.6)])
def test_the_marks_of_a_histogram_do_not_cross(accuracy, confidence):
    base = worlds.histogram(worlds.panels()[0])
    panel = dataclasses.replace(base, accuracy=accuracy, mean_confidence=confidence)
    figure = raw_confidence_histogram(panel).figure
    figure.canvas.draw()
    axes = figure.axes[0]
    boxes = [each.get_window_extent() for each in axes.texts]
    assert not boxes[0].overlaps(boxes[1])
    for line in axes.lines:
        x, top = axes.transData.transform((line.get_xdata()[0], 0))[0], line.get_ydata()[1]
        top = axes.transAxes.transform((0, top))[1]
        assert not any(box.x0 < x < box.x1 and top > box.y0 + 2 for box in boxes)


def test_accuracy_has_the_whole_axis_and_errors_begin_at_zero():
    bars = worlds.bars()
    assert accuracy_comparison(bars).figure.axes[0].get_ylim() == (0, 1)
    assert calibration_error_comparison(bars).figure.axes[0].get_ylim()[0] == 0
    with pytest.raises(InvalidValue, match="at least one"):
        accuracy_comparison(Bars((), "test part", 10))


def test_nothing_runs_through_the_figures_of_bars():
    bars = dataclasses.replace(worlds.bars(), reference=0.3)
    (axes,) = accuracy_comparison(bars).figure.axes
    level = next(each for each in axes.lines if set(each.get_ydata()) == {0.3})
    for text in axes.texts:
        paper = text.get_bbox_patch()
        assert to_hex(paper.get_facecolor()) == "#ffffff"
        assert text.get_zorder() > level.get_zorder()
    (axes,) = calibration_error_comparison(bars).figure.axes
    for text, bar in zip(axes.texts, bars.bars, strict=True):
        assert bar.null is None or text.xy[1] >= bar.null.quantile_95


@pytest.mark.parametrize("n_labels", [1, 2, 8, 20])
def test_confusion_matrices_of_any_size_can_be_drawn(n_labels):
    labels = tuple(f"a complaint that is about matter {n}" for n in range(n_labels))
    value = LabelConfusion(
        "Base", "base", "test part", labels, np.full((n_labels, n_labels), 3) * (n_labels > 1)
    )
    chart = label_confusion(value)
    ticks = [each.get_text() for each in chart.figure.axes[0].get_xticklabels()]
    assert len(set(ticks)) == n_labels
    assert picture(chart, "svg")


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(InvalidValue, match="confusion matrix"):
        label_confusion(LabelConfusion("B", "base", "part", ("a",), np.ones((2, 2), dtype=int)))
    sizes = worlds.sample_sizes()
    with pytest.raises(InvalidValue, match="table of rows"):
        sample_size_thresholds(dataclasses.replace(sizes, n_errors=(0, 1, 2)))
    curve = TrainingCurve((1,), (1.0,), (0.5,), (0.5,), 1, 10, 5)
    with pytest.raises(InvalidValue, match="kept step"):
        training_curve(dataclasses.replace(curve, best_step=7))
    with pytest.raises(InvalidValue, match="training curve"):
        training_curve(dataclasses.replace(curve, train_loss=()))


@pytest.mark.parametrize(
    "draw", [risk_coverage, business_reliability_progression, truth_versus_confidence]
)
def test_nothing_to_draw_is_refused(draw):
    with pytest.raises(InvalidValue, match="at least one"):
        draw([])


def test_the_users_own_matplotlib_settings_are_left_alone():
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    reliability(RAW, worlds.panels()[0])
    assert dict(mpl.rcParams) == before


def test_labels_are_shortened_where_they_do_not_differ():
    assert style.shorten_middle("customer complaint about billing", 22) == "customer co…ut billing"
    assert style.shorten_middle("short", 22) == "short"


def test_labels_that_would_be_cut_alike_show_where_they_differ():
    names = [f"department number {i} of the company" for i in range(12)]
    short = style.shorten_apart([*names, "other"], 22)
    assert len(set(short)) == 13
    assert max(map(len, short)) <= 22
    assert (short[3], short[12]) == ("…number 3 of the comp…", "other")
    # Cuts that meet at the end of the text hide nothing there.
    ends = ["very long label name, kind A", "very long label name, kind B"]
    assert style.shorten_apart(ends, 22) == [style.shorten_middle(each, 22) for each in ends]
    assert style.shorten("a  long\nlabel", 7) == "a long…"


def test_labels_that_no_font_can_write(monkeypatch):
    assert style.without_font(("café", "گُل", "a\nb")) == ""
    assert style.without_font(("a \U00012000", "b \U00012000\u20dd")) == "\U00012000\u20dd"
    # A font that is installed is asked next; one that is not is passed over.
    monkeypatch.setattr(style, "_OTHER_FONTS", ("No Such Font", "STIXGeneral"))
    assert style.without_font(("a \U00012000", "b \U00012000\u20dd")) == "\U00012000"
    labels = ("\U00012000", "\u20dd")
    chart = label_confusion(LabelConfusion("B", "base", "part", labels, np.eye(2, dtype=int)))
    assert picture(chart, "png").startswith(b"\x89PNG")
    assert picture(chart, "svg")

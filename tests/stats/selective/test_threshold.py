import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from glassbox.errors import InvalidData, InvalidValue
from glassbox.stats.intervals import clopper_pearson, clopper_pearson_upper
from glassbox.stats.selective.ranking import risk_coverage_curve
from glassbox.stats.selective.sample_size import errors_allowed, rows_for_power, rows_needed
from glassbox.stats.selective.threshold import check_classes, choose_threshold
from glassbox.wording import estimated
from tests.stats.worlds import calibrated, outcomes

TABLE_95 = {
    0.1: (29, 46, 61, 103, 167),
    0.05: (59, 93, 124, 208, 336),
    0.02: (149, 236, 313, 523, 845),
    0.01: (299, 473, 628, 1049, 1693),
    0.005: (598, 947, 1258, 2100, 3389),
}
TABLE_90 = {
    0.1: (22, 38, 52, 91, 152),
    0.05: (45, 77, 105, 184, 306),
    0.02: (114, 194, 265, 462, 768),
    0.01: (230, 388, 531, 926, 1538),
    0.005: (460, 777, 1063, 1853, 3079),
}
POWER_TABLE = {
    0.1: (61, 180, 815),
    0.05: (154, 387, 1705),
    0.02: (387, 992, 4542),
    0.01: (776, 1976, 9004),
}


@pytest.mark.parametrize(("level", "table"), [(0.95, TABLE_95), (0.9, TABLE_90)])
def test_rows_needed_reproduces_the_tables(level, table):
    for max_error, row in table.items():
        assert tuple(rows_needed(max_error, level, k) for k in (0, 1, 2, 5, 10)) == row
        upper = [
            clopper_pearson_upper(k, n, level=level)
            for k, n in zip((0, 1, 2), row[:3], strict=True)
        ]
        assert max(upper) <= max_error + 1e-12


@pytest.mark.parametrize("max_error", POWER_TABLE)
def test_rows_for_power_is_the_first_size_that_has_it(max_error):
    for share, published in zip((0.25, 0.5, 0.75), POWER_TABLE[max_error], strict=True):
        found = rows_for_power(max_error, 0.95, share * max_error)
        sizes = np.arange(1, published + 1)
        allowed = errors_allowed(sizes, max_error, 0.95)
        power = stats.binom.cdf(allowed, sizes, share * max_error)
        assert found == sizes[np.argmax(power >= 0.8)]
        # The published sizes come from a coarser search, so they are no smaller.
        assert found <= published <= 1.08 * found


def test_rows_for_power_limits():
    assert rows_for_power(0.05, 0.95, 0.0) == rows_needed(0.05, 0.95, 0)
    assert rows_for_power(0.05, 0.95, 0.0499) is None
    with pytest.raises(InvalidValue, match="error_rate"):
        rows_for_power(0.05, 0.95, 0.05)
    with pytest.raises(InvalidValue, match="power is 1"):
        rows_for_power(0.05, 0.95, 0.0, power=1.0)
    with pytest.raises(InvalidValue, match="n_errors is -1"):
        rows_needed(0.05, 0.95, -1)
    with pytest.raises(InvalidValue, match="max_error is 1"):
        errors_allowed(np.array([100]), 1.0, 0.95)


@pytest.mark.parametrize("max_error", [0.01, 0.05, 0.3, 0.6])
def test_errors_allowed_is_the_largest_count_that_passes(max_error):
    sizes = np.arange(0, 400)
    allowed = errors_allowed(sizes, max_error, 0.9)
    passes = stats.binom.cdf(allowed, sizes, max_error) <= 0.1
    assert passes[allowed >= 0].all()
    assert (stats.binom.cdf(allowed + 1, sizes, max_error) > 0.1).all()


@given(outcomes(min_size=5, max_size=120), st.sampled_from([0.05, 0.2, 0.4]))
def test_a_threshold_keeps_its_own_arithmetic(rows, max_error):
    confidence, correct = rows
    found = choose_threshold(confidence, correct, max_error=max_error)
    order = np.random.default_rng(0).permutation(correct.size)
    assert found == choose_threshold(confidence[order], correct[order], max_error=max_error)
    if found.value is None:
        assert (found.coverage, found.n_automated, found.error_upper_bound) == (0, 0, None)
        assert "No safe threshold" in found.sentence
        return
    is_automated = confidence >= found.value
    assert found.n_automated == is_automated.sum()
    assert found.n_errors == (is_automated & ~correct).sum()
    assert found.error_upper_bound <= max_error + 1e-12
    assert found.n_more is None
    assert found.is_safe
    assert found.sentence.startswith("Automate where")


@given(outcomes(min_size=30, max_size=120), st.randoms(use_true_random=False))
def test_the_start_does_not_look_at_labels(rows, random):
    confidence, correct = rows
    shuffled = list(correct)
    random.shuffle(shuffled)
    first = choose_threshold(confidence, correct, max_error=0.2)
    second = choose_threshold(confidence, np.array(shuffled), max_error=0.2)
    assert first.n_start == second.n_start


def test_the_start_has_as_many_rows_as_asked():
    confidence, correct = np.repeat([0.999, 0.9], [100, 100]), np.ones(200, bool)
    for n_min, n_start in ((99, 100), (100, 100), (101, 200), (201, 200)):
        found = choose_threshold(confidence, correct, max_error=0.3, n_min=n_min)
        assert found.n_start == n_start


def test_no_safe_threshold_says_how_many_more():
    few = choose_threshold(np.full(30, 0.99), np.ones(30, bool), max_error=0.05)
    assert few.value is None
    assert few.n_more == rows_needed(0.05, 0.9, 0) - 30
    assert "If none is wrong, about 15 more labelled rows as sure as these" in few.sentence
    assert "rows of any confidence" not in few.sentence
    some = choose_threshold(np.full(100, 0.99), np.arange(100) > 2, max_error=0.05)
    assert some.n_more == rows_for_power(0.05, 0.9, 0.03) - 100
    assert "hold 3 errors (3 %)" in some.sentence
    assert "If 3 % is the true rate of such rows" in some.sentence
    mixed = np.r_[np.full(100, 0.99), np.full(300, 0.6)]
    rare = choose_threshold(mixed, np.arange(400) % 100 > 2, max_error=0.05)
    assert (rare.n_start, rare.n_more) == (100, some.n_more)
    assert "25 % of the rows are, so that is about 1,400 rows of any confidence" in rare.sentence
    bad = choose_threshold(np.full(100, 0.99), np.arange(100) > 8, max_error=0.05)
    assert bad.n_more is None
    assert "a better model is needed, or a promise that allows more errors" in bad.sentence


def test_few_rows_do_not_condemn_surer_ones():
    confidence, correct = calibrated_tops(60)
    few = choose_threshold(confidence, correct, max_error=0.05)
    assert (few.value, few.n_more, few.n_start) == (None, None, 45)
    assert few.surer_may_help
    assert "these are 75 % of the rows: of many more, as many surer ones may do" in few.sentence
    whole = choose_threshold(np.full(9, 0.7), np.arange(9) > 4, max_error=0.05)
    assert "these are all rows there are" in whole.sentence
    # The very same kind of rows: there only had to be more of them.
    many, right = calibrated_tops(6000)
    assert choose_threshold(many, right, max_error=0.05).is_safe
    bad = choose_threshold(many, np.arange(6000) % 2 > 0, max_error=0.05)
    assert not bad.surer_may_help
    assert bad.sentence.endswith(
        "confidence. A better model is needed, or a promise that allows more errors."
    )


def calibrated_tops(n_rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows in sixths of confidence 0.99 to 0.6, as many of each right as it says."""
    confidence = np.repeat([0.99, 0.9, 0.8, 0.7, 0.65, 0.6], n_rows // 6)
    size = n_rows // 6
    place = np.tile(np.arange(size), 6)
    # Seven and the size have no common factor, so the wrong rows are spread evenly.
    return confidence - 1e-9 * place, place * 7 % size >= size * (1 - confidence) - 1e-9


def test_a_handful_of_errors_does_not_condemn_the_model():
    few = choose_threshold(np.full(45, 0.99), np.arange(45) > 2, max_error=0.05)
    assert few.n_start_errors / few.n_start > 0.05
    low, high = clopper_pearson(3, 45)
    assert low < 0.025 < 0.05 < high
    assert few.n_more == rows_for_power(0.05, 0.9, 0.025) - 45
    assert "Their true rate may be anything from 1.4 to 18 %" in few.sentence
    assert f"half of what is allowed, 2.5 %, about {estimated(few.n_more)} more" in few.sentence
    one = choose_threshold(np.full(2, 0.99), np.array([True, False]), max_error=0.05)
    assert "hold 1 error (50 %)" in one.sentence


def test_ties_are_automated_together():
    confidence = np.repeat([0.9, 0.8], [200, 100])
    correct = np.concatenate([np.ones(200, bool), np.arange(100) >= 60])
    found = choose_threshold(confidence, correct, max_error=0.05)
    assert (found.value, found.n_automated) == (0.9, 200)
    assert found.coverage == pytest.approx(2 / 3)


def test_classes_are_checked_one_by_one():
    confidence = np.full(400, 0.9)
    predicted = np.repeat([0, 1, 2], [300, 90, 10])
    correct = np.ones(400, bool)
    correct[300:309] = False
    checks = check_classes(
        confidence, correct, predicted, threshold=0.9, n_classes=4, max_error=0.05
    )
    assert [each.is_shown for each in checks] == [True, False, False, False]
    assert [each.n_automated for each in checks] == [300, 90, 10, 0]
    assert [each.n_errors for each in checks] == [0, 9, 0, 0]
    assert checks[3].error_upper_bound == 1
    with pytest.raises(InvalidData, match="0 … 1"):
        check_classes(confidence, correct, predicted, threshold=0.9, n_classes=2, max_error=0.05)
    with pytest.raises(InvalidValue, match="max_error is 1"):
        check_classes(confidence, correct, predicted, threshold=0.9, n_classes=4, max_error=1.0)


def test_bad_arguments_are_refused():
    confidence, correct = calibrated(50, 0)
    with pytest.raises(InvalidValue, match="max_error is 0"):
        choose_threshold(confidence, correct, max_error=0.0)
    with pytest.raises(InvalidValue, match="confidence_level is 1"):
        choose_threshold(confidence, correct, max_error=0.1, confidence_level=1.0)
    with pytest.raises(InvalidValue, match="n_min is 0"):
        choose_threshold(confidence, correct, max_error=0.1, n_min=0)


def _violations(n_rows, n_runs, shape, choose):
    """Runs whose chosen level has a true error above 0.05, and the mean coverage."""
    truth = np.sort(calibrated(200_000, 10**6, *shape)[0])[::-1]
    risk = np.cumsum(1 - truth) / np.arange(1, truth.size + 1)
    broken, coverage = 0, []
    for seed in range(n_runs):
        level = choose(*calibrated(n_rows, seed, *shape))
        n_above = 0 if level is None else int(np.searchsorted(-truth, -level, side="right"))
        coverage.append(n_above / truth.size)
        broken += n_above > 0 and risk[n_above - 1] > 0.05
    return broken, float(np.mean(coverage))


def _safe(confidence, correct):
    return choose_threshold(confidence, correct, max_error=0.05).value


def _naive(confidence, correct):
    """The usual rule: the lowest confidence whose observed error rate is low enough."""
    curve = risk_coverage_curve(confidence, correct)
    return min(curve.threshold[curve.risk <= 0.05], default=None)


def test_the_promise_holds_and_the_naive_rule_breaks_it():
    broken, coverage = _violations(1000, 200, (8.0, 0.8), _safe)
    assert broken <= stats.binom.ppf(0.999, 200, 0.1)
    assert coverage > 0.6
    naive_broken, _ = _violations(1000, 100, (8.0, 0.8), _naive)
    assert naive_broken >= 35


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(8.0, 0.8), (40.0, 4.0), (3.0, 0.5), (5.0, 1.0)])
@pytest.mark.parametrize("n_rows", [300, 1000, 4000])
def test_the_promise_holds_over_many_shapes(shape, n_rows):
    broken, _ = _violations(n_rows, 1000, shape, _safe)
    assert broken <= stats.binom.ppf(0.9999, 1000, 0.1)


def test_no_rounding_changes_what_is_promised():
    confidence = np.repeat([0.99982, 0.6], [3000, 500])
    correct = np.repeat([True, False], [3000, 500])
    found = choose_threshold(confidence, correct, max_error=0.0125, confidence_level=0.9995)
    assert found.value == 0.99982
    assert "confidence is at least 99.98 %" in found.sentence
    assert "at most 1.25 % of" in found.sentence
    assert "with 99.95 % confidence" in found.sentence

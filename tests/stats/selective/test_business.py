import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glassbox.errors import InvalidValue
from glassbox.stats.selective.business import Costs, business_curve, business_figures
from tests.stats.worlds import calibrated, outcomes


@given(outcomes(), st.floats(0, 1))
def test_business_figures_add_up(rows, threshold):
    confidence, correct = rows
    costs = Costs(wrong_automated=10.0, human_review=2.0, automated=0.5)
    found = business_figures(confidence, correct, threshold, costs=costs)
    is_automated = confidence >= threshold
    assert found.n_automated == is_automated.sum()
    assert found.n_errors == (is_automated & ~correct).sum()
    spent = 0.5 * is_automated.sum() + 10 * found.n_errors + 2 * (~is_automated).sum()
    assert found.cost_per_decision == pytest.approx(spent / correct.size)
    assert found.errors_per_1000 == pytest.approx(1000 * found.n_errors / correct.size)
    assert (found.error_rate is None) == (found.n_automated == 0)


def test_business_curve_falls_in_share():
    curve = business_curve(*calibrated(300, 1))
    assert curve.threshold.size == 101
    assert curve.share_automated[0] == 1
    assert (np.diff(curve.share_automated) <= 0).all()
    assert (np.diff(curve.errors_per_1000) <= 0).all()
    assert curve.cost_per_decision is None
    with pytest.raises(InvalidValue, match="human_review is -1"):
        Costs(1.0, -1.0)

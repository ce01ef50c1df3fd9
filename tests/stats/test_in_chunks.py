"""What is drawn in chunks that fit in memory does not depend on their size."""

import numpy as np
import pytest

from glassbox.stats import intervals
from glassbox.stats.calibration import simulation
from glassbox.stats.calibration.error import null_level
from glassbox.stats.classification import detection
from glassbox.stats.effects import max_statistic
from tests.stats.worlds import calibrated

N_ROWS = 60


def _detection():
    draw = np.random.default_rng(3)
    values, kinds = draw.normal(size=N_ROWS), np.arange(N_ROWS) % 3 == 0
    return detection.detection_auroc(values, kinds, n_draws=50)


def _largest_effects():
    draw = np.random.default_rng(4)
    design = max_statistic.Design(draw.normal(size=(N_ROWS, 5)), np.arange(N_ROWS) < 25)
    # A product of other matrices is rounded otherwise.
    return max_statistic.max_statistic([design], n_permutations=50).null_max.round(9)


@pytest.mark.parametrize(
    ("module", "figure"),
    [
        (simulation, lambda: null_level(*calibrated(N_ROWS, 1), n_draws=50)),
        (intervals, lambda: intervals.paired_difference(*calibrated(N_ROWS, 2), n_draws=50)),
        (detection, _detection),
        (max_statistic, _largest_effects),
    ],
    ids=["null level", "interval", "detection", "largest effects"],
)
@pytest.mark.parametrize("n_cells", [1, 7 * (N_ROWS + 5)])
def test_the_size_of_the_chunks_is_not_seen(monkeypatch, module, figure, n_cells):
    at_once = figure()
    monkeypatch.setattr(module, "CHUNK_CELLS", n_cells)
    np.testing.assert_equal(figure(), at_once)

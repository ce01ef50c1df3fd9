import numpy as np
import pytest

from glassbox.errors import InvalidData, NotEnoughData
from glassbox.stats.uncertainty.consistency import consistency_features
from tests.stats.worlds import unchecked


def test_consistency_by_hand():
    found = consistency_features(
        np.array([[10, 0], [5, 5], [0, 0], [3, 1]]), np.array([0, 0, 4, 4])
    )
    assert found.agreement == pytest.approx([1, 0.5, 0, 3 / 8])
    assert found.entropy == pytest.approx([0, 1, 1, 0.811278], abs=1e-6)
    assert found.margin == pytest.approx([1, 0, 0, 2 / 8])
    assert found.predicted.tolist() == [0, 0, -1, 0]
    assert found.is_tied.tolist() == [False, True, False, False]
    assert found.off_task_fraction == pytest.approx([0, 0, 1, 0.5])
    with pytest.raises(NotEnoughData, match="samples of a row"):
        consistency_features(np.array([[0, 0]]))
    with pytest.raises(InvalidData, match="negative"):
        consistency_features(np.array([[-1, 2]]))
    with pytest.raises(InvalidData, match="one integer per row"):
        unchecked(consistency_features)(np.array([[1, 2]]), np.array([1, 2]))

import numpy as np
import pytest

from glassbox.pathways.blocks.weights import take_blocks
from glassbox.pathways.discovery.oracle import plain_gradients
from glassbox.pathways.discovery.sources import HeldSources
from glassbox.pathways.discovery.sweep import SweepOptions, upstream_gradients
from tests.pathways.blocks.models import MODELS
from tests.pathways.discovery.worlds import rows_of, whole, world


def swept(model, contexts, saes, sources=None, **options):
    held = sources or HeldSources(saes)
    return list(
        upstream_gradients(
            take_blocks(model), contexts, rows_of(saes), held, SweepOptions(**options)
        )
    )


def assert_same(one, other, atol=1e-5):
    assert [each.layer for each in one.layers] == [each.layer for each in other.layers]
    assert one.n_excluded == other.n_excluded
    for mine, theirs in zip(one.layers, other.layers, strict=True):
        assert mine.first_target == theirs.first_target
        np.testing.assert_array_equal(mine.positions, theirs.positions)
        np.testing.assert_array_equal(mine.indices, theirs.indices)
        np.testing.assert_allclose(mine.activations, theirs.activations, atol=1e-4, rtol=1e-4)
        np.testing.assert_allclose(mine.gradients, theirs.gradients, atol=atol, rtol=1e-4)
        np.testing.assert_allclose(mine.direct, theirs.direct, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("path", ["past", "through"])
@pytest.mark.parametrize("name", MODELS)
def test_the_sweep_equals_plain_autograd(name, path):
    model, context, saes = world(name)
    expected = plain_gradients(model, context, rows_of(saes), whole(saes), path)
    (found,) = swept(model, [context], saes, path=path)
    assert_same(found, expected)
    assert sum(len(each.positions) for each in found.layers) > 50
    assert max(abs(each.gradients).max() for each in found.layers) > 0.1

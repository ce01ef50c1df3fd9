import numpy as np

from glassbox.engine.model.lent_surroundings import SurroundingsRecord


def test_numpys_handling_of_errors_is_put_back():
    record, before = SurroundingsRecord(), np.geterr()
    assert record.holds()
    np.seterr(all="raise")
    assert not record.holds()
    assert record.restore() == ("NumPy's handling of errors put back",)
    assert np.geterr() == before
    assert record.restore() == ()

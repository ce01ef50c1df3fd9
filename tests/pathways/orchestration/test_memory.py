"""Memory of stages is that stage's own, whatever came before."""

import mmap
import time

import numpy as np
import pytest

from glassbox.pathways.orchestration import memory
from glassbox.pathways.orchestration.memory import MemoryMeter, free_bytes

MB = 1_000_000


@pytest.fixture(params=["kept", "watched"])
def meter(request, monkeypatch):
    if request.param == "watched":
        monkeypatch.setattr(memory, "_resident", memory._Watched)
    elif isinstance(memory._resident(), memory._Watched):
        pytest.skip("this system keeps no peak that can be reset")
    return MemoryMeter()


def touched(n_bytes):
    # Pages of its own: what an allocator has kept of earlier blocks is resident already.
    pages = np.frombuffer(mmap.mmap(-1, n_bytes), np.uint8)
    pages[:] = 1
    return pages


def test_a_peak_in_the_middle_is_seen_and_does_not_stay(meter):
    with meter.stage("large"):
        block = touched(200 * MB)
        time.sleep(0.03)
        del block
    with meter.stage("small"):
        kept = touched(20 * MB)
        time.sleep(0.03)
    large, small = meter.stages
    assert large.added_bytes == pytest.approx(200 * MB, rel=0.05)
    assert small.added_bytes == pytest.approx(20 * MB, rel=0.2)
    assert small.peak_bytes < large.peak_bytes
    assert meter.peak_bytes == large.peak_bytes
    del kept


def test_a_stage_that_fails_is_measured(meter):
    with pytest.raises(KeyError, match="gone"), meter.stage("fails"):
        raise KeyError("gone")
    assert [stage.name for stage in meter.stages] == ["fails"]
    assert meter.stages[0].to_json()["added_bytes"] >= 0


def test_a_processor_has_memory_left():
    assert free_bytes("cpu") > 0
    assert MemoryMeter("cpu").kind == "resident set"

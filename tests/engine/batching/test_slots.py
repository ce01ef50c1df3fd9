import pytest
import torch

from glassbox.engine.batching.slots import PLACES_STEP, Slots
from glassbox.errors import OutOfMemory


def slots(n_places=10_000):
    return Slots(
        2, 2, 4, dtype=torch.float32, device=torch.device("cpu"), budget_bytes=n_places * 128
    )


def test_what_a_slot_holds_survives_growth():
    room = slots()
    room.reserve(1, 10)
    mark = torch.randn(2, 2, 2, 10, 4)
    room.write(0, 0, mark)
    room.reserve(5, 300)
    assert room.n_slots >= 5
    assert room.n_places >= 300
    assert room.n_places % PLACES_STEP == 0
    torch.testing.assert_close(room.read(0, 0, 10), mark)
    room.move(0, 4, 10)
    torch.testing.assert_close(room.read(4, 0, 10), mark)
    room.wipe(0, 10)
    assert not room.read(0, 0, 10).any()


def test_the_budget_is_kept_and_length_can_be_traded_for_rows():
    room = slots(1024)
    assert room.place_bytes == 128
    room.reserve(1, 1024)
    with pytest.raises(OutOfMemory, match="the budget is 131072"):
        room.reserve(2, 1024)
    room.reserve(8, 100)
    assert room.states.nbytes <= 131072
    assert room.fits(8, 128)
    assert not room.fits(9, 128)
    room.release()
    assert room.n_slots == 0

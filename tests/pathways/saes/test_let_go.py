"""What was read of a file does not stay in memory with its reader."""

import psutil
import pytest

from glassbox.pathways.orchestration.memory import MemoryMeter
from glassbox.pathways.saes.dictionaries import open_dictionaries
from glassbox.pathways.saes.writing import save_sae
from tests.pathways.discovery.worlds import random_sae

N_LAYERS, D_MODEL, N_LATENTS = 4, 256, 8192


def mapped_bytes(folder):
    """Resident bytes of this process that lie in files of a folder."""
    maps = psutil.Process().memory_maps()
    return sum(each.rss for each in maps if each.path.startswith(str(folder)))


@pytest.mark.skipif(not hasattr(psutil.Process, "memory_maps"), reason="the system tells no maps")
def test_dictionaries_that_were_streamed_leave_no_pages_behind(tmp_path):
    for layer in range(N_LAYERS):
        save_sae(random_sae(layer, D_MODEL, N_LATENTS), tmp_path / f"layer_{layer}")
    dictionaries = open_dictionaries(tmp_path)
    seen = []
    for sae in dictionaries.stream():
        assert sae.d_sae == N_LATENTS
        seen.append(mapped_bytes(tmp_path))
        del sae
    assert seen == [0] * N_LAYERS
    assert mapped_bytes(tmp_path) == 0


def test_a_dictionary_is_read_with_hardly_more_memory_than_its_own(tmp_path):
    save_sae(random_sae(0, D_MODEL, 4 * N_LATENTS), tmp_path / "layer_0")
    reader = open_dictionaries(tmp_path).reader(0)
    reader.load()  # what reading takes for a moment, the C library may keep
    meter = MemoryMeter()
    with meter.stage("load"):
        sae = reader.load()
    (stage,) = meter.stages
    one = sae.w_enc.nbytes + sae.w_dec.nbytes
    assert 0.9 * one < stage.added_bytes < 1.2 * one


def test_a_stream_of_halves_takes_no_more_than_one_dictionary(tmp_path):
    n = 4 * N_LATENTS
    for layer in range(N_LAYERS):
        save_sae(random_sae(layer, D_MODEL, n), tmp_path / f"layer_{layer}")
    dictionaries = open_dictionaries(tmp_path)
    dictionaries.reader(0).load()
    meter = MemoryMeter()
    with meter.stage("stream"):
        for halves in dictionaries.stream_halves(range(N_LAYERS)):
            assert halves.encoder().w_enc.shape == (n, D_MODEL)
            halves.drop_encoder()
            assert halves.decoder().shape == (n, D_MODEL)
    (stage,) = meter.stages
    one = 2 * n * D_MODEL * 4
    # The encoder may go before all of the decoder is there.
    assert 0.4 * one < stage.added_bytes < 1.2 * one

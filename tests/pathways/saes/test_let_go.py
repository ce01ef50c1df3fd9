"""What was read of a file does not stay in memory with its reader."""

import psutil
import pytest
import torch

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
    of_one = 2 * N_LATENTS * D_MODEL * torch.float32.itemsize
    dictionaries = open_dictionaries(tmp_path)
    seen = []
    for sae in dictionaries.stream():
        assert sae.d_sae == N_LATENTS
        seen.append(mapped_bytes(tmp_path))
        del sae
    assert max(seen) < 2 * of_one
    assert mapped_bytes(tmp_path) < of_one / 4

"""Dictionaries of every kind, read from their files by halves: the sweep equals plain autograd."""

import shutil
from pathlib import Path

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from glassbox.pathways.blocks.weights import take_blocks
from glassbox.pathways.corpus.contexts import make_context
from glassbox.pathways.discovery.oracle import plain_gradients
from glassbox.pathways.discovery.sources import StreamedSources
from glassbox.pathways.discovery.sweep import SweepOptions, upstream_gradients
from glassbox.pathways.latents import LatentId
from glassbox.pathways.saes.dictionaries import open_dictionaries
from tests.pathways.blocks.models import SIZES
from tests.pathways.discovery.test_sweep import assert_same

FILES = Path(__file__).parent.parent / "saes" / "saelens_files"
WIDTH, SAE_LAYERS, LAST = 8, (0, 1, 3), 3


def narrow_model(dtype):
    """A model as wide as the files' dictionaries."""
    torch.manual_seed(3)
    sizes = {"hidden_size": WIDTH, "num_attention_heads": 2, "num_key_value_heads": 1}
    model = LlamaForCausalLM(LlamaConfig(**{**SIZES, **sizes, "num_hidden_layers": LAST + 1}))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.mul_(40.0 if "embed" in name else 1.0 if "norm" in name else 8.0)
    return model.eval().to(dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    "kind", ["standard", "jumprelu", "gated", "topk_rescaled", "batchtopk_checkpoint"]
)
def test_every_kind_of_file_gives_what_plain_autograd_does(kind, dtype, tmp_path):
    # Layer 2 has no dictionary: what comes from the last layer goes past it.
    for layer in SAE_LAYERS:
        copied = shutil.copytree(FILES / kind, tmp_path / str(layer))
        config = copied / "cfg.json"
        config.write_text(config.read_text().replace("blocks.3.", f"blocks.{layer}."))
    dictionaries = open_dictionaries(tmp_path)
    assert dictionaries.layers == SAE_LAYERS
    rows = {at: dictionaries.reader(at).read_rows(torch.arange(24)) for at in (1, LAST)}
    model = narrow_model(dtype)
    pairs = [(LatentId(LAST, 3), 10), (LatentId(LAST, 9), 8), (LatentId(1, 7), 7)]
    context = make_context(0, [(7 * at + 3) % 60 for at in range(11)], pairs, excluded=(0, 6))
    sources = StreamedSources(dictionaries)
    whole = sources.together(model.device, dtype)
    for path in ("past", "through"):
        expected = plain_gradients(
            model, context, {at: each.to(dtype=dtype) for at, each in rows.items()}, whole, path
        )
        (found,) = upstream_gradients(
            take_blocks(model), [context], rows, sources, SweepOptions(path=path)
        )
        largest = max(float(abs(each.gradients).max()) for each in expected.layers)
        assert [each.layer for each in found.layers] == [0, 1]
        assert largest > 0.1
        assert_same(found, expected, atol=1e-5 * max(1.0, largest))

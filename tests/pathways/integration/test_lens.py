import pytest
import torch

from glassbox.pathways.integration import lens
from glassbox.pathways.latents import LatentId
from tests.pathways.integration.small_models import small_model, small_saes

LATENTS = [LatentId(0, 3), LatentId(0, 40), LatentId(1, 7)]


@pytest.mark.parametrize("architecture", ["llama", "gemma3", "gpt2"])
@pytest.mark.parametrize("chunk", [1, 8_000_000])
def test_tokens_are_those_that_norm_and_head_give_the_row_alone(architecture, chunk, monkeypatch):
    monkeypatch.setattr(lens, "CHUNK_LOGITS", chunk)
    model, codec, width = small_model(architecture)
    saes = small_saes(2, width)
    found = lens.logit_lens(
        model, saes.rows(LATENTS), lambda each: codec.decode([each]), n_tokens=4
    )
    assert set(found) == set(LATENTS)
    norm = model.transformer.ln_f if architecture == "gpt2" else model.model.norm
    for latent, (promoted, suppressed) in found.items():
        row = saes.load(latent.layer).w_dec[latent.index]
        with torch.inference_mode():
            logits = model.lm_head(norm(row[None]))[0] - model.lm_head(norm(0 * row[None]))[0]
        logits = logits - logits.mean()
        assert [each.token_id for each in promoted] == logits.topk(4).indices.tolist()
        assert [each.logit for each in suppressed] == pytest.approx(
            (-(-logits).topk(4).values).tolist(), abs=1e-4
        )
        assert promoted[0].token == codec.decode([promoted[0].token_id])

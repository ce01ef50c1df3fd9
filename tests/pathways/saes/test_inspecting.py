"""SAEs measured on a model's own residuals: the right places, the right layers, a verdict."""

import pytest
import torch

from glassbox.errors import InvalidData, NotEnoughData
from glassbox.pathways.saes.dictionaries import open_dictionaries
from glassbox.pathways.saes.inspecting import inspect_dictionaries
from glassbox.pathways.saes.sae import Sae, SaeSource
from glassbox.pathways.saes.writing import save_sae
from glassbox.testing import tiny_engine

TEXTS = [f"The number {n} is followed by {n + 1}, and that by {n + 2}." for n in range(40)]


@pytest.fixture(scope="module")
def engine():
    with_tiny = tiny_engine()
    yield with_tiny
    with_tiny.close()


def residuals(engine, text, layer):
    """Read a block's output with a plain hook."""
    with engine.lend(lease_s=60) as lent:
        (ids,) = engine.codec.encode([text])
        seen = []
        block = lent.model.model.layers[layer]
        hook = block.register_forward_hook(
            lambda _m, _i, out: seen.append(out[0] if isinstance(out, tuple) else out)
        )
        with torch.no_grad():
            lent.model(input_ids=torch.tensor([list(ids)]))
        hook.remove()
    return seen[0].reshape(len(ids), -1)


def explaining(layer, d, aimed=None):
    """Return a dictionary of an orthonormal basis and its negative: nothing is missed."""
    basis = torch.linalg.qr(torch.randn(d, d, generator=torch.Generator().manual_seed(layer)))[0]
    rows = torch.cat([basis, -basis])
    hook = f"blocks.{layer}.hook_resid_post"
    source = SaeSource("memory", "file", "", "", "", hook, expected_l0=float(aimed or d))
    return Sae(layer, rows, torch.zeros(2 * d), rows, torch.zeros(d), torch.zeros(2 * d), source)


def width_and_depth(engine):
    with engine.lend(lease_s=60) as lent:
        config = lent.model.config
        return config.hidden_size, config.num_hidden_layers


def test_the_last_layer_is_read_before_the_final_norm(engine, tmp_path):
    d, n = width_and_depth(engine)
    for layer in (0, n - 1):
        save_sae(explaining(layer, d), tmp_path / str(layer))
    told = []
    found = inspect_dictionaries(
        engine, open_dictionaries(tmp_path), TEXTS, n_tokens=400,
        progress=lambda done, total: told.append((done, total)),
    )  # fmt: skip
    assert told == [(1, 2), (2, 2)]
    assert [one.report.layer for one in found] == [0, n - 1]
    for one in found:
        assert one.problems == ()
        assert one.report.l0 == d
        assert one.report.explained_variance == pytest.approx(1, abs=1e-6)
        assert one.report.n_tokens + one.report.n_excluded <= 400


def test_what_is_measured_is_the_blocks_output(engine, tmp_path):
    d, n = width_and_depth(engine)
    layer = n - 1
    texts = TEXTS[:12]
    x = torch.cat([residuals(engine, text, layer)[1:] for text in texts])
    sae = explaining(layer, d)
    spread = float((x @ sae.w_enc.T).abs().median())
    shifted = Sae(
        layer, sae.w_enc, sae.b_enc, sae.w_dec, sae.b_dec, torch.full((2 * d,), spread), sae.source
    )
    save_sae(shifted, tmp_path)
    (found,) = inspect_dictionaries(engine, open_dictionaries(tmp_path), texts)
    f = shifted.encode(x)
    assert found.report.l0 == pytest.approx(float((f > 0).sum(-1).float().mean()), rel=1e-3)
    missed = (x - shifted.decode(f)).square().sum() / (x - x.mean(0)).square().sum()
    assert found.report.explained_variance == pytest.approx(1 - float(missed), abs=1e-4)


def test_an_implausible_dictionary_is_judged_so(engine, tmp_path):
    d, _ = width_and_depth(engine)
    save_sae(explaining(1, d, aimed=2), tmp_path)
    (found,) = inspect_dictionaries(engine, open_dictionaries(tmp_path), TEXTS)
    assert "latents fire on a token; plausible are 0.8 to 4.8" in found.problems[0]
    assert found.to_json()["problems"] == list(found.problems)


def test_another_models_dictionaries_are_refused(engine, tmp_path):
    d, n = width_and_depth(engine)
    save_sae(explaining(0, d + 2), tmp_path / "wide")
    with pytest.raises(InvalidData, match="made for another model"):
        inspect_dictionaries(engine, open_dictionaries(tmp_path / "wide"), TEXTS)
    save_sae(explaining(n, d), tmp_path / "deep")
    with pytest.raises(InvalidData, match=f"the model has {n}"):
        inspect_dictionaries(engine, open_dictionaries(tmp_path / "deep"), TEXTS)


def test_texts_have_to_be_there(engine, tmp_path):
    d, _ = width_and_depth(engine)
    save_sae(explaining(0, d), tmp_path)
    with pytest.raises(NotEnoughData, match="at least 64"):
        inspect_dictionaries(engine, open_dictionaries(tmp_path), TEXTS[:1])
    with pytest.raises(NotEnoughData, match="texts of two tokens"):
        inspect_dictionaries(engine, open_dictionaries(tmp_path), [])

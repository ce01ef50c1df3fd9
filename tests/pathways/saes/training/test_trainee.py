import pytest
import torch

from glassbox.errors import NonFiniteOutput
from glassbox.pathways.saes.sae import SaeSource
from glassbox.pathways.saes.training.recipe import SaeRecipe
from glassbox.pathways.saes.training.trainee import Trainee

SOURCE = SaeSource("memory", "file", "", "", "jumprelu", "blocks.0.hook_resid_post")


def _planted(n, n_directions=16, d=24, seed=0):
    """Sums of a few directions with positive weights, off centre and in large units."""
    generator = torch.Generator().manual_seed(seed)
    directions = torch.nn.functional.normalize(
        torch.randn(n_directions, d, generator=torch.Generator().manual_seed(99)), dim=1
    )
    fires = torch.rand(n, n_directions, generator=generator) < 0.1
    weights = (1 + torch.rand(n, n_directions, generator=generator)) * fires
    return 30 * (weights @ directions) + 7, directions


@pytest.mark.parametrize("kind", ["batchtopk", "topk"])
def test_planted_directions_are_found(kind):
    recipe = SaeRecipe(
        d_sae=24, k=2, kind=kind, n_tokens=500 * 256, batch_tokens=256, learning_rate=5e-3,
        dead_after_tokens=5000,
    )  # fmt: skip
    x, directions = _planted(500 * 256)
    trainee = Trainee(0, x[:4096], recipe)
    for step in range(500):
        trainee.step(step, x[step * 256 : (step + 1) * 256])
    sae = trainee.folded(x[:8192], SOURCE)
    nearest = (directions @ sae.w_dec.T).max(1).values
    assert float((nearest > 0.9).float().mean()) > 0.8
    torch.testing.assert_close(sae.w_dec.norm(dim=1), torch.ones(24))
    held_out, _ = _planted(4096, seed=5)
    error = sae.error(held_out).square().sum() / (held_out - held_out.mean(0)).square().sum()
    assert float(error) < 0.2
    l0 = float((sae.encode(held_out) > 0).float().sum(1).mean())
    assert l0 == pytest.approx(2, abs=0.25) if kind == "batchtopk" else l0 <= 2


def test_folding_changes_units_and_nothing_else():
    x, _ = _planted(2000)
    trainee = Trainee(0, x, SaeRecipe(d_sae=20, k=3, kind="topk", batch_tokens=100))
    for step in range(5):
        trainee.step(step, x[step * 100 : (step + 1) * 100])
    with torch.no_grad():
        scaled = (x - trainee.centre) * trainee.scale
        z = (scaled - trainee.b_dec) @ trainee.w_enc.T + trainee.b_enc
        values, places = z.relu().topk(3, dim=1)
        kept = torch.zeros_like(z).scatter(1, places, values)
        rebuilt = (kept @ trainee.w_dec + trainee.b_dec) / trainee.scale + trainee.centre
    sae = trainee.folded(x, SOURCE)
    torch.testing.assert_close(sae.decode(sae.encode(x)), rebuilt, atol=1e-3, rtol=1e-4)


def test_a_state_holds_all_that_the_next_step_depends_on():
    x, _ = _planted(3000)
    recipe = SaeRecipe(d_sae=20, k=3, batch_tokens=100, dead_after_tokens=150)
    one = Trainee(0, x, recipe)
    for step in range(10):
        one.step(step, x[step * 100 : (step + 1) * 100])
    other = Trainee(0, x[:50] * 3, recipe)
    other.restore({name: each.clone() for name, each in one.state().items()})
    for step in range(10, 20):
        for each in (one, other):
            each.step(step, x[step * 100 : (step + 1) * 100])
    for name, tensor in one.state().items():
        assert torch.equal(tensor, other.state()[name]), name


def test_dead_latents_come_to_life_again():
    x, _ = _planted(400 * 128)
    alive = []
    for weight in (0.0, 1 / 4):
        recipe = SaeRecipe(
            d_sae=32, k=2, n_tokens=400 * 128, batch_tokens=128, learning_rate=5e-3,
            aux_weight=weight, aux_k=8, dead_after_tokens=2000,
        )  # fmt: skip
        trainee = Trainee(0, x[:4096], recipe)
        with torch.no_grad():
            trainee.b_enc[:16] = -3.0
        for step in range(400):
            trainee.step(step, x[step * 128 : (step + 1) * 128])
        fires = trainee.folded(x[:4096], SOURCE).encode(x[:4096])[:, :16] > 0
        alive.append(int(fires.any(0).sum()))
    assert alive[1] >= alive[0] + 3


def test_a_loss_that_is_no_number_ends_the_training():
    x, _ = _planted(200)
    trainee = Trainee(3, x, SaeRecipe(d_sae=20, k=3, batch_tokens=100))
    x[5, 5] = float("nan")
    with pytest.raises(NonFiniteOutput, match="Step 0 of the SAE of layer 3 gave loss nan"):
        trainee.step(0, x[:100])

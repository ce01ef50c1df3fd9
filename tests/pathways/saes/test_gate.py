"""The load gate: figures against their definitions, and what it refuses."""

import pytest
import torch

from glassbox.errors import InvalidData, NonFiniteOutput, NotEnoughData
from glassbox.pathways.saes.gate import (
    GateLimits,
    implausible,
    measure_load,
    require_plausible,
    usual_limits,
)
from glassbox.pathways.saes.readers.opening import open_sae
from glassbox.pathways.saes.sae import Sae, SaeSource
from tests.pathways.saes.making import make_sae
from tests.pathways.saes.test_llama_scope import Checkpoint, D, N

X = torch.randn(1200, 6, generator=torch.Generator().manual_seed(5)) * 3


def good_sae(n=32, d=16):
    """Orthonormal pairs: explains everything with half of its latents."""
    basis = torch.linalg.qr(torch.randn(d, d, generator=torch.Generator().manual_seed(1)))[0]
    rows = torch.cat([basis, -basis])
    source = SaeSource("memory", "file", "", "", "", "", expected_l0=float(d))
    return Sae(0, rows, torch.zeros(n), rows, torch.zeros(d), torch.zeros(n), source)


def test_figures_are_their_definitions():
    sae = make_sae(decoder_norm_mean=2.5)
    special = torch.zeros(1200, dtype=torch.bool)
    special[::10] = True
    report = measure_load(sae, X, special=special)
    kept = X[~special]
    f = sae.encode(kept)
    per_token = (f > 0).sum(-1).double()
    assert (report.n_tokens, report.n_excluded) == (1080, 120)
    assert report.l0 == pytest.approx(float(per_token.mean()))
    assert report.l0_sd == pytest.approx(float(per_token.std(correction=0)))
    assert report.l0_excluded == pytest.approx(
        float((sae.encode(X[special]) > 0).sum(-1).double().mean())
    )
    missed = (kept - sae.decode(f)).square().sum()
    spread = (kept - kept.mean(0)).square().sum()
    assert report.explained_variance == pytest.approx(float(1 - missed / spread), abs=1e-5)
    rates = (f > 0).double().mean(0)
    assert report.dead_share == float((rates == 0).double().mean())
    assert report.dense_share == float((rates > 0.1).double().mean())
    norms = sae.w_dec.norm(dim=1)
    assert report.decoder_norm_mean == pytest.approx(float(norms.mean()))
    assert report.decoder_norm_file == 2.5


def test_parts_make_the_same_report_as_the_whole():
    sae = make_sae()
    special = torch.rand(1200, generator=torch.Generator().manual_seed(0)) < 0.1
    whole = measure_load(sae, X, special=special).to_json()
    parts = measure_load(sae, X.split(37), special=special).to_json()
    assert parts == {name: pytest.approx(value) for name, value in whole.items()}


def test_a_good_dictionary_passes():
    sae = good_sae()
    x = torch.randn(500, 16, generator=torch.Generator().manual_seed(2))
    report = measure_load(sae, x)
    assert report.explained_variance == pytest.approx(1, abs=1e-6)
    assert report.l0 == 16
    require_plausible(report, usual_limits(sae.source, d_sae=sae.d_sae))


def test_another_models_residuals_are_refused():
    sae = good_sae()
    x = torch.randn(500, 16, generator=torch.Generator().manual_seed(2))
    shuffled = Sae(
        0, sae.w_enc, sae.b_enc, sae.w_dec.roll(5, dims=1), sae.b_dec, sae.threshold, sae.source
    )
    report = measure_load(shuffled, x)
    assert report.explained_variance < 0
    with pytest.raises(InvalidData, match=r"implausible: it explains -\d"):
        require_plausible(report, usual_limits(sae.source, d_sae=32))


def test_a_threshold_in_the_wrong_units_gives_an_implausible_l0(tmp_path):
    # What SAELens read before its threshold was scaled: too low by the factor s, up to 59.
    made = Checkpoint(norm_in=0.08, threshold=0.06)
    made.write(tmp_path / "right")
    made.write(tmp_path / "wrong", jump_relu_threshold=0.06 / made.scale)
    x = made.x.float().repeat(4, 1)
    reports = [measure_load(open_sae(tmp_path / each).load(), x) for each in ("right", "wrong")]
    target = GateLimits(min_l0=1, max_l0=0.2 * N, min_explained_variance=float("-inf"))
    assert implausible(reports[0], target) == ()
    assert reports[1].l0 > 3 * reports[0].l0
    with pytest.raises(InvalidData, match=r"latents fire on a token; plausible are 1 to 9.6"):
        require_plausible(reports[1], target)


def test_everything_wrong_is_said_at_once():
    sae = good_sae()
    report = measure_load(sae, torch.randn(100, 16))
    problems = implausible(report, GateLimits(max_l0=3, min_explained_variance=1.1))
    assert len(problems) == 2
    assert "16.0 latents fire" in problems[0]


def test_limits_follow_what_the_makers_aimed_at():
    source = SaeSource("llama_scope", "openmoss", "", "", "", "", expected_l0=50.0)
    limits = usual_limits(source, d_sae=32768)
    assert (limits.min_l0, limits.max_l0) == pytest.approx((20, 120))
    unknown = SaeSource("saelens", "file", "", "", "", "")
    assert usual_limits(unknown, d_sae=4096).max_l0 == pytest.approx(409.6)


def test_decoder_rows_of_zero_are_implausible():
    sae = good_sae()
    norms = sae.w_dec.clone()
    norms[0] = 0
    x = torch.randn(100, 16)
    odd = Sae(0, sae.w_enc, sae.b_enc, norms, sae.b_dec, sae.threshold, sae.source)
    limits = GateLimits(min_explained_variance=float("-inf"))
    assert "decoder norms go from 0" in implausible(measure_load(odd, x), limits)[0]
    none = Sae(
        0, sae.w_enc, sae.b_enc, torch.zeros_like(norms), sae.b_dec, sae.threshold, sae.source
    )
    assert implausible(measure_load(none, x), limits) == ("all decoder rows are 0",)


def test_too_few_positions_and_broken_residuals_are_errors():
    with pytest.raises(NotEnoughData, match="at least 64 tokens; there are 40"):
        measure_load(make_sae(), X[:40])
    broken = X.clone()
    broken[7, 3] = float("nan")
    with pytest.raises(NonFiniteOutput, match="a residual is NaN"):
        measure_load(make_sae(), broken)


def test_a_gate_needs_no_more_than_sums(tmp_path):
    reader = open_sae(Checkpoint().write(tmp_path))
    x = torch.randn(300, D, generator=torch.Generator().manual_seed(3))
    report = measure_load(reader.load(), (part for part in x.split(64)))
    assert report.n_tokens == 300
    assert report.decoder_norm_mean == pytest.approx(1, abs=1e-5)

"""The canonical form: what fires, what it writes, and a few rows alone."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from glassbox.errors import InvalidValue
from glassbox.pathways.saes.rows import normalised
from tests.pathways.saes.making import make_sae

X = torch.randn(40, 6, generator=torch.Generator().manual_seed(5))


def test_a_latent_fires_strictly_above_its_threshold():
    sae = make_sae()
    z = sae.preactivations(X)
    torch.testing.assert_close(z, X @ sae.w_enc.T + sae.b_enc)
    exact = sae.gate(sae.threshold.expand(3, -1).clone())
    assert not exact.any()
    f = sae.encode(X)
    assert torch.equal(f, torch.where(z > sae.threshold, z, 0))


def test_reconstruction_and_error_add_up_to_the_residual():
    sae = make_sae()
    f = sae.encode(X)
    torch.testing.assert_close(sae.decode(f), f @ sae.w_dec + sae.b_dec)
    torch.testing.assert_close(sae.decode(f) + sae.error(X), X)


def test_shapes_before_the_last_axis_are_kept():
    sae = make_sae()
    assert sae.encode(X.view(2, 20, 6)).shape == (2, 20, 20)
    assert sae.encode(X[0]).shape == (20,)
    torch.testing.assert_close(sae.encode(X.view(2, 20, 6)).view(40, 20), sae.encode(X))


@given(k=st.integers(1, 20), seed=st.integers(0, 50))
def test_topk_keeps_the_k_largest_of_those_that_are_positive(k, seed):
    sae = make_sae(k=k, threshold=0.0, seed=seed)
    z = sae.preactivations(X)
    top = z.relu().topk(k, dim=-1)
    expected = torch.zeros_like(z).scatter(-1, top.indices, top.values)
    assert torch.equal(sae.encode(X), expected)
    assert (sae.encode(X) > 0).sum(-1).max() <= k


def test_only_topk_has_a_kth_value():
    assert make_sae().kth(X) is None
    with pytest.raises(InvalidValue, match="only TopK"):
        make_sae().kth_of(torch.zeros(3, 20))


@given(
    k=st.sampled_from([None, 3, 20]),
    picked=st.lists(st.integers(0, 19), min_size=1, max_size=8),
    seed=st.integers(0, 50),
)
def test_chosen_rows_say_what_the_whole_says_of_them(k, picked, seed):
    sae = make_sae(k=k, threshold=0.0 if k else 0.3, seed=seed)
    rows = sae.rows(torch.tensor(picked))
    assert len(rows) == len(picked)
    torch.testing.assert_close(rows.preactivations(X), sae.preactivations(X)[:, picked])
    torch.testing.assert_close(rows.activations(X, sae.kth(X)), sae.encode(X)[:, picked])


def test_the_kth_latent_itself_survives_being_multiplied_alone():
    # A product of few rows rounds otherwise than that of all rows.
    generator = torch.Generator().manual_seed(0)
    sae = make_sae(d_in=512, d_sae=2000, k=20, threshold=0.0)
    x = torch.randn(50, 512, generator=generator)
    whole = sae.encode(x)
    for token, latent in (whole > 0).nonzero().tolist()[::37]:
        rows = sae.rows(torch.tensor([latent]))
        alone = rows.activations(x[token : token + 1], sae.kth(x[token : token + 1]))
        assert alone > 0


def test_topk_rows_ask_for_what_they_cannot_know():
    with pytest.raises(InvalidValue, match=r"3-th largest of the full dictionary"):
        make_sae(k=3, threshold=0.0).rows(torch.tensor([1])).activations(X)


@pytest.mark.parametrize("index", [-1, 20])
def test_an_index_outside_is_refused(index):
    with pytest.raises(InvalidValue, match=f"latent of layer 2 is {index}; allowed: 0 to 19"):
        make_sae().rows(torch.tensor([3, index]))


def test_rows_are_copies_and_can_be_picked_and_cast():
    sae = make_sae()
    rows = sae.rows(torch.tensor([4, 9, 1]))
    rows.w_enc.zero_()
    assert sae.w_enc[4].any()
    picked = sae.rows(torch.tensor([4, 9, 1])).select(torch.tensor([2, 0]))
    assert picked.indices.tolist() == [1, 4]
    assert torch.equal(picked.w_dec, sae.w_dec[[1, 4]])
    low = picked.to(dtype=torch.bfloat16)
    assert (low.w_enc.dtype, low.threshold.dtype) == (torch.bfloat16, torch.float32)
    assert low.activations(X).dtype == torch.bfloat16


@pytest.mark.parametrize("how", ["layer_norm", "constant_norm"])
def test_what_is_done_to_a_token_first_is_undone_after(how):
    x, scale, shift = normalised(X, how)
    torch.testing.assert_close(x * scale + shift, X, atol=1e-4, rtol=1e-4)
    if how == "constant_norm":
        torch.testing.assert_close(x.norm(dim=-1), torch.full((40,), 6**0.5))
    else:
        assert x.mean(-1).abs().max() < 1e-6


def test_a_normalising_dictionary_needs_the_vectors_to_decode():
    sae = make_sae(input_norm="layer_norm")
    f = sae.encode(X)
    # Scaling or shifting a token's vector moves the reconstruction along.
    torch.testing.assert_close(
        sae.decode(f, x=3 * X + 2), 3 * sae.decode(f, x=X) + 2, atol=1e-3, rtol=1e-3
    )
    with pytest.raises(InvalidValue, match="output depends on them"):
        sae.decode(f)

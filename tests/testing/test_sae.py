import torch

from glassbox.testing import shipped_saes, tiny_sae


def test_tiny_saes_are_the_same_again_and_do_what_their_kind_says():
    x = torch.randn(200, 32, generator=torch.Generator().manual_seed(0))
    for kind in ("jumprelu", "standard", "topk"):
        one, same = tiny_sae(1, kind=kind), tiny_sae(1, kind=kind)
        assert torch.equal(one.encode(x), same.encode(x))
        assert not torch.equal(one.w_enc, tiny_sae(0, kind=kind).w_enc)
        active = (one.encode(x) > 0).sum(1).float()
        assert 4 < float(active.mean()) < 40
    assert int((tiny_sae(kind="topk", k=5).encode(x) > 0).sum(1).max()) == 5


def test_the_shipped_saes_are_one_a_layer():
    saes = shipped_saes()
    assert saes.layers == tuple(range(8))
    assert saes.d_model == 128
    assert saes.reader(6).d_sae == 512

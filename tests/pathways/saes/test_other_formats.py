"""sparsify, dictionary_learning and Gemma Scope: files made by their definitions, inference too."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from glassbox.errors import CorruptArtifact, InvalidValue, UnsupportedModel
from glassbox.pathways.saes.readers.opening import detect_format, open_sae
from glassbox.pathways.saes.readers.tensor_files import numpy_file, torch_file

D, N, K = 8, 24, 5


def randn(*shape, seed):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


X = randn(20, D, seed=99)


def only_topk(z, k=K):
    f = z.relu()
    top = f.topk(k, dim=-1)
    return torch.zeros_like(f).scatter(-1, top.indices, top.values)


def matches(reader, f, x_hat):
    sae = reader.load()
    ours = sae.encode(X)
    assert 0 < (ours > 0).sum() < ours.numel()
    torch.testing.assert_close(ours, f, atol=2e-5, rtol=1e-5)
    torch.testing.assert_close(sae.decode(ours, x=X), x_hat, atol=5e-5, rtol=1e-5)


# sparsify


def write_sparsify(folder, tensors=(), **changes):
    folder.mkdir(parents=True, exist_ok=True)
    config = {
        "activation": "topk", "expansion_factor": 3, "normalize_decoder": True, "num_latents": 0,
        "k": K, "multi_topk": False, "skip_connection": False, "transcode": False, "d_in": D,
        **changes,
    }  # fmt: skip
    (folder / "cfg.json").write_text(json.dumps(config))
    made = {
        "encoder.weight": randn(N, D, seed=1), "encoder.bias": randn(N, seed=2),
        "W_dec": randn(N, D, seed=3), "b_dec": randn(D, seed=4), **dict(tensors),
    }  # fmt: skip
    save_file(made, folder / "sae.safetensors")
    return made


def test_sparsify_subtracts_b_dec_and_keeps_the_top_k(tmp_path):
    t = write_sparsify(tmp_path / "layers.7")
    f = only_topk((X - t["b_dec"]) @ t["encoder.weight"].T + t["encoder.bias"])
    reader = open_sae(tmp_path / "layers.7")
    matches(reader, f, f @ t["W_dec"] + t["b_dec"])
    assert (reader.layer, reader.k, reader.facts.hook) == (7, K, "blocks.7.hook_resid_post")


def test_sparsify_transcoders_subtract_nothing_and_may_skip(tmp_path):
    folder = tmp_path / "layers.7.mlp"
    skip = randn(D, D, seed=5)
    t = write_sparsify(folder, {"W_skip": skip}, transcode=True, skip_connection=True)
    f = only_topk(X @ t["encoder.weight"].T + t["encoder.bias"])
    reader = open_sae(folder, layer=7)
    matches(reader, f, f @ t["W_dec"] + t["b_dec"] + X @ skip.T)
    assert reader.facts.hook == "layers.7.mlp"


@pytest.mark.parametrize("name", ["h.7", "gpt_neox.layers.7", "layers.7"])
def test_sparsify_blocks_of_several_architectures_have_a_layer(tmp_path, name):
    write_sparsify(tmp_path / name)
    assert open_sae(tmp_path / name).layer == 7


def test_sparsify_groupmax_is_refused(tmp_path):
    write_sparsify(tmp_path / "layers.1", activation="groupmax")
    with pytest.raises(UnsupportedModel, match="'groupmax'"):
        open_sae(tmp_path / "layers.1")


def test_sparsify_number_of_latents_has_to_fit(tmp_path):
    write_sparsify(tmp_path / "layers.1", num_latents=32)
    with pytest.raises(CorruptArtifact, match="24; latents by the configuration: 32"):
        open_sae(tmp_path / "layers.1")


def test_a_folder_without_a_modules_name_needs_the_layer(tmp_path):
    write_sparsify(tmp_path / "mine")
    assert open_sae(tmp_path / "mine", layer=2).load().layer == 2
    with pytest.raises(InvalidValue, match="not say which block's output: give layer="):
        open_sae(tmp_path / "mine").load()


def test_sparsify_itself_agrees(tmp_path):
    coder = pytest.importorskip("sparsify.sparse_coder", reason="sparsify is not installed")
    write_sparsify(tmp_path / "layers.7")
    theirs = coder.SparseCoder.load_from_disk(tmp_path / "layers.7")
    with torch.no_grad():
        values, places, _ = theirs.encode(X)
        f = torch.zeros(len(X), N).scatter(-1, places, values)
        matches(open_sae(tmp_path / "layers.7"), f, theirs(X).sae_out)


# dictionary_learning


def write_dictionary(folder, kind, tensors, **trainer):
    folder.mkdir(parents=True, exist_ok=True)
    about = {
        "dict_class": kind, "activation_dim": D, "dict_size": N, "layer": 8, "lm_name": "pythia",
        "submodule_name": "resid_post_layer_8", **trainer,
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps({"trainer": about, "buffer": {"ctx_len": 128}}))
    torch.save(tensors, folder / "ae.pt")
    return tensors


def linear(**more):
    return {
        "encoder.weight": randn(N, D, seed=1), "decoder.weight": randn(D, N, seed=2), **more,
    }  # fmt: skip


def plain():
    t = linear(**{"encoder.bias": randn(N, seed=3), "bias": randn(D, seed=4)})
    # Loading brings decoders to unit norm, so that f is in units of what it writes.
    norm = t["decoder.weight"].norm(dim=0)
    f = ((X - t["bias"]) @ t["encoder.weight"].T + t["encoder.bias"]).relu()
    return t, f * norm, f @ t["decoder.weight"].T + t["bias"]


def april():
    t = linear(**{"encoder.bias": randn(N, seed=3), "decoder.bias": randn(D, seed=4)})
    f = (X @ t["encoder.weight"].T + t["encoder.bias"]).relu()
    return t, f, f @ t["decoder.weight"].T + t["decoder.bias"]


def gated():
    t = linear(
        decoder_bias=randn(D, seed=3), r_mag=randn(N, seed=4), gate_bias=randn(N, seed=5),
        mag_bias=randn(N, seed=6),
    )  # fmt: skip
    shared = (X - t["decoder_bias"]) @ t["encoder.weight"].T
    f = (shared + t["gate_bias"] > 0) * (t["r_mag"].exp() * shared + t["mag_bias"]).relu()
    return t, f, f @ t["decoder.weight"].T + t["decoder_bias"]


def parameters(**more):
    return {
        "W_enc": randn(D, N, seed=1), "b_enc": randn(N, seed=2), "W_dec": randn(N, D, seed=3),
        "b_dec": randn(D, seed=4), **more,
    }  # fmt: skip


def jumprelu():
    t = parameters(threshold=randn(N, seed=5))
    z = X @ t["W_enc"] + t["b_enc"]
    f = (z * (z > t["threshold"])).relu()
    return t, f, f @ t["W_dec"] + t["b_dec"]


def topk():
    t = linear(
        **{"encoder.bias": randn(N, seed=3), "b_dec": randn(D, seed=4)},
        k=torch.tensor(K, dtype=torch.int), threshold=torch.tensor(-1.0),
    )  # fmt: skip
    f = only_topk((X - t["b_dec"]) @ t["encoder.weight"].T + t["encoder.bias"])
    return t, f, f @ t["decoder.weight"].T + t["b_dec"]


def batchtopk(threshold=1.1):
    t, _, _ = topk()
    t["threshold"] = torch.tensor(threshold)
    z = ((X - t["b_dec"]) @ t["encoder.weight"].T + t["encoder.bias"]).relu()
    f = z * (z > threshold)
    return t, f, f @ t["decoder.weight"].T + t["b_dec"]


def matryoshka():
    t = parameters(
        k=torch.tensor(K, dtype=torch.int), threshold=torch.tensor(0.8),
        group_sizes=torch.tensor([8, 16]),
    )  # fmt: skip
    z = ((X - t["b_dec"]) @ t["W_enc"] + t["b_enc"]).relu()
    f = z * (z > 0.8)
    return t, f, f @ t["W_dec"] + t["b_dec"]


CLASSES = {
    "AutoEncoder": plain, "AutoEncoderNew": april, "GatedAutoEncoder": gated,
    "JumpReluAutoEncoder": jumprelu, "AutoEncoderTopK": topk, "BatchTopKSAE": batchtopk,
    "MatryoshkaBatchTopKSAE": matryoshka,
}  # fmt: skip


@pytest.mark.parametrize("kind", CLASSES)
def test_dictionary_learning_classes_infer_by_their_definition(tmp_path, kind):
    tensors, f, x_hat = CLASSES[kind]()
    k = {"k": K} if "TopK" in kind else {}
    write_dictionary(tmp_path, kind, tensors, **k)
    reader = open_sae(tmp_path)
    matches(reader, f, x_hat)
    assert (reader.layer, reader.facts.model) == (8, "pythia")
    assert reader.k == (K if kind == "AutoEncoderTopK" else None)


@pytest.mark.parametrize("kind", CLASSES)
def test_dictionary_learning_itself_agrees(tmp_path, kind):
    theirs = pytest.importorskip(
        "dictionary_learning.dictionary", reason="dictionary_learning is not installed"
    )
    from dictionary_learning.trainers import batch_top_k, matryoshka_batch_top_k, top_k

    homes = (theirs, batch_top_k, matryoshka_batch_top_k, top_k)
    made = next(getattr(home, kind) for home in homes if hasattr(home, kind))
    tensors, _, _ = CLASSES[kind]()
    write_dictionary(tmp_path, kind, tensors)
    if kind == "JumpReluAutoEncoder":
        loaded = made.from_pretrained(tmp_path / "ae.pt")
    else:
        loaded = made.from_pretrained(tmp_path / "ae.pt", device="cpu")
    with torch.no_grad():
        matches(open_sae(tmp_path), loaded.encode(X), loaded(X))


def test_a_threshold_that_was_never_set_leaves_the_relu(tmp_path):
    tensors, f, x_hat = batchtopk(threshold=-1.0)
    write_dictionary(tmp_path, "BatchTopKSAE", tensors, k=K)
    matches(open_sae(tmp_path), f, x_hat)


def test_the_k_of_weights_and_configuration_may_not_differ(tmp_path):
    write_dictionary(tmp_path, "AutoEncoderTopK", topk()[0], k=6)
    with pytest.raises(CorruptArtifact, match="k is 5 here and 6 in the configuration"):
        open_sae(tmp_path)


def test_another_class_is_refused_by_name(tmp_path):
    write_dictionary(tmp_path, "CrossCoder", topk()[0])
    with pytest.raises(UnsupportedModel, match="'CrossCoder' is not read here; these are: Auto"):
        open_sae(tmp_path)


def test_no_object_is_ever_unpickled(tmp_path):
    class Surprise:
        def __reduce__(self):
            return (pytest.fail, ("it was run",))

    write_dictionary(tmp_path, "AutoEncoder", {"bias": Surprise()})
    with pytest.raises(CorruptArtifact, match="never loaded"):
        open_sae(tmp_path)


@pytest.mark.parametrize("share", [0.3, 0.95])
def test_a_truncated_pytorch_file_is_damaged(tmp_path, share):
    write_dictionary(tmp_path, "AutoEncoder", plain()[0])
    content = (tmp_path / "ae.pt").read_bytes()
    (tmp_path / "ae.pt").write_bytes(content[: int(share * len(content))])
    with pytest.raises(CorruptArtifact, match="damaged"):
        open_sae(tmp_path)


def test_an_mlps_dictionary_has_no_layer_of_its_own(tmp_path):
    write_dictionary(tmp_path, "AutoEncoderNew", april()[0], submodule_name="mlp_out_layer_8")
    reader = open_sae(tmp_path)
    assert reader.facts.hook == "mlp_out_layer_8"
    assert not reader.knows_layer


# Gemma Scope


def write_gemma(folder, save=np.savez, **changes):
    folder.mkdir(parents=True, exist_ok=True)
    t = {**parameters(threshold=randn(N, seed=5).abs()), **changes}
    save(folder / "params.npz", **{name: each.numpy() for name, each in t.items()})
    return t


def jumped(t):
    z = X @ t["W_enc"] + t["b_enc"]
    f = z.relu() * (z > t["threshold"])
    return f, f @ t["W_dec"] + t["b_dec"]


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_gemma_scope_arrays_are_read(tmp_path, save):
    folder = tmp_path / "gemma-scope-2b-pt-res" / "layer_20" / "width_16k" / "average_l0_71"
    t = write_gemma(folder, save)
    reader = open_sae(folder)
    matches(reader, *jumped(t))
    assert (reader.layer, reader.facts.hook) == (20, "blocks.20.hook_resid_post")


def test_gemma_scope_arrays_of_an_mlp_say_so(tmp_path):
    folder = tmp_path / "gemma-scope-2b-pt-mlp" / "layer_20" / "width_16k"
    write_gemma(folder)
    assert open_sae(folder).facts.hook == "blocks.20.hook_mlp_out"
    with pytest.raises(InvalidValue, match=r"reads blocks.20.hook_mlp_out, no block's output"):
        open_sae(folder).load()


def test_gemma_scope_of_the_embedding_is_refused(tmp_path):
    folder = tmp_path / "gemma-scope-2b-pt-res" / "embedding" / "width_4k"
    write_gemma(folder)
    with pytest.raises(UnsupportedModel, match="no block's output"):
        open_sae(folder)


@pytest.mark.parametrize("share", [0.3, 0.97])
def test_a_truncated_archive_is_damaged(tmp_path, share):
    write_gemma(tmp_path / "layer_3")
    path = tmp_path / "layer_3" / "params.npz"
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(CorruptArtifact, match="damaged"):
        open_sae(tmp_path / "layer_3")


def test_an_archive_of_objects_is_refused(tmp_path):
    (tmp_path / "layer_3").mkdir()
    np.savez(tmp_path / "layer_3" / "params.npz", W_enc=np.array([{}], dtype=object))
    with pytest.raises(CorruptArtifact, match="not plain arrays"):
        open_sae(tmp_path / "layer_3")


def test_gemma_scope_2_says_its_place_in_its_configuration(tmp_path):
    folder = tmp_path / "resid_post" / "layer_12_width_16k"
    folder.mkdir(parents=True)
    t = parameters(threshold=randn(N, seed=5).abs())
    save_file({name.lower(): each for name, each in t.items()}, folder / "params.safetensors")
    config = {
        "architecture": "jump_relu", "hf_hook_point_in": "model.layers.12.output",
        "model_name": "gemma-3-1b-pt",
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    reader = open_sae(folder)
    matches(reader, *jumped(t))
    assert (reader.layer, reader.facts.model) == (12, "gemma-3-1b-pt")


def test_gemma_scope_2_transcoders_skip_the_other_way_round(tmp_path):
    t = parameters(threshold=randn(N, seed=5).abs())
    skip = randn(D, D, seed=6)
    tensors = {name.lower(): each for name, each in t.items()}
    save_file({**tensors, "affine_skip_connection": skip}, tmp_path / "params.safetensors")
    f, x_hat = jumped(t)
    matches(open_sae(tmp_path, layer=1), f, x_hat + X @ skip)


# which format


def test_formats_are_found_from_the_files(tmp_path):
    write_sparsify(tmp_path / "a" / "layers.1")
    write_dictionary(tmp_path / "b", "AutoEncoder", plain()[0])
    write_gemma(tmp_path / "c")
    found = [detect_format(tmp_path / each) for each in ("a/layers.1", "b", "c", "a")]
    assert found == ["sparsify", "dictionary_learning", "gemma_scope", None]


def test_what_is_missing_of_an_sae_is_said(tmp_path):
    with pytest.raises(CorruptArtifact, match="holds no SAE of a known format"):
        open_sae(tmp_path)
    with pytest.raises(CorruptArtifact, match="no such folder"):
        open_sae(tmp_path / "nowhere")
    (tmp_path / "cfg.json").write_text("{}")
    with pytest.raises(
        CorruptArtifact, match=r"cfg.json is there and no tensors .*sae.safetensors"
    ):
        open_sae(tmp_path)
    (tmp_path / "cfg.json").unlink()
    (tmp_path / "ae.pt").write_bytes(b"")
    with pytest.raises(CorruptArtifact, match=r"ae.pt is there and no JSON file"):
        open_sae(tmp_path)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("kind", ["archive", "pickle", "npz"])
def test_changed_bytes_are_refused_or_harmless(tmp_path, kind):
    path = tmp_path / "file"
    tensors = {"encoder.weight": randn(4, 3, seed=1), "bias": randn(3, seed=2)}
    if kind == "npz":
        with path.open("wb") as file:
            np.savez_compressed(file, **{name: each.numpy() for name, each in tensors.items()})
    else:
        torch.save(tensors, path, _use_new_zipfile_serialization=kind == "archive")
    whole, read = path.read_bytes(), numpy_file if kind == "npz" else torch_file
    assert read(path).names == frozenset(tensors)
    n_refused = 0
    for at in range(0, len(whole), max(1, len(whole) // 150)):
        for changed in (whole[:at], whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :]):
            path.write_bytes(changed)
            try:
                read(path)
            except CorruptArtifact:
                n_refused += 1
    assert n_refused > 100

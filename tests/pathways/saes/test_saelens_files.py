"""Files that SAELens wrote, against what SAELens itself makes of them; and ours, read by it."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from glassbox.errors import CorruptArtifact, UnsupportedModel
from glassbox.pathways.saes.readers import reader as reading
from glassbox.pathways.saes.readers.opening import open_sae
from glassbox.pathways.saes.sae import Sae, SaeSource
from glassbox.pathways.saes.writing import save_sae

FOLDER = Path(__file__).parent / "saelens_files"
NAMES = sorted(each.name for each in FOLDER.iterdir())


def make(k=None, threshold=0.0, d_in=6, d_sae=20, layer=2):
    generator = torch.Generator().manual_seed(3)
    return Sae(
        layer=layer,
        w_enc=torch.randn(d_sae, d_in, generator=generator),
        b_enc=torch.randn(d_sae, generator=generator),
        w_dec=torch.randn(d_sae, d_in, generator=generator),
        b_dec=torch.randn(d_in, generator=generator),
        threshold=torch.rand(d_sae, generator=generator) * threshold,
        source=SaeSource("memory", "file", "", "", "", ""),
        k=k,
    )


def edited(tmp_path, name, **changes):
    """Copy one of the folders with other fields in its configuration; None removes one."""
    config = json.loads((FOLDER / name / "cfg.json").read_text())
    for key, value in changes.items():
        config.pop(key, None)
        if value is not None:
            config[key] = value
    (tmp_path / "cfg.json").write_text(json.dumps(config))
    (tmp_path / "sae_weights.safetensors").write_bytes(
        (FOLDER / name / "sae_weights.safetensors").read_bytes()
    )
    return tmp_path


def test_there_is_a_file_of_every_architecture():
    architectures = {open_sae(FOLDER / name).facts.architecture for name in NAMES}
    assert architectures == {
        "standard", "jumprelu", "topk", "batchtopk", "gated", "transcoder", "skip_transcoder",
        "jumprelu_transcoder", "jumprelu_skip_transcoder",
    }  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_activations_and_reconstruction_are_those_of_saelens(name):
    answers = load_file(FOLDER / name / "answers")
    sae = open_sae(FOLDER / name).load()
    x = answers["x"]
    f = sae.encode(x)
    assert ((f > 0) == (answers["f"] > 0)).all()
    assert 0 < (f > 0).sum() < f.numel()
    torch.testing.assert_close(f, answers["f"], atol=2e-5, rtol=1e-5)
    torch.testing.assert_close(sae.decode(f, x=x), answers["x_hat"], atol=5e-5, rtol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_rows_and_halves_are_the_whole_dictionary_in_parts(name, monkeypatch):
    reader = open_sae(FOLDER / name)
    whole = reader.load()
    monkeypatch.setattr(reading, "CHUNK", 7)
    encoder = open_sae(FOLDER / name).load_encoder()
    assert torch.equal(open_sae(FOLDER / name).load_decoder(), whole.w_dec)
    assert (encoder.layer, encoder.k, encoder.input_norm) == (3, whole.k, whole.input_norm)
    for field in ("w_enc", "b_enc", "threshold"):
        assert torch.equal(getattr(encoder, field), getattr(whole, field))
    picked = torch.tensor([23, 0, 5, 6, 7, 5])
    rows = reader.read_rows(picked)
    for field in ("w_enc", "b_enc", "w_dec", "threshold"):
        assert torch.equal(getattr(rows, field), getattr(whole, field)[picked])
    assert torch.equal(rows.indices, picked)


@pytest.mark.parametrize("name", NAMES)
def test_layer_and_model_come_from_the_file(name):
    reader = open_sae(FOLDER / name)
    assert (reader.layer, reader.facts.model, reader.d_sae) == (3, "tiny", 24)
    assert reader.facts.dtype == "float32"


def test_a_file_from_before_6_0_says_topk_in_its_activation(tmp_path):
    config = {
        "d_in": 8, "d_sae": 24, "hook_point": "blocks.5.hook_resid_pre", "model_name": "old",
        "architecture": "standard", "activation_fn_str": "topk", "activation_fn_kwargs": {"k": 5},
        "normalize_activations": None, "apply_b_dec_to_input": True, "dtype": "float32",
    }  # fmt: skip
    folder = edited(tmp_path, "topk")
    (folder / "cfg.json").write_text(json.dumps(config))
    old, new = open_sae(folder), open_sae(FOLDER / "topk")
    # The input of block 5 is the output of block 4.
    assert (old.layer, old.k, old.facts.model) == (4, 5, "old")
    x = load_file(FOLDER / "topk" / "answers")["x"]
    assert torch.equal(old.load().encode(x), new.load().encode(x))


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("jumprelu", {"activation_fn": "topk"}, "'jumprelu' and the activation is 'topk'"),
        ("jumprelu", {"architecture": "standard"}, "has no 'threshold'"),
        ("standard", {"architecture": "jumprelu"}, "no tensor 'threshold'"),
        ("standard", {"d_in": 9}, "width of the encoder: 8; width by the configuration: 9"),
        ("standard", {"d_sae": 16}, "latents of the encoder: 24; latents by the configuration: 16"),
        ("standard", {"d_in": None}, "'d_in' is missing"),
        ("standard", {"d_in": "8"}, "'d_in' is '8'"),
        ("topk", {"k": None}, "whole number 'k'"),
        ("topk", {"k": 25}, "k is 25 of 24"),
        ("topk", {"k": 0}, "k is 0 of 24"),
    ],
)
def test_files_that_contradict_themselves_are_refused(tmp_path, name, changes, message):
    with pytest.raises(CorruptArtifact, match=message):
        open_sae(edited(tmp_path, name, **changes))


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("standard", {"architecture": "temporal"}, "'temporal' is not read here"),
        ("standard", {"activation_fn": "tanh-relu"}, "'tanh-relu'"),
        ("standard", {"normalize_activations": "expected_average_only_in"}, "fold it with SAELens"),
        ("standard", {"normalize_activations": ["none"]}, "fold it with SAELens"),
        ("standard", {"reshape_activations": "hook_z"}, "attention heads"),
        ("transcoder", {"normalize_activations": "layer_norm"}, "normalised activations"),
    ],
)
def test_what_is_not_read_is_refused_by_name(tmp_path, name, changes, message):
    with pytest.raises(UnsupportedModel, match=message):
        open_sae(edited(tmp_path, name, **changes))


@pytest.mark.parametrize(
    ("name", "tensor", "message"),
    [
        ("batchtopk_checkpoint", "topk_threshold", "'topk_threshold' holds 7 numbers"),
        ("gated", "r_mag", r"differ in shape: \[24\], \[24\], \[7\]"),
    ],
)
def test_tensors_of_another_length_are_refused(tmp_path, name, tensor, message):
    folder = edited(tmp_path, name)
    path = folder / "sae_weights.safetensors"
    save_file({**load_file(path), tensor: torch.ones(7)}, path)
    with pytest.raises(CorruptArtifact, match=message):
        open_sae(folder)


@pytest.mark.parametrize("name", ["scaling_factor", "finetuning_scaling_factor"])
def test_a_fine_tuning_factor_is_refused_unless_it_is_one(tmp_path, name):
    expected = open_sae(FOLDER / "standard").load()
    folder = edited(tmp_path, "standard")
    path = folder / "sae_weights.safetensors"
    tensors = load_file(path)
    save_file({**tensors, name: torch.full((24,), 1.5)}, path)
    with pytest.raises(UnsupportedModel, match=f"'{name}' beside the weights is a fine-tuning"):
        open_sae(folder)
    save_file({**tensors, name: torch.ones(24)}, path)
    assert torch.equal(open_sae(folder).load().w_dec, expected.w_dec)


@pytest.mark.parametrize(("k", "threshold"), [(None, 0.0), (None, 0.7), (4, 0.0)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_is_written_is_what_is_read(tmp_path, k, threshold, dtype):
    sae = make(k, threshold)
    save_sae(sae, tmp_path, dtype=dtype, metadata={"prepend_bos": True})
    reader = open_sae(tmp_path)
    back = reader.load()
    assert (back.layer, back.k) == (2, k)
    assert reader.facts.dtype == str(dtype).removeprefix("torch.")
    for field in ("w_enc", "b_enc", "w_dec", "b_dec", "threshold"):
        assert torch.equal(getattr(back, field), getattr(sae, field).to(dtype).float())


def test_what_the_format_has_no_word_for_is_not_written(tmp_path):
    with pytest.raises(UnsupportedModel, match="TopK and thresholds"):
        save_sae(make(4, 0.5), tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("k", "threshold"), [(None, 0.0), (None, 0.7), (4, 0.0)])
def test_saelens_reads_what_is_written_here(tmp_path, k, threshold):
    saelens = pytest.importorskip("sae_lens", reason="SAELens itself is not installed")
    sae = make(k, threshold)
    save_sae(sae, tmp_path)
    theirs = saelens.SAE.load_from_disk(tmp_path)
    x = torch.randn(30, 6, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(sae.encode(x), theirs.encode(x))
    torch.testing.assert_close(sae.decode(sae.encode(x)), theirs(x))
    assert theirs.cfg.metadata.hook_name == "blocks.2.hook_resid_post"

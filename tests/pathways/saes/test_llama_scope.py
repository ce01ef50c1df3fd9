"""Llama Scope in both readings, on a checkpoint whose decoder is not of unit norm.

The oracle is the authors' and SAELens' inference written out step by step, on unfolded weights.
"""

import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from glassbox.errors import CorruptArtifact, InvalidValue, UnknownName, UnsupportedModel
from glassbox.pathways.saes.readers.opening import detect_format, open_sae

D, N = 16, 48


class Checkpoint:
    """Random weights in the file's own units, and what to write of them."""

    def __init__(self, seed=0, norm_in=10.8125, norm_out=None, threshold=0.3555):
        generator = torch.Generator().manual_seed(seed)

        def randn(*shape):
            return torch.randn(*shape, generator=generator, dtype=torch.float64)

        self.w_enc, self.b_enc = randn(N, D) / D**0.5, 0.1 * randn(N)
        self.w_dec, self.b_dec = randn(D, N), 0.2 * randn(D)
        # Norms from 0.5 to 3, as released decoders' are not of unit norm.
        wanted = 0.5 + 2.5 * torch.rand(N, generator=generator, dtype=torch.float64)
        self.w_dec *= wanted / self.w_dec.norm(dim=0)
        self.norm_in, self.norm_out = norm_in, norm_out or norm_in
        self.threshold = threshold
        self.x = randn(64, D) * norm_in / D**0.5
        self.scale = D**0.5 / norm_in
        self.scale_out = D**0.5 / self.norm_out

    def hyperparameters(self, **changes):
        hook_out = "blocks.15.hook_resid_post"
        if self.norm_out != self.norm_in:
            hook_out = "blocks.15.hook_mlp_out"
        found = {
            "hook_point_in": "blocks.15.hook_resid_post", "hook_point_out": hook_out,
            "d_model": D, "d_sae": N, "expansion_factor": N / D, "act_fn": "jumprelu",
            "jump_relu_threshold": self.threshold, "norm_activation": "dataset-wise",
            "dataset_average_activation_norm": {"in": self.norm_in, "out": self.norm_out},
            "use_decoder_bias": True, "apply_decoder_bias_to_pre_encoder": False,
            "sparsity_include_decoder_norm": True, "use_glu_encoder": False, "top_k": 50,
            "dtype": "torch.bfloat16",
        }  # fmt: skip
        return {k: v for k, v in {**found, **changes}.items() if v is not ...}

    def tensors(self, dtype=torch.float32):
        return {
            "encoder.weight": self.w_enc.to(dtype).contiguous(),
            "encoder.bias": self.b_enc.to(dtype),
            "decoder.weight": self.w_dec.to(dtype).contiguous(),
            "decoder.bias": self.b_dec.to(dtype),
        }

    def write(self, folder, dtype=torch.float32, **changes):
        (folder / "checkpoints").mkdir(parents=True, exist_ok=True)
        (folder / "hyperparams.json").write_text(json.dumps(self.hyperparameters(**changes)))
        save_file(self.tensors(dtype), folder / "checkpoints" / "final.safetensors")
        return folder

    def authors(self):
        """Encode and decode as the authors do: two folds in place, then a plain jump."""
        w_enc, b_enc = self.w_enc.clone(), self.b_enc.clone() / self.scale
        w_dec = self.w_dec * self.scale / self.scale_out
        b_dec = self.b_dec / self.scale_out
        norm = w_dec.norm(dim=0)
        w_dec = w_dec / norm
        w_enc, b_enc = w_enc * norm[:, None], b_enc * norm
        z = self.x @ w_enc.T + b_enc
        f = z * (z > self.threshold)
        return f, f @ w_dec.T + b_dec

    def saelens(self):
        """Encode and decode as SAELens does: fold the scale only, a scaled threshold."""
        w_enc, w_dec, b_dec = (self.w_enc * self.scale, self.w_dec / self.scale, self.b_dec)
        z = self.x @ w_enc.T + self.b_enc
        f = z.relu() * (z > self.threshold * self.scale)
        return f, f @ w_dec.T + b_dec / self.scale


def close(ours, theirs):
    torch.testing.assert_close(ours.double(), theirs, atol=2e-5, rtol=2e-5)


def test_the_authors_reading_is_the_default(tmp_path):
    made = Checkpoint()
    reader = open_sae(made.write(tmp_path))
    sae = reader.load()
    f, x_hat = made.authors()
    close(sae.encode(made.x.float()), f)
    close(sae.decode(f.float()), x_hat)
    torch.testing.assert_close(sae.w_dec.norm(dim=1), torch.ones(N))
    assert sae.source.convention == "openmoss"
    assert sae.source.decoder_norm_mean == pytest.approx(float(made.w_dec.norm(dim=0).mean()))
    assert (sae.layer, sae.source.expected_l0, reader.k) == (15, 50.0, None)


def test_saelens_reading_is_an_option(tmp_path):
    made = Checkpoint()
    sae = open_sae(made.write(tmp_path), convention="saelens").load()
    f, x_hat = made.saelens()
    close(sae.encode(made.x.float()), f)
    close(sae.decode(f.float()), x_hat)
    assert sae.source.convention == "saelens"


def test_the_two_readings_fire_differently_on_other_norms_than_one(tmp_path):
    made = Checkpoint()
    folder = made.write(tmp_path)
    x = made.x.float()
    fires = [open_sae(folder, convention=c).load().encode(x) > 0 for c in ("openmoss", "saelens")]
    differing = float((fires[0] != fires[1]).float().mean())
    assert 0.005 < differing < 0.3


def test_the_two_readings_fire_alike_on_unit_norms(tmp_path):
    made = Checkpoint()
    made.w_dec /= made.w_dec.norm(dim=0)
    folder = made.write(tmp_path)
    x = made.x.float()
    ours, theirs = (open_sae(folder, convention=c).load() for c in ("openmoss", "saelens"))
    assert torch.equal(ours.encode(x) > 0, theirs.encode(x) > 0)
    torch.testing.assert_close(
        ours.decode(ours.encode(x)), theirs.decode(theirs.encode(x)), atol=1e-4, rtol=1e-4
    )


@given(
    seed=st.integers(0, 999),
    norm=st.floats(0.3, 100.0),
    threshold=st.floats(0.01, 1.0),
)
def test_folded_and_unfolded_activations_differ_by_norm_over_scale(
    tmp_path_factory, seed, norm, threshold
):
    # f = g n / s, with g the activation in normalised units, kept where p n > threshold s.
    made = Checkpoint(seed, norm_in=norm, threshold=threshold)
    sae = open_sae(made.write(tmp_path_factory.mktemp("scope"))).load()
    n, s = made.w_dec.norm(dim=0), made.scale
    p = (s * made.x) @ made.w_enc.T + made.b_enc
    margin = ((p * n - threshold * s).abs() > 1e-4 * s).all(-1)
    g = p * (p * n > threshold * s)
    x = made.x.float()[margin]
    torch.testing.assert_close(
        sae.encode(x).double(), (g * n / s)[margin], atol=1e-4 * norm, rtol=1e-4
    )
    x_hat = (g @ made.w_dec.T + made.b_dec) / s
    torch.testing.assert_close(
        sae.decode(sae.encode(x)).double(), x_hat[margin], atol=3e-4 * norm, rtol=1e-4
    )


def test_a_transcoder_has_two_scales(tmp_path):
    made = Checkpoint(norm_in=64.0, norm_out=3.39)
    reader = open_sae(made.write(tmp_path))
    sae = reader.load()
    f, x_hat = made.authors()
    close(sae.encode(made.x.float()), f)
    close(sae.decode(f.float()), x_hat)
    assert reader.facts.hook_out == "blocks.15.hook_mlp_out"


def test_bfloat16_files_are_read_as_their_rounded_numbers(tmp_path):
    made = Checkpoint()
    for name in ("w_enc", "b_enc", "w_dec", "b_dec"):
        setattr(made, name, getattr(made, name).to(torch.bfloat16).double())
    reader = open_sae(made.write(tmp_path, torch.bfloat16))
    close(reader.load().encode(made.x.float()), made.authors()[0])
    assert reader.facts.dtype == "bfloat16"


def test_rows_equal_the_whole_whatever_company_they_are_read_in(tmp_path):
    made = Checkpoint()
    reader = open_sae(made.write(tmp_path))
    whole = reader.load()
    for picked in ([3], [47, 3, 3, 4], list(range(N))):
        rows = reader.read_rows(torch.tensor(picked))
        assert torch.equal(rows.w_enc, whole.w_enc[picked])
        assert torch.equal(rows.w_dec, whole.w_dec[picked])
        assert torch.equal(rows.b_enc, whole.b_enc[picked])


def own_layout(made, folder, *, matrices, **changes):
    """Write the successors' layout: a threshold a latent, in a tensor."""
    folder.mkdir(exist_ok=True)
    config = {**made.hyperparameters(), "sae_type": "sae", **changes}
    for name in ("d_sae", "jump_relu_threshold", "dataset_average_activation_norm"):
        config.pop(name, None)
    log_threshold = torch.full((N,), made.threshold, dtype=torch.float64).log().float()
    if matrices == "linear":
        tensors = {**made.tensors(), "log_jumprelu_threshold": log_threshold}
    else:
        t = made.tensors()
        tensors = {
            "W_E": t["encoder.weight"].T.contiguous(), "b_E": t["encoder.bias"],
            "W_D": t["decoder.weight"].T.contiguous(), "b_D": t["decoder.bias"],
            "activation_function.log_jumprelu_threshold": log_threshold,
        }  # fmt: skip
    if config["norm_activation"] == "dataset-wise":
        hook = config["hook_point_in"]
        tensors[f"dataset_average_activation_norm.{hook}"] = torch.tensor(made.norm_in)
    (folder / "config.json").write_text(json.dumps(config))
    save_file(tensors, folder / "sae_weights.safetensors")
    return folder


@pytest.mark.parametrize("matrices", ["linear", "own"])
def test_the_successors_layouts_hold_the_same_sae(tmp_path, matrices):
    made = Checkpoint()
    folder = own_layout(made, tmp_path, matrices=matrices)
    assert detect_format(folder) == "llamascopium"
    close(open_sae(folder).load().encode(made.x.float()), made.authors()[0])
    theirs = open_sae(folder, convention="saelens").load()
    close(theirs.encode(made.x.float()), made.saelens()[0])


def test_an_already_standardised_file_is_not_scaled_again(tmp_path):
    made = Checkpoint(norm_in=D**0.5)
    folder = own_layout(made, tmp_path, matrices="own", norm_activation="inference")
    close(open_sae(folder).load().encode(made.x.float()), made.authors()[0])


def test_topk_weighs_latents_by_their_decoder_norm(tmp_path):
    made = Checkpoint(norm_in=D**0.5)
    folder = own_layout(made, tmp_path, matrices="own", norm_activation="inference", top_k=7)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "act_fn": "topk"}))
    with pytest.raises(CorruptArtifact, match="has thresholds"):
        open_sae(folder)
    tensors = made.tensors()
    save_file(tensors, folder / "sae_weights.safetensors")
    weighted = (made.x @ made.w_enc.T + made.b_enc) * made.w_dec.norm(dim=0)
    kept = weighted.relu() * (weighted >= weighted.topk(7).values[:, -1:])
    close(open_sae(folder).load().encode(made.x.float()), kept)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"act_fn": "topk"}, "'act_fn' is 'topk'"),
        ({"act_fn": ...}, "'act_fn' is missing"),
        ({"jump_relu_threshold": ...}, "'jump_relu_threshold' is missing"),
        ({"jump_relu_threshold": -0.1}, "'jump_relu_threshold' is -0.1"),
        ({"dataset_average_activation_norm": {"in": 0.0, "out": 1.0}}, "has to be positive"),
        ({"dataset_average_activation_norm": {"in": 1.0, "out": None}}, "has to be positive"),
        ({"dataset_average_activation_norm": ...}, "says nothing of 'in'"),
        ({"norm_activation": ...}, "'norm_activation' is missing"),
        ({"d_model": 32}, "width of the encoder: 16; width by the configuration: 32"),
        ({"d_sae": 64}, "latents of the encoder: 48; latents by the configuration: 64"),
    ],
)
def test_configurations_that_cannot_be_are_refused(tmp_path, changes, message):
    folder = Checkpoint().write(tmp_path, **changes)
    with pytest.raises(CorruptArtifact, match=message):
        open_sae(folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"norm_activation": "token-wise"}, "'token-wise'"),
        ({"use_glu_encoder": True}, "'use_glu_encoder' is true"),
        ({"apply_decoder_bias_to_pre_encoder": True}, "'apply_decoder_bias_to_pre_encoder'"),
    ],
)
def test_what_is_not_read_is_refused_by_name(tmp_path, changes, message):
    folder = Checkpoint().write(tmp_path, **changes)
    with pytest.raises(UnsupportedModel, match=message):
        open_sae(folder)


def test_a_missing_tensor_is_named(tmp_path):
    made = Checkpoint()
    folder = made.write(tmp_path)
    tensors = made.tensors()
    del tensors["decoder.weight"]
    save_file(tensors, folder / "checkpoints" / "final.safetensors")
    with pytest.raises(CorruptArtifact, match=r"no tensor 'decoder.weight'; there are"):
        open_sae(folder)


@pytest.mark.parametrize("share", [0.2, 0.9, 0.999])
def test_a_truncated_file_is_damaged_not_short(tmp_path, share):
    folder = Checkpoint().write(tmp_path)
    path = folder / "checkpoints" / "final.safetensors"
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(CorruptArtifact, match="damaged or cut off"):
        open_sae(folder)


def test_a_decoder_row_of_zeros_cannot_be_divided_by(tmp_path):
    made = Checkpoint()
    made.w_dec[:, 40:] = 0
    folder = made.write(tmp_path)
    with pytest.raises(CorruptArtifact, match="8 latents have a decoder row of zeros"):
        open_sae(folder).load()
    # Rows that are not asked for are not looked at, and SAELens' reading divides by none.
    open_sae(folder).read_rows(torch.tensor([39]))
    open_sae(folder, convention="saelens").load()


def test_values_that_are_no_numbers_are_refused(tmp_path):
    made = Checkpoint()
    made.w_enc[5, 2] = float("nan")
    with pytest.raises(CorruptArtifact, match=r"'encoder.weight' holds NaN"):
        open_sae(made.write(tmp_path)).load()
    made.b_dec[1] = float("inf")
    with pytest.raises(CorruptArtifact, match=r"'decoder.bias' holds NaN or infinite"):
        open_sae(made.write(tmp_path))


def test_the_callers_layer_may_not_contradict_the_file(tmp_path):
    folder = Checkpoint().write(tmp_path)
    assert open_sae(folder, layer=15).layer == 15
    with pytest.raises(InvalidValue, match="is 14; allowed: 15, which the file says"):
        open_sae(folder, layer=14)


def test_an_unknown_convention_is_refused(tmp_path):
    with pytest.raises(UnknownName, match="No convention 'mine'"):
        open_sae(Checkpoint().write(tmp_path), convention="mine")


def test_any_file_of_the_folder_may_be_named(tmp_path):
    folder = Checkpoint().write(tmp_path)
    assert open_sae(folder / "checkpoints" / "final.safetensors").layer == 15
    assert open_sae(folder / "hyperparams.json").layer == 15


def test_saelens_itself_reads_the_checkpoint_so(tmp_path, monkeypatch):
    pytest.importorskip("sae_lens", reason="SAELens itself is not installed")
    from sae_lens.loading import pretrained_sae_loaders as loaders
    from sae_lens.saes.sae import SAE

    made = Checkpoint()
    made.write(tmp_path / "L15R")

    def from_disk(repo_id, filename, subfolder="", **_):
        return str(tmp_path / subfolder / filename)

    monkeypatch.setattr(loaders, "hf_hub_download", from_disk)
    config, tensors, _ = loaders.llama_scope_sae_huggingface_loader(
        "fnlp/any", "L15R", "cpu", cfg_overrides={"dtype": "float32"}
    )
    theirs = SAE.from_dict(loaders.handle_config_defaulting(config))
    theirs.load_state_dict(tensors)
    theirs.fold_activation_norm_scaling_factor(made.scale)
    ours = open_sae(tmp_path / "L15R", convention="saelens").load()
    x = made.x.float()
    with torch.no_grad():
        torch.testing.assert_close(ours.encode(x), theirs.encode(x), atol=2e-5, rtol=1e-5)
        torch.testing.assert_close(ours.decode(ours.encode(x)), theirs(x), atol=2e-4, rtol=1e-5)

"""Writes ``saelens_files/``: small SAEs saved by SAELens itself, with what SAELens makes of them.

Needs ``pip install sae-lens`` (made with 6.54.12); the tests only read the files. Run from the
checkout's root: ``python -m tests.pathways.saes.write_saelens_files``.
"""

import shutil
from pathlib import Path

import torch
from safetensors.torch import save_file

FOLDER = Path(__file__).parent / "saelens_files"
D_IN, D_SAE, D_OUT, K = 8, 24, 6, 5


def fill(sae, seed):
    """Give every parameter random numbers: decoder rows of unequal norm, biases not 0."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in sorted(sae.named_parameters()):
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
            if name == "threshold":
                parameter.copy_(parameter.abs() - 0.2)
    return sae


def saes():
    from sae_lens import saes as s

    base = {"d_in": D_IN, "d_sae": D_SAE}
    about = {"model_name": "tiny", "hook_name": "blocks.3.hook_resid_post"}

    def metadata(**more):
        from sae_lens.saes.sae import SAEMetadata

        return SAEMetadata(**about, **more)

    from sae_lens.saes import batchtopk_sae, topk_sae, transcoder

    yield "standard", s.StandardSAE(s.StandardSAEConfig(**base, metadata=metadata()))
    yield (
        "standard_no_centre",
        s.StandardSAE(s.StandardSAEConfig(**base, apply_b_dec_to_input=False, metadata=metadata())),
    )
    yield (
        "layer_norm",
        s.StandardSAE(
            s.StandardSAEConfig(**base, normalize_activations="layer_norm", metadata=metadata())
        ),
    )
    yield (
        "constant_norm",
        s.JumpReLUSAE(
            s.JumpReLUSAEConfig(
                **base, normalize_activations="constant_norm_rescale", metadata=metadata()
            )
        ),
    )
    yield "jumprelu", s.JumpReLUSAE(s.JumpReLUSAEConfig(**base, metadata=metadata()))
    yield "gated", s.GatedSAE(s.GatedSAEConfig(**base, metadata=metadata()))
    for rescale in (False, True):
        yield (
            f"topk{'_rescaled' * rescale}",
            topk_sae.TopKSAE(
                topk_sae.TopKSAEConfig(
                    **base, k=K, rescale_acts_by_decoder_norm=rescale, metadata=metadata()
                )
            ),
        )
        yield (
            f"batchtopk{'_rescaled' * rescale}",
            batchtopk_sae.BatchTopKTrainingSAE(
                batchtopk_sae.BatchTopKTrainingSAEConfig(
                    **base, k=K, rescale_acts_by_decoder_norm=rescale, metadata=metadata()
                )
            ),
        )
    across = {**base, "d_out": D_OUT, "apply_b_dec_to_input": False}
    kinds = (
        ("transcoder", transcoder.Transcoder, transcoder.TranscoderConfig),
        ("skip_transcoder", transcoder.SkipTranscoder, transcoder.SkipTranscoderConfig),
        ("jumprelu_transcoder", transcoder.JumpReLUTranscoder, transcoder.JumpReLUTranscoderConfig),
        (
            "jumprelu_skip_transcoder",
            transcoder.JumpReLUSkipTranscoder,
            transcoder.JumpReLUSkipTranscoderConfig,
        ),
    )
    for name, kind, config in kinds:
        out = metadata(hook_name_out="blocks.3.hook_mlp_out")
        yield name, kind(config(**across, metadata=out))


def save_answers(folder, read, x):
    with torch.no_grad():
        acts = read.encode(x)
        out = read(x)
    save_file({"x": x, "f": acts.contiguous(), "x_hat": out.contiguous()}, folder / "answers")


def main():
    from sae_lens.saes.sae import SAE

    shutil.rmtree(FOLDER, ignore_errors=True)
    x = torch.randn(16, D_IN, generator=torch.Generator().manual_seed(7))
    for seed, (name, sae) in enumerate(saes()):
        folder = FOLDER / name
        fill(sae, seed)
        if name.startswith("batchtopk"):
            sae.topk_threshold.fill_(0.7)
            checkpoint = FOLDER / f"{name}_checkpoint"
            sae.save_model(checkpoint)  # First: saving for inference folds norms in place.
            sae.save_inference_model(folder)
            save_answers(folder, SAE.load_from_disk(folder), x)
            shutil.copy(folder / "answers", checkpoint / "answers")
        else:
            sae.save_model(folder)
            save_answers(folder, SAE.load_from_disk(folder), x)


if __name__ == "__main__":
    main()

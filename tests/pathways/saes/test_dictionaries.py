"""SAEs of many layers: found, checked against each other and the model, streamed two at a time."""

import gc
import json
import threading
import weakref

import pytest
import torch

from glassbox.errors import (
    CorruptArtifact,
    InvalidData,
    InvalidValue,
    UnknownName,
    UnsupportedModel,
)
from glassbox.pathways.latents import LatentId
from glassbox.pathways.saes.dictionaries import open_dictionaries
from glassbox.pathways.saes.readers.reader import SaeReader
from glassbox.pathways.saes.writing import save_sae
from tests.pathways.saes.making import make_sae, write_saes
from tests.pathways.saes.test_llama_scope import Checkpoint
from tests.waiting import PATIENCE_S


def test_a_folder_gives_its_layers_in_order_whatever_the_names(tmp_path):
    made = {layer: make_sae(layer) for layer in (10, 2, 0)}
    for name, layer in (("a/b/x", 10), ("c", 2), ("a/y", 0)):
        save_sae(made[layer], tmp_path / name)
    found = open_dictionaries(tmp_path)
    assert (found.layers, found.d_model) == ((0, 2, 10), 6)
    assert torch.equal(found.load(10).w_enc, made[10].w_enc)


def test_a_mapping_says_the_layers_that_files_do_not(tmp_path):
    save_sae(make_sae(5), tmp_path / "x")
    config = json.loads((tmp_path / "x" / "cfg.json").read_text())
    config["metadata"]["hook_name"] = ""
    (tmp_path / "x" / "cfg.json").write_text(json.dumps(config))
    assert open_dictionaries({7: tmp_path / "x"}).layers == (7,)
    with pytest.raises(InvalidValue, match="does not say which block's output"):
        open_dictionaries(tmp_path)


def test_the_convention_reaches_llama_scope_and_changes_the_digest(tmp_path):
    Checkpoint().write(tmp_path / "Llama3_1-8B-Base-L15R-8x")
    ours = open_dictionaries(tmp_path)
    theirs = open_dictionaries(tmp_path, convention="saelens")
    assert ours.load(15).source.convention == "openmoss"
    assert theirs.load(15).source.convention == "saelens"
    assert ours.digest != theirs.digest
    assert ours.digest == open_dictionaries(tmp_path).digest


def test_the_digest_is_that_of_the_contents(tmp_path):
    write_saes(tmp_path)
    before = open_dictionaries(tmp_path).digest
    assert open_dictionaries(tmp_path).digest == before
    save_sae(make_sae(1, seed=9), tmp_path / "layer_1")
    assert open_dictionaries(tmp_path).digest != before


def test_two_saes_for_one_layer_are_a_question_back(tmp_path):
    write_saes(tmp_path)
    save_sae(make_sae(1), tmp_path / "other")
    with pytest.raises(InvalidData, match=r"two SAEs for layer 1: .*layer_1 and .*other"):
        open_dictionaries(tmp_path)


def test_a_folder_without_saes_is_refused(tmp_path):
    with pytest.raises(InvalidData, match="no SAE of a known format"):
        open_dictionaries(tmp_path)
    with pytest.raises(CorruptArtifact, match="no such folder"):
        open_dictionaries(tmp_path / "nowhere")
    with pytest.raises(InvalidData, match="there is no SAE"):
        open_dictionaries({})


def test_different_widths_are_refused(tmp_path):
    write_saes(tmp_path, (0,))
    save_sae(make_sae(1, d_in=8), tmp_path / "layer_1")
    with pytest.raises(InvalidData, match=r"different widths: \{0: 6, 1: 8\}"):
        open_dictionaries(tmp_path)


def test_a_model_of_another_width_or_depth_is_refused(tmp_path):
    write_saes(tmp_path)
    found = open_dictionaries(tmp_path)
    found.require_fits(d_model=6, n_layers=3)
    with pytest.raises(InvalidData, match=r"read 6 numbers a token and .* has 8"):
        found.require_fits(d_model=8, n_layers=3)
    with pytest.raises(InvalidData, match=r"layers \[2\] and the model has 2"):
        found.require_fits(d_model=6, n_layers=2)


def test_what_is_no_linear_reading_of_a_blocks_output_is_refused(tmp_path):
    save_sae(make_sae(input_norm="layer_norm"), tmp_path / "normed")
    with pytest.raises(UnsupportedModel, match="not linear"):
        open_dictionaries(tmp_path)
    Checkpoint(norm_in=64.0, norm_out=3.0).write(tmp_path / "across")
    with pytest.raises(UnsupportedModel, match=r"a transcoder from blocks.15.hook_resid_post to"):
        open_dictionaries({15: tmp_path / "across"})
    mlp = {"hook_point_in": "blocks.15.hook_mlp_out", "hook_point_out": "blocks.15.hook_mlp_out"}
    Checkpoint().write(tmp_path / "mlp", **mlp)
    for named in ({15: tmp_path / "mlp"}, tmp_path / "mlp"):
        with pytest.raises(UnsupportedModel, match=r"reads blocks.15.hook_mlp_out; pathways need"):
            open_dictionaries(named)


def test_rows_come_by_layer_each_once_and_ascending(tmp_path):
    made = write_saes(tmp_path)
    latents = [LatentId(2, 7), LatentId(0, 3), LatentId(2, 1), LatentId(2, 7)]
    rows = open_dictionaries(tmp_path).rows(latents)
    assert {layer: each.indices.tolist() for layer, each in rows.items()} == {0: [3], 2: [1, 7]}
    assert torch.equal(rows[2].w_dec, made[2].w_dec[[1, 7]])
    with pytest.raises(UnknownName, match="No SAE for layer '9'"):
        open_dictionaries(tmp_path).rows([LatentId(9, 0)])
    with pytest.raises(InvalidValue, match="latent of layer 1 is 20"):
        open_dictionaries(tmp_path).rows([LatentId(1, 20)])


def test_a_stream_gives_each_dictionary_in_the_order_asked(tmp_path):
    made = write_saes(tmp_path, range(5))
    found = open_dictionaries(tmp_path)
    order = [4, 2, 0]
    for layer, sae in zip(order, found.stream(order), strict=True):
        assert sae.layer == layer
        assert torch.equal(sae.w_enc, made[layer].w_enc)
    assert [sae.layer for sae in found.stream()] == [0, 1, 2, 3, 4]
    assert list(found.stream([])) == []


def test_a_stream_reads_ahead_and_holds_two_at_most(tmp_path, monkeypatch):
    write_saes(tmp_path, range(6))
    found = open_dictionaries(tmp_path)
    alive, most, started = weakref.WeakSet(), 0, []
    load = SaeReader.load
    ahead = threading.Event()

    def counted(self, device="cpu", dtype=torch.float32):
        nonlocal most
        started.append(self.layer)
        if self.layer == 1:
            ahead.set()
        gc.collect()
        # The one that was used last may live until the loop's variable is bound anew.
        most = max(most, len(alive))
        sae = load(self, device, dtype)
        alive.add(sae)
        return sae

    monkeypatch.setattr(SaeReader, "load", counted)
    for sae in found.stream():
        if sae.layer == 0:
            assert ahead.wait(PATIENCE_S), "the second was not read while the first was used"
        assert max(started) <= sae.layer + 1
    assert most <= 2


def test_halves_come_in_the_order_asked_and_the_next_are_read_meanwhile(tmp_path, monkeypatch):
    made = write_saes(tmp_path, range(5))
    found = open_dictionaries(tmp_path)
    begun = {each: threading.Event() for each in ((3, "encoder"), (3, "decoder"), (0, "encoder"))}

    def told(name, load):
        def telling(self, device, dtype):
            begun.get((self.layer, name), threading.Event()).set()
            return load(self, device, dtype)

        return telling

    for name in ("encoder", "decoder"):
        load = getattr(SaeReader, f"load_{name}")
        monkeypatch.setattr(SaeReader, f"load_{name}", told(name, load))
    for layer, halves in zip([4, 3, 0], found.stream_halves([4, 3, 0]), strict=True):
        assert (halves.layer, halves.d_sae) == (layer, 20)
        encoder = halves.encoder()
        for field in ("w_enc", "b_enc", "threshold"):
            assert torch.equal(getattr(encoder, field), getattr(made[layer], field))
        assert torch.equal(halves.decoder(), made[layer].w_dec)
        if layer == 4:
            assert not begun[3, "encoder"].is_set(), "nothing was dropped yet"
        halves.drop_encoder()
        halves.drop_encoder()
        if layer == 4:
            assert begun[3, "encoder"].wait(PATIENCE_S), "not read while the decoder was used"
            assert not begun[3, "decoder"].is_set(), "three halves"
        if layer == 3:
            halves.drop_decoder()
            assert begun[0, "encoder"].wait(PATIENCE_S)
    assert list(found.stream_halves([])) == []


@pytest.mark.parametrize("kind", ["stream", "stream_halves"])
def test_a_stream_that_is_left_early_leaves_no_thread(kind, tmp_path):
    write_saes(tmp_path, range(4))
    stream = getattr(open_dictionaries(tmp_path), kind)(range(4))
    next(stream)
    stream.close()
    assert not [each for each in threading.enumerate() if each.name.startswith("sae-stream")]


def test_a_damaged_file_in_a_stream_is_that_layers_error(tmp_path):
    write_saes(tmp_path)
    found = open_dictionaries(tmp_path)
    made = make_sae(1)
    made.w_dec[3, 3] = float("nan")
    save_sae(made, tmp_path / "layer_1")
    found = open_dictionaries(tmp_path)
    stream = found.stream()
    assert next(stream).layer == 0
    with pytest.raises(CorruptArtifact, match=r"layer_1.*'W_dec' holds NaN"):
        next(stream)
    for halves in found.stream_halves([1]):
        assert halves.encoder().layer == 1
        with pytest.raises(CorruptArtifact, match=r"layer_1.*'W_dec' holds NaN"):
            halves.decoder()

"""Chosen rows in a folder of their own: the same numbers, made once, of those files only."""

import errno

import pytest
import torch

from glassbox.errors import CorruptArtifact, NoDiskSpace, UnknownName
from glassbox.pathways.latents import LatentId
from glassbox.pathways.saes.dictionaries import open_dictionaries
from glassbox.pathways.saes.readers.reader import SaeReader
from glassbox.pathways.saes.row_bank import RowBank
from glassbox.pathways.saes.writing import save_sae
from tests.pathways.saes.making import make_sae, write_saes

LATENTS = [LatentId(2, 7), LatentId(0, 3), LatentId(2, 1), LatentId(2, 7)]


def build(tmp_path, latents=LATENTS, **options):
    return RowBank.build(
        tmp_path / "bank", open_dictionaries(tmp_path / "saes"), latents, **options
    )


def test_rows_are_those_of_the_dictionaries(tmp_path):
    made = write_saes(tmp_path / "saes")
    bank = build(tmp_path)
    assert bank.layers == (0, 2)
    assert bank.latents == (LatentId(0, 3), LatentId(2, 1), LatentId(2, 7))
    for layer, rows in bank.all_rows().items():
        whole = made[layer].rows(rows.indices)
        for field in ("indices", "w_enc", "b_enc", "w_dec", "threshold"):
            assert torch.equal(getattr(rows, field), getattr(whole, field))


def test_topk_keeps_its_k(tmp_path):
    write_saes(tmp_path / "saes", k=3, threshold=0.0)
    assert build(tmp_path).rows(2).k == 3


def test_a_number_format_may_be_chosen_and_thresholds_stay_exact(tmp_path):
    made = write_saes(tmp_path / "saes")
    rows = build(tmp_path, dtype=torch.bfloat16).rows(2)
    assert rows.w_enc.dtype == torch.bfloat16
    assert torch.equal(rows.w_enc, made[2].w_enc[[1, 7]].bfloat16())
    assert torch.equal(rows.threshold, made[2].threshold[[1, 7]])


def test_a_finished_bank_is_not_made_again(tmp_path, monkeypatch):
    write_saes(tmp_path / "saes")
    build(tmp_path)

    def fail(*_):
        pytest.fail("rows were read again")

    monkeypatch.setattr(SaeReader, "read_rows", fail)
    assert build(tmp_path, list(reversed(LATENTS))).layers == (0, 2)


@pytest.mark.parametrize("change", ["latents", "files", "dtype"])
def test_a_bank_of_anything_else_is_made_anew(tmp_path, change):
    write_saes(tmp_path / "saes")
    old = build(tmp_path).rows(2)
    if change == "latents":
        assert build(tmp_path, [LatentId(2, 5)]).rows(2).indices.tolist() == [5]
    elif change == "files":
        save_sae(make_sae(2, seed=4), tmp_path / "saes" / "layer_2")
        assert not torch.equal(build(tmp_path).rows(2).w_enc, old.w_enc)
    else:
        assert build(tmp_path, dtype=torch.float16).rows(2).w_enc.dtype == torch.float16


def test_a_bank_knows_what_it_was_made_of(tmp_path):
    write_saes(tmp_path / "saes")
    bank = build(tmp_path)
    assert bank.source_digest(2) == open_dictionaries(tmp_path / "saes").reader(2).source.digest


def test_an_unfinished_bank_is_none(tmp_path, monkeypatch):
    write_saes(tmp_path / "saes")

    def full(*_):
        raise NoDiskSpace("No space left")

    with monkeypatch.context() as patched:
        patched.setattr("glassbox.pathways.saes.row_bank.write_json", full)
        with pytest.raises(NoDiskSpace, match="No space"):
            build(tmp_path)
    with pytest.raises(CorruptArtifact, match="the file is missing"):
        RowBank(tmp_path / "bank")
    assert build(tmp_path).layers == (0, 2)


def test_a_full_disk_says_so_and_leaves_no_bank(tmp_path, monkeypatch):
    write_saes(tmp_path / "saes")

    def full(_):
        raise OSError(errno.ENOSPC, "no space")

    with monkeypatch.context() as patched:
        patched.setattr("os.fsync", full)
        with pytest.raises(NoDiskSpace, match="No space left to write"):
            build(tmp_path)
    assert build(tmp_path).layers == (0, 2)


def test_a_damaged_bank_is_refused(tmp_path):
    write_saes(tmp_path / "saes")
    bank = build(tmp_path)
    path = tmp_path / "bank" / "layer_2.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[:-10])
    with pytest.raises(CorruptArtifact, match="damaged or missing"):
        bank.rows(2)
    path.write_bytes((tmp_path / "bank" / "layer_0.safetensors").read_bytes())
    with pytest.raises(CorruptArtifact, match="other latents"):
        bank.rows(2)
    with pytest.raises(UnknownName, match="No rows of layer '5'"):
        bank.rows(5)

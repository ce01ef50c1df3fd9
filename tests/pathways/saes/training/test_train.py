import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from glassbox.engine.states.taps import Taps
from glassbox.errors import (
    ConflictError,
    CorruptArtifact,
    InvalidHookPoint,
    InvalidValue,
    NotEnoughData,
)
from glassbox.pathways.saes.dictionaries import open_dictionaries
from glassbox.pathways.saes.training import train
from glassbox.pathways.saes.training.metrics import measure_saes
from glassbox.pathways.saes.training.recipe import SaeRecipe
from glassbox.pathways.saes.training.residuals import Documents, read_residuals
from glassbox.pathways.saes.training.train import train_saes
from glassbox.testing import tiny_engine, tiny_sae

RECIPE = SaeRecipe(
    d_sae=24, k=4, n_tokens=1600, batch_tokens=40, chunk_tokens=200, eval_tokens=100,
    max_length=20, dead_after_tokens=200,
)  # fmt: skip


@pytest.fixture(scope="module")
def engine():
    return tiny_engine()


def _documents(n=60, seed=0):
    rng = np.random.default_rng(seed)
    return [(0, *rng.integers(2, 290, rng.integers(1, 30)).tolist()) for _ in range(n)]


def _files(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.suffix == ".safetensors" or path.name == "cfg.json"
    }


def test_a_killed_training_goes_on_and_ends_with_the_same_bits(engine, tmp_path, monkeypatch):
    whole = train_saes(engine, _documents(), tmp_path / "whole", RECIPE)
    monkeypatch.setattr(train, "CHECKPOINT_S", 0.0)

    class Stop(Exception):
        """The power goes."""

    calls = []

    def stop(_point, step, _n_steps):
        calls.append(step)
        if len(calls) in (2, 5):
            raise Stop

    for _ in range(2):
        with pytest.raises(Stop, match=r"^$"):
            train_saes(engine, _documents(), tmp_path / "killed", RECIPE, progress=stop)
    resumed = train_saes(engine, _documents(), tmp_path / "killed", RECIPE, progress=stop)
    assert calls == sorted(set(calls))
    assert calls[-1] == RECIPE.n_steps
    assert _files(tmp_path / "killed") == _files(tmp_path / "whole")
    assert resumed.metrics == whole.metrics
    assert [each["loss"] for each in resumed.curve] == [each["loss"] for each in whole.curve]
    again = train_saes(engine, _documents(), tmp_path / "killed", RECIPE)
    assert again.metrics == whole.metrics


def test_a_kill_after_the_last_step_costs_no_step(engine, tmp_path, monkeypatch):
    def no_room(*_args, **_kwargs):
        raise ConflictError("stopped here")

    with monkeypatch.context() as patched:
        patched.setattr(train, "measure_saes", no_room)
        with pytest.raises(ConflictError, match="stopped here"):
            train_saes(engine, _documents(), tmp_path / "killed", RECIPE, layers=(1,))
    done = train_saes(engine, _documents(), tmp_path / "killed", RECIPE, layers=(1,))
    whole = train_saes(engine, _documents(), tmp_path / "whole", RECIPE, layers=(1,))
    assert done.metrics == whole.metrics
    assert _files(tmp_path / "killed") == _files(tmp_path / "whole")


def test_what_is_written_is_read_as_saes_of_their_layers(engine, tmp_path):
    trained = train_saes(engine, _documents(), tmp_path, RECIPE, dtype=torch.bfloat16)
    dictionaries = open_dictionaries(tmp_path)
    assert dictionaries.layers == (0, 1)
    sae = dictionaries.load(1)
    assert (sae.d_sae, sae.d_in) == (24, engine.info.d_model)
    assert sae.source.architecture == "jumprelu"
    assert sae.source.expected_l0 == 4
    record = json.loads((tmp_path / "training.json").read_text())
    assert [each["layer"] for each in record["metrics"]] == [0, 1]
    assert trained.metrics[1].l0 == pytest.approx(4, abs=2)
    assert not (tmp_path / "training.safetensors").exists()


def test_another_recipe_in_the_same_folder_is_refused(engine, tmp_path, monkeypatch):
    def stop(*_args):
        raise KeyboardInterrupt

    monkeypatch.setattr(train, "CHECKPOINT_S", 0.0)
    with pytest.raises(KeyboardInterrupt, match=r"^$"):
        train_saes(engine, _documents(), tmp_path, RECIPE, progress=stop)
    with pytest.raises(ConflictError, match="another model, other texts or another recipe"):
        train_saes(engine, _documents(), tmp_path, replace(RECIPE, k=5))
    with pytest.raises(ConflictError, match="another model, other texts or another recipe"):
        train_saes(engine, _documents(seed=1), tmp_path, RECIPE)
    state = tmp_path / "training.safetensors"
    state.write_bytes(state.read_bytes()[:200])
    with pytest.raises(CorruptArtifact, match="the state of a training is damaged"):
        train_saes(engine, _documents(), tmp_path, RECIPE)


def test_the_saes_of_another_training_are_not_written_over(engine, tmp_path):
    train_saes(engine, _documents(), tmp_path, RECIPE)
    before = _files(tmp_path)
    for recipe, documents, layers in (
        (replace(RECIPE, seed=9), _documents(), ()),
        (RECIPE, _documents(seed=1), ()),
        (RECIPE, _documents(), (0,)),
    ):
        with pytest.raises(ConflictError, match="holds the SAEs of a training with another"):
            train_saes(engine, documents, tmp_path, recipe, layers=layers)
    assert _files(tmp_path) == before


def test_impossible_recipes_layers_and_texts_are_refused(engine, tmp_path):
    for name, value in {"k": 24, "d_sae": 1, "learning_rate": 0.0, "chunk_tokens": 10}.items():
        with pytest.raises(InvalidValue, match=name):
            train_saes(engine, _documents(), tmp_path, replace(RECIPE, **{name: value}))
    with pytest.raises(InvalidHookPoint, match="the model has 0 to 1"):
        train_saes(engine, _documents(), tmp_path, RECIPE, layers=(2,))
    with pytest.raises(NotEnoughData, match=r"tokens; there are .*lower batch_tokens \(--batch\)"):
        train_saes(engine, _documents(2), tmp_path, RECIPE)


def test_chunks_hold_every_training_document_once_an_epoch_and_begin_anywhere():
    documents = Documents(_documents(), RECIPE, special_ids=[0, 1])
    chunks = documents.chunks(0)
    first = [next(chunks) for _ in range(12)]
    again = documents.chunks(7)
    assert [number for number, _ in first] == list(range(12))
    for (number, which), (other, same) in zip(first[7:], again, strict=False):
        assert number == other
        assert which.tolist() == same.tolist()
    seen = []
    for _, which in first:
        seen += which.tolist()
        if len(seen) >= 60 - len(documents.held_out):
            break
    assert sorted((*seen, *documents.held_out.tolist())) == list(range(60))


def test_residuals_are_the_librarys_own_without_beginnings_and_special_tokens(engine):
    rows = [(0, 5, 6, 7), (0, 9, 1, 11, 12, 13)]
    documents = Documents(rows * 20, RECIPE, special_ids=[0, 1])
    with engine.lend(lease_s=60) as lent:
        batches = list(documents.batches(np.array([0, 1])))
        found = read_residuals(lent.model, Taps(lent.model), iter(batches), (0,))[0]
        expected = []
        for row, places in ((rows[0], [1, 2, 3]), (rows[1], [1, 3, 4, 5])):
            with torch.inference_mode():
                states = lent.model(
                    input_ids=torch.tensor([row]), output_hidden_states=True
                ).hidden_states
            expected.append(states[1][0][places])
    torch.testing.assert_close(found, torch.cat(expected), atol=1e-4, rtol=1e-4)


def test_a_perfect_sae_changes_nothing_and_a_mute_one_is_the_mean(engine):
    # Two latents a dimension, one for each sign, rebuild any residual.
    basis = torch.cat([torch.eye(32), -torch.eye(32)])
    perfect = replace(
        tiny_sae(1), w_enc=basis, b_enc=torch.zeros(64), w_dec=basis, b_dec=torch.zeros(32),
        threshold=torch.zeros(64),
    )  # fmt: skip
    documents = Documents(_documents(), RECIPE, special_ids=[0, 1])
    with engine.lend(lease_s=60) as lent:
        taps = Taps(lent.model)
        batches = list(documents.batches(documents.held_out))
        x = read_residuals(lent.model, taps, iter(batches), (1,))
        mute = replace(perfect, threshold=torch.full((64,), 1e9), b_dec=x[1].mean(0))
        good, bad = (
            measure_saes(lent.model, taps, batches, {1: each}, x)[0] for each in (perfect, mute)
        )
    assert good.explained_variance == pytest.approx(1)
    assert good.cross_entropy == pytest.approx(good.cross_entropy_clean, abs=1e-3)
    assert good.l0 == pytest.approx(32, abs=0.1)
    assert bad.explained_variance == pytest.approx(0, abs=1e-3)
    assert bad.cross_entropy == pytest.approx(bad.cross_entropy_mean, abs=1e-3)
    assert (bad.l0, bad.dead_share) == (0, 1)
    assert good.cross_entropy_clean == bad.cross_entropy_clean

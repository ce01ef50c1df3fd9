import numpy as np
import pytest
import torch

from glassbox.errors import (
    AdapterMismatch,
    CorruptArtifact,
    InvalidValue,
    NonFiniteOutput,
    OutOfMemory,
    UnknownName,
)
from glassbox.pathways.corpus.activation_pass import read_activations
from glassbox.pathways.corpus.activations import load_activations
from glassbox.pathways.corpus.building import build_corpus
from glassbox.pathways.latents import LatentId
from glassbox.pathways.saes.sae import Sae, SaeSource
from glassbox.testing import tiny_engine
from tests.pathways.corpus.worlds import logged_texts, random_rows


@pytest.fixture(scope="module")
def world():
    engine = tiny_engine()
    with engine.lend(lease_s=60) as lent:
        corpus = build_corpus(
            logged_texts(40), engine.codec, context=64, special_ids=lent.tokenizer.all_special_ids
        )
        yield lent.model, corpus, {layer: random_rows(layer) for layer in range(2)}


def _one_document_at_a_time(model, corpus, rows):
    """The slow and obvious way, through the library's own hidden states and a hook at the end."""
    last = {}
    handle = model.model.layers[1].register_forward_hook(
        lambda _m, _i, out: last.update(x=out[0] if isinstance(out, tuple) else out)
    )
    found = {}
    for number in range(len(corpus)):
        with torch.inference_mode():
            ids = torch.tensor([corpus.token_ids(number)])
            states = model(input_ids=ids, output_hidden_states=True).hidden_states
        excluded = corpus.excluded(number)
        start = 0 if corpus.prompt_owner[number] == number else corpus.n_prompt[number]
        for layer, of_layer in rows.items():
            x = last["x"][0] if layer == 1 else states[layer + 1][0]
            z = x @ of_layer.w_enc.T + of_layer.b_enc
            for position in range(start, len(x)):
                for row, index in enumerate(of_layer.indices.tolist()):
                    value = float(z[position, row])
                    if position not in excluded and value > float(of_layer.threshold[row]):
                        found[number, position, LatentId(layer, index)] = value
    handle.remove()
    return found


def _as_dict(found):
    return {
        (int(d), int(p), found.latents[c]): float(v)
        for d, p, c, v in zip(
            found.document, found.position, found.latent, found.value, strict=True
        )
    }


def test_the_pass_finds_what_each_document_alone_shows(world):
    model, corpus, rows = world
    expected = _one_document_at_a_time(model, corpus, rows)
    found = _as_dict(read_activations(model, corpus, rows))
    assert len(expected) > 500
    assert found.keys() == expected.keys()
    assert max(abs(found[key] - expected[key]) for key in expected) < 1e-4


@pytest.mark.parametrize("batch_tokens", [1, 100, 997])
def test_batches_change_nothing(world, batch_tokens):
    model, corpus, rows = world
    whole = read_activations(model, corpus, rows)
    parts = read_activations(model, corpus, rows, batch_tokens=batch_tokens)
    for name in ("document", "position", "latent"):
        assert np.array_equal(getattr(whole, name), getattr(parts, name))
    assert np.allclose(whole.value, parts.value, atol=1e-5)


def test_entries_are_in_order_and_every_slice_is_where_it_is_said_to_be(world):
    model, corpus, rows = world
    found = read_activations(model, corpus, rows)
    keys = list(
        zip(found.document.tolist(), found.position.tolist(), found.latent.tolist(), strict=True)
    )
    assert keys == sorted(keys)
    for document in range(len(corpus)):
        assert (found.document[found.entries_in(document)] == document).all()
    assert sum(len(found.entries_of(c)) for c in range(len(found.latents))) == len(found)
    column = found.column(LatentId(1, 3))
    assert (found.latent[found.entries_of(column)] == column).all()
    with pytest.raises(UnknownName, match="L1-4"):
        found.column(LatentId(1, 4))


def test_a_file_gives_back_what_was_written(world, tmp_path):
    model, corpus, rows = world
    found = read_activations(model, corpus, rows, source_digest="abc")
    found.save(tmp_path / "a.safetensors")
    read = load_activations(tmp_path / "a.safetensors")
    assert _as_dict(read) == _as_dict(found)
    assert (read.corpus_digest, read.source_digest) == (corpus.digest, "abc")
    content = (tmp_path / "a.safetensors").read_bytes()
    for _ in range(8):
        read.save(tmp_path / "again.safetensors")
        assert (tmp_path / "again.safetensors").read_bytes() == content
    (tmp_path / "b.safetensors").write_bytes(content[: len(content) // 2])
    with pytest.raises(CorruptArtifact, match="not readable"):
        load_activations(tmp_path / "b.safetensors")
    with pytest.raises(CorruptArtifact, match="missing"):
        load_activations(tmp_path / "c.safetensors")


def test_top_k_needs_the_full_dictionary_and_uses_it(world):
    model, corpus, _ = world
    draw = torch.Generator().manual_seed(5)
    source = SaeSource("memory", "file", "", "", "topk", "")
    full = Sae(
        1,
        torch.randn(60, 32, generator=draw),
        torch.zeros(60),
        torch.randn(60, 32, generator=draw),
        torch.zeros(32),
        torch.zeros(60),
        source,
        k=5,
    )
    few = full.rows(torch.arange(0, 60, 3))
    with pytest.raises(InvalidValue, match=r"full\[1\]"):
        read_activations(model, corpus, {1: few})
    every = full.rows(torch.arange(60))
    all_of_them = _as_dict(read_activations(model, corpus, {1: every}, full={1: full}))
    tokens = {(document, position) for document, position, _ in all_of_them}
    assert len(all_of_them) == 5 * len(tokens)
    found = _as_dict(read_activations(model, corpus, {1: few}, full={1: full}))
    indices = set(few.indices.tolist())
    assert found.keys() == {key for key in all_of_them if key[2].index in indices}


def test_progress_and_an_empty_choice(world):
    model, corpus, rows = world
    seen = []
    read_activations(model, corpus, rows, batch_tokens=200, progress=lambda *x: seen.append(x))
    assert seen[-1] == (len(corpus), len(corpus))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert len(read_activations(model, corpus, {})) == 0


def test_out_of_memory_halves_the_batch(world, monkeypatch):
    model, corpus, rows = world
    whole = read_activations(model, corpus, rows)
    real, sizes = type(model.base_model).forward, []

    def small(self, input_ids, **options):
        sizes.append(len(input_ids))
        if len(input_ids) > limit and input_ids.shape[1] > 5:
            real(self, input_ids=input_ids, **options)
            raise torch.cuda.OutOfMemoryError("no room")
        return real(self, input_ids=input_ids, **options)

    limit = 3
    monkeypatch.setattr(type(model.base_model), "forward", small)
    parts = read_activations(model, corpus, rows)
    assert max(sizes) > limit
    assert _as_dict(parts).keys() == _as_dict(whole).keys()
    assert len(parts) == len(whole)
    limit = 0
    with pytest.raises(OutOfMemory, match=r"Document \d+ .* does not fit"):
        read_activations(model, corpus, rows)


def test_rows_that_do_not_fit_are_refused(world):
    model, corpus, rows = world
    with pytest.raises(AdapterMismatch, match="reads 16 dimensions"):
        read_activations(model, corpus, {0: random_rows(0, d_model=16)})
    with pytest.raises(InvalidValue, match=r"rows\[1\]"):
        read_activations(model, corpus, {1: rows[0]})
    broken = random_rows(0)
    broken.w_enc[0, 0] = torch.nan
    with pytest.raises(NonFiniteOutput, match="NaN or infinite"):
        read_activations(model, corpus, {0: broken})

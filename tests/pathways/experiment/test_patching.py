import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from glassbox.engine.states.taps import Taps
from glassbox.errors import OutOfMemory
from glassbox.pathways.experiment.clean_run import run_clean
from glassbox.pathways.experiment.layout import lay_out
from glassbox.pathways.experiment.means import read_latents
from glassbox.pathways.experiment.patching import PatchedRow, Sampling, answer_rows, sample
from glassbox.pathways.experiment.prompts import read_pairs
from glassbox.pathways.latents import LatentId
from glassbox.pathways.saes.dictionaries import open_dictionaries
from glassbox.pathways.saes.writing import save_sae
from glassbox.testing import tiny_engine, tiny_sae
from tests.pathways.experiment.worlds import write_pairs

END = frozenset({1})


def _world(tmp_path, places, architecture="llama", kind="jumprelu"):
    engine = tiny_engine(architecture)
    for layer in range(2):
        save_sae(tiny_sae(layer, kind=kind), tmp_path / "saes" / f"layer_{layer}")
    pairs = read_pairs(write_pairs(tmp_path / "prompts.jsonl", 3))
    tokens = engine.codec.encode([text for each in pairs for text in (each.safe, each.risky)])
    grid = lay_out(
        pairs, list(zip(tokens[::2], tokens[1::2], strict=True)), context=200, places=places
    )
    return engine, open_dictionaries(tmp_path / "saes"), grid


def _plain_logits(model, sae, index, tokens, wanted):
    """One prompt, no padding, no cache; the latent is set at its places inside the run."""

    def act(_module, _inputs, output):
        x = output[0] if isinstance(output, tuple) else output
        f = sae.encode(x)[..., index]
        delta = torch.zeros_like(f)
        for position, value in wanted.items():
            delta[0, position] = value - f[0, position]
        changed = x + delta[..., None] * sae.w_dec[index]
        return (changed, *output[1:]) if isinstance(output, tuple) else changed

    handle = model.get_submodule("model.layers")[sae.layer].register_forward_hook(act)
    with torch.inference_mode():
        logits = model(input_ids=torch.tensor([tokens])).logits[0, -1]
    handle.remove()
    return logits


@pytest.mark.parametrize("places", ["pair", "last"])
@pytest.mark.parametrize(
    ("architecture", "kind"), [("llama", "jumprelu"), ("mistral", "standard"), ("qwen3", "topk")]
)
def test_a_batch_of_patched_rows_equals_each_prompt_run_whole(tmp_path, places, architecture, kind):
    engine, dictionaries, grid = _world(tmp_path, places, architecture, kind)
    with engine.lend(lease_s=60) as lent:
        taps = Taps(lent.model)
        clean = run_clean(lent.model, taps, grid, (0, 1))
        readings = read_latents(
            clean, dictionaries, names=(), layers=(0, 1), per_layer=3,
            always=(LatentId(1, 5),),
        )  # fmt: skip
        rows = [
            PatchedRow(row, reading, value, 2.0, np.array([0.3]))
            for reading in readings
            for row in range(grid.n_prompts)
            for value in ("safe", "risky")
        ]
        found = answer_rows(lent.model, taps, clean, rows, Sampling(1.0, 1, END))
        for each, answer in zip(rows, found, strict=True):
            latent, means = each.reading.latent, each.reading.means[each.value]
            present = grid.present[each.row]
            tokens = grid.tokens[each.row][present].tolist()
            places_of = grid.span[each.row][present].nonzero().flatten().tolist()
            wanted = {position: 2.0 * means.span for position in places_of}
            wanted[len(tokens) - 1] = 2.0 * means.last
            sae = dictionaries.load(latent.layer)
            expected = _plain_logits(lent.model, sae, latent.index, tokens, wanted)
            torch.testing.assert_close(answer.logits, expected, atol=2e-3, rtol=1e-3)
    assert LatentId(1, 5) in [each.latent for each in readings]


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory."), MemoryError()], ids=["cuda", "host"]
)
def test_out_of_memory_halves_the_clean_pass_and_changes_nothing(tmp_path, monkeypatch, error):
    engine, _, grid = _world(tmp_path, "pair")
    width, sizes = grid.tokens.shape[1], []
    with engine.lend(lease_s=60) as lent:
        taps, forward = Taps(lent.model), type(lent.model).forward
        whole = run_clean(lent.model, taps, grid, (0, 1))

        def cramped(self, input_ids, **options):
            sizes.append(len(input_ids))
            # Memory ends behind the blocks: what the taps saw of them they have seen.
            found = forward(self, input_ids=input_ids, **options)
            if input_ids.numel() > most:
                raise error
            return found

        monkeypatch.setattr(type(lent.model), "forward", cramped)
        most = width * (grid.n_prompts - 1)
        halved = run_clean(lent.model, taps, grid, (0, 1))
        most = width
        single = run_clean(lent.model, taps, grid, (0, 1))
        assert set(sizes) == {1, 2, 3, grid.n_prompts}
        most = width - 1
        with pytest.raises(OutOfMemory, match="One prompt of the experiment does not fit"):
            run_clean(lent.model, taps, grid, (0, 1))
    for part in (halved, single):
        torch.testing.assert_close(part.logits, whole.logits, atol=1e-5, rtol=0)
        for layer in (0, 1):
            kept, all_of = part.residuals[layer], whole.residuals[layer]
            torch.testing.assert_close(kept, all_of, atol=1e-5, rtol=0)
        rows = torch.arange(grid.n_prompts)
        caches = [each.cache_of(rows, grid.first_patched) for each in (part, whole)]
        for mine, its in zip(*(each.layers for each in caches), strict=True):
            torch.testing.assert_close(mine.keys, its.keys, atol=1e-5, rtol=0)
            torch.testing.assert_close(mine.values, its.values, atol=1e-5, rtol=0)


def test_means_are_those_of_the_places(tmp_path):
    engine, dictionaries, grid = _world(tmp_path, "pair")
    with engine.lend(lease_s=60) as lent:
        clean = run_clean(lent.model, Taps(lent.model), grid, (1,))
        (reading,) = read_latents(
            clean, dictionaries, names=(LatentId(1, 7),), layers=(0, 1), per_layer=3
        )
        sae = dictionaries.load(1)
        inside, last = [], []
        for pair in range(3):
            row = grid.row(pair, "risky")
            tokens = grid.tokens[row][grid.present[row]].tolist()
            seen = []
            handle = lent.model.model.layers[1].register_forward_hook(
                lambda _m, _i, out, seen=seen: seen.append(out)
            )
            with torch.inference_mode():
                lent.model(input_ids=torch.tensor([tokens]))
            handle.remove()
            f = sae.encode(seen[0][0])[:, 7]
            places = grid.span[row][grid.present[row]]
            inside += f[places].tolist()
            last.append(float(f[-1]))
    assert reading.means["risky"].span == pytest.approx(np.mean(inside), abs=1e-4)
    assert reading.means["risky"].last == pytest.approx(np.mean(last), abs=1e-4)


def test_longer_answers_do_not_depend_on_who_else_is_in_the_batch(tmp_path):
    engine, dictionaries, grid = _world(tmp_path, "pair")
    rng = np.random.default_rng(0)
    with engine.lend(lease_s=60) as lent:
        taps = Taps(lent.model)
        clean = run_clean(lent.model, taps, grid, (0, 1))
        readings = read_latents(clean, dictionaries, names=(), layers=(0, 1), per_layer=2)
        rows = [
            PatchedRow(row, reading, "safe", 1.0, rng.random(5))
            for reading in readings
            for row in range(grid.n_prompts)
        ]
        # A quarter of the vocabulary ends an answer, so that rows leave the batch at every step.
        sampling = Sampling(1.0, 5, frozenset(range(0, 300, 4)))
        whole = answer_rows(lent.model, taps, clean, rows, sampling)
        alone = [answer_rows(lent.model, taps, clean, [each], sampling)[0].tokens for each in rows]
        assert [each.tokens for each in whole] == alone
        assert len({len(each) for each in alone}) > 1
        unpatched = [PatchedRow(each.row, None, None, 1.0, each.draws) for each in rows]
        written = answer_rows(lent.model, taps, clean, unpatched, sampling)
        for each, answer in zip(unpatched, written, strict=True):
            tokens = grid.tokens[each.row][grid.present[each.row]].tolist()
            for token, draw in zip(answer.tokens, each.draws, strict=False):
                with torch.inference_mode():
                    logits = lent.model(input_ids=torch.tensor([tokens])).logits[:, -1]
                assert sample(logits, np.array([draw]), 1.0) == [token]
                tokens.append(token)


@given(st.integers(0, 1000), st.floats(0.2, 3.0))
def test_sampled_tokens_follow_the_probabilities(seed, temperature):
    rng = np.random.default_rng(seed)
    logits = torch.from_numpy(rng.normal(size=5) * 2)
    draws = (np.arange(2000) + 0.5) / 2000
    found = sample(logits.expand(2000, 5), draws, temperature)
    counts = np.bincount(found, minlength=5) / 2000
    expected = (logits / temperature).softmax(0).numpy()
    assert np.abs(counts - expected).max() < 2e-3


@given(st.floats(0.01, 0.99), st.floats(0.01, 0.99), st.integers(0, 100))
def test_the_same_draws_part_only_where_the_probability_has_moved(before, after, seed):
    draws = np.random.default_rng(seed).random(400)

    def chosen(p):
        return np.array(sample(torch.tensor([[p, 1 - p]]).log().expand(400, 2), draws, 1.0))

    differs = (chosen(before) != chosen(after)).mean()
    expected = ((draws >= min(before, after) - 1e-6) & (draws <= max(before, after) + 1e-6)).mean()
    assert differs == pytest.approx(expected, abs=0.01)

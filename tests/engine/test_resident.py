import random

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from glassbox.engine import resident
from glassbox.engine.model.load import load_model
from glassbox.engine.resident import ResidentEngine, load_engine
from glassbox.engine.scoring import scorer
from glassbox.errors import InvalidValue, NonFiniteOutput, OutOfMemory
from glassbox.testing import tiny_engine, tiny_loaded
from glassbox.types import ModelSpec

CONTINUATIONS = [(5,), (6, 7), (6, 7, 8), (6, 9), (6,)]
CLOSE = 1e-4


def prompts(n=12, n_prefix=20, seed=0):
    draw = random.Random(seed)
    prefix = tuple(draw.randrange(300) for _ in range(n_prefix))
    return [
        prefix + tuple(draw.randrange(300) for _ in range(draw.randint(1, 25))) for _ in range(n)
    ]


@pytest.fixture(scope="module")
def engine():
    return tiny_engine()


@pytest.fixture(scope="module")
def expected(engine):
    return engine.logprobs(prompts(), CONTINUATIONS, top_k=4)


def assert_same(found, expected, atol=CLOSE):
    np.testing.assert_allclose(found.values, expected.values, atol=atol, rtol=0)
    np.testing.assert_allclose(found.top_logprobs, expected.top_logprobs, atol=atol, rtol=0)
    np.testing.assert_allclose(found.entropy, expected.entropy, atol=atol, rtol=0)
    np.testing.assert_array_equal(found.top_ids, expected.top_ids)


@settings(max_examples=20)
@given(budget=st.integers(1, 600), order=st.permutations(range(12)))
def test_neither_budget_nor_order_changes_an_answer(expected, budget, order):
    rows = prompts()
    small = ResidentEngine(tiny_loaded(), batch_tokens=budget)
    found = small.logprobs([rows[at] for at in order], CONTINUATIONS, top_k=4)
    back = np.argsort(order)
    np.testing.assert_allclose(found.values[back], expected.values, atol=CLOSE, rtol=0)
    np.testing.assert_allclose(found.entropy[back], expected.entropy, atol=CLOSE, rtol=0)
    np.testing.assert_array_equal(found.top_ids[back], expected.top_ids)


def test_a_batch_equals_its_rows_one_by_one(engine, expected):
    for row, prompt in enumerate(prompts()):
        alone = engine.logprobs([prompt], CONTINUATIONS, top_k=4)
        np.testing.assert_allclose(alone.values[0], expected.values[row], atol=CLOSE, rtol=0)
        np.testing.assert_array_equal(alone.top_ids[0], expected.top_ids[row])


def test_the_plain_path_gives_the_same(expected, monkeypatch):
    monkeypatch.setattr(resident, "choose_path", lambda *_: ("plain", "asked for"))
    plain = tiny_engine(batch_tokens=200)
    assert plain.info.scoring_path == "plain"
    assert plain.info.remark.endswith("which is slower: asked for.")
    assert_same(plain.logprobs(prompts(), CONTINUATIONS, top_k=4), expected)


def test_a_prefix_hit_gives_the_same_bits_as_a_miss(monkeypatch):
    computed = []
    original = scorer.prefix_states

    def counting(model, tokens):
        computed.append(tokens)
        return original(model, tokens)

    monkeypatch.setattr(scorer, "prefix_states", counting)
    fresh = tiny_engine()
    first = fresh.logprobs(prompts(), CONTINUATIONS, top_k=4)
    assert len(computed) == 1
    second = fresh.logprobs(prompts(), CONTINUATIONS, top_k=4)
    assert len(computed) == 1
    assert_same(second, first, atol=0)
    uncached = tiny_engine(prefix_cache_bytes=0)
    assert_same(uncached.logprobs(prompts(), CONTINUATIONS, top_k=4), first, atol=0)
    assert uncached.prefixes.n_bytes == 0


def test_equal_prompts_are_computed_once(engine, monkeypatch):
    fed = []
    original = scorer.read_logits

    def counting(model, chosen, *args, **options):
        fed.extend(chosen)
        return original(model, chosen, *args, **options)

    monkeypatch.setattr(scorer, "read_logits", counting)
    rows = prompts(3)
    done = []
    found = engine.logprobs(
        [rows[0], rows[1], rows[0], rows[2], rows[0]],
        CONTINUATIONS,
        progress=lambda n, total: done.append((n, total)),
    )
    assert sorted(fed) == sorted(rows)
    np.testing.assert_array_equal(found.values[0], found.values[2])
    np.testing.assert_array_equal(found.values[0], found.values[4])
    assert done[-1] == (5, 5)


def test_entropy_and_top_tokens_are_those_of_the_library(engine, expected):
    loaded = tiny_loaded()
    row = prompts()[0]
    with torch.inference_mode():
        last = loaded.model(torch.tensor([row])).logits[0, -1].log_softmax(-1)
    assert expected.entropy[0] == pytest.approx(-(last.exp() * last).sum().item(), abs=CLOSE)
    top = last.topk(4)
    np.testing.assert_array_equal(expected.top_ids[0], top.indices)
    np.testing.assert_allclose(expected.top_logprobs[0], top.values, atol=CLOSE)
    assert engine.info.d_vocab == len(last)


@pytest.mark.parametrize(
    ("rows", "continuations", "options", "match"),
    [
        ([(1,), ()], [(1,)], {}, "prompt 1 is"),
        ([(1, 9999)], [(1,)], {}, "token ids is"),
        ([(1,)], [(-1,)], {}, "token ids is"),
        ([(1,)], [(1,), (1,)], {}, "distinct"),
        ([(1,)], [(1,)], {"top_k": -1}, "top_k is -1"),
    ],
)
def test_unusable_requests_are_refused(engine, rows, continuations, options, match):
    with pytest.raises(InvalidValue, match=match):
        engine.logprobs(rows, continuations, **options)


def test_nan_from_the_model_is_an_error_not_an_answer():
    loaded = tiny_loaded()
    engine = ResidentEngine(loaded)
    with torch.no_grad():
        loaded.model.get_input_embeddings().weight[7] = float("nan")
    assert np.isfinite(engine.logprobs([(5, 6)], [(1,)]).values).all()
    with pytest.raises(NonFiniteOutput, match="float32"):
        engine.logprobs([(5, 7)], [(1,)])


def fail_above(limit, error):
    original = scorer.read_logits

    def bounded(model, chosen, *args, **options):
        if len(chosen) > limit:
            raise error
        return original(model, chosen, *args, **options)

    return bounded


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes"),
    ],
)
def test_a_batch_that_does_not_fit_is_halved(engine, expected, monkeypatch, error):
    monkeypatch.setattr(scorer, "read_logits", fail_above(2, error))
    assert_same(engine.logprobs(prompts(), CONTINUATIONS, top_k=4), expected)
    monkeypatch.setattr(scorer, "read_logits", fail_above(0, error))
    with pytest.raises(OutOfMemory, match="Not even one text"):
        engine.logprobs(prompts(), CONTINUATIONS)


def test_other_failures_of_the_library_come_through(engine, monkeypatch):
    monkeypatch.setattr(scorer, "read_logits", fail_above(0, RuntimeError("shape mismatch")))
    with pytest.raises(RuntimeError, match="shape mismatch"):
        engine.logprobs(prompts(), CONTINUATIONS)


def test_batch_tokens_must_be_positive():
    with pytest.raises(InvalidValue, match="batch_tokens is 0"):
        tiny_engine(batch_tokens=0)


@pytest.mark.data
def test_stories_tell_their_story(data_dir):
    folder = data_dir / "models" / "stories260K"
    loaded = load_model(ModelSpec(str(folder), dtype="float32", device="cpu"))
    story = (folder / "expected_greedy.txt").read_text()
    with torch.inference_mode():
        ids = loaded.model.generate(
            torch.tensor([[1]]), attention_mask=torch.ones(1, 1, dtype=torch.long),
            max_new_tokens=199, do_sample=False, pad_token_id=0,
        )  # fmt: skip
    told = loaded.tokenizer.decode(ids[0], skip_special_tokens=True).strip()
    assert told.startswith(story.strip()[:400])


@pytest.mark.data
def test_scoring_prefers_the_story_as_it_was_told(data_dir):
    folder = data_dir / "models" / "stories260K"
    engine = load_engine(ModelSpec(str(folder), dtype="float32", device="cpu"))
    assert engine.info.scoring_path == "packed"
    assert engine.info.n_parameters == 260032
    told = engine.codec.encode([(folder / "expected_greedy.txt").read_text()])[0]
    rows = [told[:end] for end in range(20, 60)]
    follow = [told[end] for end in range(20, 60)]
    found = engine.logprobs(rows, [(token,) for token in sorted(set(follow))], top_k=1)
    assert found.top_ids[:, 0].tolist() == follow


def test_an_adapter_of_the_spec_is_loaded(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(resident, "load_model", lambda _spec: tiny_loaded())
    monkeypatch.setattr(
        ResidentEngine, "load_adapter", lambda _self, folder, name=None: calls.append(folder)
    )
    load_engine(ModelSpec("tiny", adapter=str(tmp_path)), threads=1)
    assert calls == [tmp_path]

"""What every engine must do; run on the real one and on the fake."""

import numpy as np
import pytest
import torch

from glassbox.engine.protocol import AdapterRecipe, Engine, Example
from glassbox.engine.text_codec import TextCodec
from glassbox.errors import (
    CorruptArtifact,
    InvalidValue,
    NotEnoughData,
    TextTooLong,
    UnknownName,
)
from glassbox.testing import FakeEngine, tiny_engine

PROMPTS = [(0, 9, 8, 7, *range(20, 40), end, end + 1) for end in (3, 1, 2)] + [(5, 6), (0, 5)]
CONTINUATIONS = [(5,), (6, 7), (6, 7, 8), (6, 9), (6,)]
RECIPE = AdapterRecipe(rank=2, alpha=4, epochs=1, batch_size=4, learning_rate=1e-2)


def mean_nll(logprobs, targets):
    return torch.nn.functional.cross_entropy(logprobs, targets)


def examples(n):
    return [Example(prompt=(0, 10 + at % 3, 40 + at), target=at % 3) for at in range(n)]


@pytest.fixture(params=[tiny_engine, FakeEngine], ids=["resident", "fake"])
def engine(request):
    return request.param()


def test_it_has_the_engines_face(engine):
    assert isinstance(engine, Engine)
    assert isinstance(engine.codec, TextCodec)
    assert len(engine.info.digest) == 64
    assert engine.info.scoring_path in ("packed", "plain")


def test_shapes_and_dtypes(engine):
    answer = engine.logprobs(PROMPTS, CONTINUATIONS, top_k=3)
    assert answer.values.shape == (5, 5)
    assert answer.values.dtype == np.float32
    assert answer.top_ids.shape == answer.top_logprobs.shape == (5, 3)
    assert answer.entropy.shape == (5,)
    assert engine.logprobs(PROMPTS, CONTINUATIONS).top_ids.shape == (5, 0)
    assert engine.logprobs([], CONTINUATIONS).values.shape == (0, 5)


def test_the_answers_are_log_probabilities(engine):
    values = engine.logprobs(PROMPTS, CONTINUATIONS).values
    assert (values < 0).all()
    # Going on can only cost: (6, 7, 8) and (6, 9) both begin with 6.
    assert (values[:, 4] >= np.logaddexp(values[:, 1], values[:, 3])).all()
    assert (values[:, 1] > values[:, 2]).all()
    d_vocab = engine.info.d_vocab
    whole = engine.logprobs(PROMPTS[:1], [(token,) for token in range(d_vocab)], top_k=2)
    assert np.exp(whole.values.astype(float)).sum() == pytest.approx(1.0, abs=1e-4)
    entropy = -(np.exp(whole.values) * whole.values).sum()
    assert whole.entropy[0] == pytest.approx(entropy, abs=1e-3)
    assert whole.top_ids[0].tolist() == np.argsort(-whole.values[0])[:2].tolist()
    np.testing.assert_allclose(whole.top_logprobs[0], np.sort(whole.values[0])[::-1][:2], atol=1e-5)


def test_equal_calls_give_equal_bits(engine):
    first = engine.logprobs(PROMPTS, CONTINUATIONS, top_k=2)
    second = engine.logprobs(PROMPTS, CONTINUATIONS, top_k=2)
    np.testing.assert_array_equal(first.values, second.values)
    np.testing.assert_array_equal(first.entropy, second.entropy)


def test_neighbours_and_order_change_nothing(engine):
    whole = engine.logprobs(PROMPTS, CONTINUATIONS).values
    turned = engine.logprobs(PROMPTS[::-1], CONTINUATIONS[::-1]).values[::-1, ::-1]
    np.testing.assert_allclose(turned, whole, atol=1e-4)
    for row, prompt in enumerate(PROMPTS):
        alone = engine.logprobs([prompt], CONTINUATIONS).values
        np.testing.assert_allclose(alone[0], whole[row], atol=1e-4)


def test_progress_ends_with_all_rows(engine):
    seen = []
    engine.logprobs(PROMPTS, CONTINUATIONS, progress=lambda done, n: seen.append((done, n)))
    assert seen == sorted(seen)
    assert seen[-1] == (5, 5)


def test_a_prompt_over_the_context_is_refused(engine):
    room = engine.info.context - 3
    long = tuple(3 for _ in range(room + 1))
    engine.logprobs([long[:room]], CONTINUATIONS)
    with pytest.raises(TextTooLong, match=f"{room + 1} tokens") as caught:
        engine.logprobs([(1,), long], CONTINUATIONS)
    assert caught.value.limit == room


def test_unusable_requests_are_refused(engine):
    for prompts, continuations in ([[()], [(1,)]], [[(1,)], [()]], [[(1,)], [(1,), (1,)]]):
        with pytest.raises(InvalidValue):
            engine.logprobs(prompts, continuations)


def test_an_unknown_adapter_is_never_the_base_model(engine):
    with pytest.raises(UnknownName, match="No adapter 'tuned'"):
        engine.logprobs(PROMPTS, CONTINUATIONS, adapter="tuned")


def test_a_fitted_adapter_answers_differently_and_the_base_model_as_before(engine, tmp_path):
    before = engine.logprobs(PROMPTS, CONTINUATIONS).values
    points = []
    fit = engine.fit_adapter(
        examples(24), examples(6), CONTINUATIONS[:3], mean_nll, tmp_path / "adapter", RECIPE,
        progress=lambda point, done, n: points.append((point, done, n)),
    )  # fmt: skip
    assert fit.curve
    assert points[-1][1] <= points[-1][2]
    name = engine.load_adapter(fit.folder)
    tuned = engine.logprobs(PROMPTS, CONTINUATIONS, adapter=name).values
    assert not np.allclose(tuned, before, atol=1e-4)
    np.testing.assert_array_equal(engine.logprobs(PROMPTS, CONTINUATIONS).values, before)
    named = engine.load_adapter(fit.folder, name="mine")
    assert named == "mine"
    again = engine.logprobs(PROMPTS, CONTINUATIONS, adapter="mine").values
    np.testing.assert_allclose(again, tuned, atol=1e-5)


@pytest.mark.parametrize(("train", "validation"), [(0, 3), (3, 0)])
def test_a_fit_without_examples_is_refused(engine, tmp_path, train, validation):
    with pytest.raises(NotEnoughData):
        engine.fit_adapter(
            examples(train), examples(validation), CONTINUATIONS[:3], mean_nll, tmp_path, RECIPE
        )


def test_a_folder_that_is_no_adapter(engine, tmp_path):
    with pytest.raises(CorruptArtifact):
        engine.load_adapter(tmp_path)

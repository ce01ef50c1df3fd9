"""What stands for a text in the records: small numbers that move when the texts do."""

import numpy as np
import pytest

from glassbox.errors import InvalidValue
from glassbox.rollout.drift.summaries import (
    N_DIRECTIONS,
    AllSummaries,
    StateSummaries,
    TextSummaries,
    group_of,
    state_directions,
)
from glassbox.testing.fake import FakeEngine

TEXTS = ["A room with a view.", "Good", "", "zażółć gęślą jaźń", "A room with a view."]


def test_a_text_becomes_numbers_and_the_same_text_the_same_numbers() -> None:
    engine = FakeEngine()
    found = TextSummaries(engine.codec, engine.info.d_vocab).summaries(TEXTS)
    assert found[0] == found[4]
    assert found[0]["n_chars"] == 19
    ids = engine.codec.encode([TEXTS[0]], special=False, literal=True)[0]
    assert found[0]["n_tokens"] == len(ids)
    assert sum(found[0][f"tokens_{index}"] for index in range(8)) == pytest.approx(1)
    assert found[2]["n_tokens"] == found[2]["chars_per_token"] == 0
    assert all(np.isfinite(list(each.values())).all() for each in found)
    assert all(group_of(name) == "text" for name in found[0])


def test_an_unknown_token_is_found_where_the_tokenizer_has_one() -> None:
    class Words:
        before_answer = ""

        def encode(self, texts, *, special=True, literal=False):
            return [tuple(1 if w in ("a", "room") else 0 for w in t.split()) for t in texts]

        def decode(self, ids):
            return ""

        continuation = chat = dialogue = encode_continuations = token = decode
        has_chat_template = False

    found = TextSummaries(Words(), 2).summaries(["a room", "a fnord", "gnu fnord"])
    assert [each["unknown_share"] for each in found] == [0, 0.5, 1]
    engine = FakeEngine()
    (known,) = TextSummaries(engine.codec, engine.info.d_vocab).summaries(["\ue0f3"])
    assert known["unknown_share"] == 0


def test_states_are_read_along_fixed_directions_of_a_fixed_share_of_texts() -> None:
    engine = FakeEngine()

    def prompt(text: str):
        return tuple(engine.codec.encode([f"Q: {text}"])[0])

    whole = StateSummaries(engine, prompt, share=1.0).summaries(TEXTS)
    assert whole[0] == whole[4]
    assert set(whole[0]) == {f"state_{index}" for index in range(N_DIRECTIONS)}
    assert whole[0] != whole[1]
    many = [f"text {number}" for number in range(400)]
    some = StateSummaries(engine, prompt, share=0.1).summaries(many)
    assert 20 <= sum(bool(each) for each in some) <= 60
    again = StateSummaries(engine, prompt, share=0.1).summaries(many[::-1])
    assert again == some[::-1]
    assert not any(StateSummaries(engine, prompt, share=0.0).summaries(many))
    with pytest.raises(InvalidValue, match="share is 2"):
        StateSummaries(engine, prompt, share=2)


def test_the_reading_is_the_product_with_the_mean_state() -> None:
    from glassbox.engine.requests import Request
    from glassbox.engine.resident import load_engine
    from glassbox.types import Capture, HookPoint, ModelSpec

    engine = load_engine(ModelSpec("tiny"))
    try:
        ids = tuple(engine.codec.encode(["The room was clean."])[0])
        (found,) = StateSummaries(engine, lambda _text: ids, share=1.0).summaries(["x"])
        last = HookPoint(engine.info.n_layers - 1)
        capture = Capture((last,), pooling=("mean",), scope="prompt")
        state = engine.submit(Request(ids, response=(), capture=capture)).result().states[0].mean
        assert state is not None
        directions = state_directions(engine.info.digest, engine.info.d_model)
        np.testing.assert_allclose(
            [found[f"state_{index}"] for index in range(N_DIRECTIONS)],
            directions @ state,
            rtol=1e-3,
            atol=1e-3,
        )
    finally:
        engine.close()


def test_directions_belong_to_a_model_and_are_about_one_long() -> None:
    one, same, other = (state_directions(digest, 400) for digest in ("a", "a", "b"))
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()
    np.testing.assert_allclose(np.linalg.norm(one, axis=1), 1, atol=0.2)


def test_summaries_of_several_kinds_stand_side_by_side() -> None:
    engine = FakeEngine()
    text = TextSummaries(engine.codec, engine.info.d_vocab)
    state = StateSummaries(
        engine, lambda each: tuple(engine.codec.encode([f"Q {each}"])[0]), share=1.0
    )
    (found,) = AllSummaries(text, state).summaries(["Good"])
    assert {"n_tokens", "state_0"} <= set(found)
    assert group_of("state_0") == "state"
    assert group_of("label_mass") == "other"

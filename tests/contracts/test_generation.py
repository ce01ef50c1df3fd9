"""What every engine must do when it writes and reads; run on the real one and on the fake."""

import threading

import numpy as np
import pytest

from glassbox.engine.requests import Readout, Request, Sampling
from glassbox.errors import InvalidHookPoint, InvalidValue, TextTooLong, UnknownName
from glassbox.testing import FakeEngine, tiny_engine
from glassbox.types import Capture, HookPoint
from tests.waiting import PATIENCE_S

PROMPT = (0, 9, 8, 7, 20, 21, 22)


@pytest.fixture(params=[tiny_engine, FakeEngine], ids=["resident", "fake"])
def engine(request):
    made = request.param()
    yield made
    made.close()


def sampling(**changes):
    return Sampling(**({"max_tokens": 6, "temperature": 0.0, "stop_at_end": False} | changes))


def readout(engine, layer=1):
    draw = np.random.default_rng(0)
    return Readout(
        "way", HookPoint(layer), draw.normal(size=engine.info.d_model).astype(np.float32), 0.5
    )


def test_a_written_response_has_a_reading_at_each_token(engine):
    answer = engine.generate([Request(PROMPT, sampling=sampling(top_logprobs=3))])[0]
    tokens = answer.tokens
    assert answer.finish_reason == "length"
    assert len(tokens.token_ids) == len(tokens.logprobs) == len(tokens.entropies) == 6
    assert tokens.top_ids.shape == tokens.top_logprobs.shape == (6, 3)
    # Greedy: the token is the most probable one, and nothing was sampled.
    assert tokens.top_ids[:, 0].tolist() == list(tokens.token_ids)
    np.testing.assert_allclose(tokens.top_logprobs[:, 0], tokens.logprobs, atol=1e-5)
    np.testing.assert_array_equal(tokens.sampled_logprobs, tokens.logprobs)
    assert (tokens.entropies >= 0).all()
    assert (tokens.entropies <= np.log(engine.info.d_vocab) + 1e-4).all()
    assert answer.mean_entropy == pytest.approx(tokens.entropies.mean())


@pytest.mark.parametrize(("more", "reason"), [(0, "length"), (1, "context"), (10**6, "context")])
def test_a_text_that_fills_the_context_says_so(engine, more, reason):
    n_left = 5
    prompt = PROMPT * engine.info.context
    prompt = prompt[: engine.info.context - n_left]
    answer = engine.generate([Request(prompt, sampling=sampling(max_tokens=n_left + more))])[0]
    assert (answer.finish_reason, len(answer.tokens.token_ids)) == (reason, n_left)
    assert answer.is_cut


def test_reading_what_was_written_gives_the_same_numbers(engine):
    written = engine.generate([Request(PROMPT, sampling=sampling(temperature=1.0, seed=3))])[0]
    given = engine.generate([Request(PROMPT, response=written.tokens.token_ids)])[0]
    assert given.finish_reason == "given"
    assert given.text == written.text
    np.testing.assert_allclose(given.tokens.logprobs, written.tokens.logprobs, atol=1e-4)
    np.testing.assert_allclose(given.tokens.entropies, written.tokens.entropies, atol=1e-4)


def test_the_same_seed_gives_the_same_text_whoever_else_is_there(engine):
    requests = [
        Request((*PROMPT, n), sampling=sampling(temperature=1.5, seed=n, max_tokens=3 + n))
        for n in range(5)
    ]
    together = engine.generate(requests)
    for request, answer in zip(requests, together, strict=True):
        alone = engine.generate([request])[0]
        assert alone.tokens.token_ids == answer.tokens.token_ids
        np.testing.assert_allclose(alone.tokens.logprobs, answer.tokens.logprobs, atol=1e-4)
    other = engine.generate([Request((*PROMPT, 4), sampling=sampling(temperature=1.5, seed=9))])[0]
    assert other.tokens.token_ids[:6] != together[4].tokens.token_ids[:6]


def test_narrow_sampling_is_greedy(engine):
    greedy = engine.generate([Request(PROMPT, sampling=sampling())])[0]
    for narrow in ({"top_k": 1}, {"top_p": 1e-6}):
        answer = engine.generate([Request(PROMPT, sampling=sampling(temperature=1.0, **narrow))])[0]
        assert answer.tokens.token_ids == greedy.tokens.token_ids
        np.testing.assert_allclose(answer.tokens.sampled_logprobs, 0.0, atol=1e-6)
        np.testing.assert_allclose(answer.tokens.sampled_entropies, 0.0, atol=1e-6)
        np.testing.assert_allclose(answer.tokens.logprobs, greedy.tokens.logprobs, atol=1e-4)


def test_a_stop_string_ends_the_text_before_it(engine):
    text = engine.generate([Request(PROMPT, sampling=sampling(max_tokens=8))])[0].text
    stop = text[len(text) // 2 :][:2]
    pieces = []
    ticket = engine.submit(
        Request(PROMPT, sampling=sampling(max_tokens=8, stop=(stop,))), pieces.append
    )
    answer = ticket.result(PATIENCE_S)
    assert answer.finish_reason == "stop"
    assert answer.text == text[: text.index(stop)]
    assert "".join(piece.text for piece in pieces) == answer.text


def test_pieces_add_up_to_the_answer(engine):
    pieces = []
    request = Request(PROMPT, sampling=sampling(top_logprobs=2), readouts=(readout(engine),))
    answer = engine.submit(request, pieces.append).result(PATIENCE_S)
    assert "".join(piece.text for piece in pieces) == answer.text
    ids = [token for piece in pieces for token in piece.tokens.token_ids]
    assert tuple(ids) == answer.tokens.token_ids
    logprobs = np.concatenate([piece.tokens.logprobs for piece in pieces])
    np.testing.assert_array_equal(logprobs, answer.tokens.logprobs)
    values = np.concatenate([piece.readouts["way"] for piece in pieces])
    np.testing.assert_allclose(values, answer.readouts["way"], atol=1e-5)
    # The token that was drawn last is never run.
    assert len(values) == len(PROMPT) + 5


@pytest.mark.parametrize("scope", ["prompt", "generated", "all"])
@pytest.mark.parametrize("given", [None, (11, 12, 13)])
def test_pooled_states_are_those_of_the_positions(engine, scope, given):
    points = (HookPoint(0), HookPoint(-1), HookPoint(0, "resid_pre"), HookPoint(-1, "final_norm"))
    request = Request(
        PROMPT,
        response=given,
        n_hidden=0,
        sampling=sampling(),
        capture=Capture(points, ("mean", "last", "norm", "none"), scope),
        readouts=(readout(engine, layer=0),),
        readout_scope=scope,
    )
    answer = engine.generate([request])[0]
    n_generated = 3 if given else 5
    n = {"prompt": 7, "generated": n_generated, "all": 7 + n_generated}[scope]
    for point, states in zip(points, answer.states, strict=True):
        whole = states.none
        assert states.point == HookPoint(point.layer % engine.info.n_layers, point.site)
        assert states.n_positions == n
        assert whole.shape == (n, engine.info.d_model)
        np.testing.assert_allclose(states.mean, whole.mean(0), atol=1e-4)
        np.testing.assert_allclose(states.last, whole[-1], atol=1e-5)
        assert states.norm == pytest.approx(np.linalg.norm(whole, axis=1).mean(), rel=1e-4)
    way = readout(engine, layer=0)
    expected = answer.states[0].none @ way.weight + way.bias
    np.testing.assert_allclose(answer.readouts["way"], expected, atol=1e-3)


def test_an_empty_response_reads_the_prompt_alone(engine):
    request = Request(PROMPT, response=(), capture=Capture((HookPoint(1),), ("mean",)))
    answer = engine.generate([request])[0]
    assert answer.text == ""
    assert answer.tokens.token_ids == ()
    assert answer.mean_entropy == 0.0
    assert answer.states[0].n_positions == len(PROMPT)


def test_a_hidden_system_prompt_is_in_no_span(engine):
    capture = Capture((HookPoint(1),), ("mean", "last", "norm"))
    seen = engine.generate([Request(PROMPT, response=(), capture=capture, n_hidden=3)])[0].states[0]
    every = Capture((HookPoint(1),), ("none",))
    whole = engine.generate([Request(PROMPT, response=(), capture=every)])[0].states[0].none
    assert seen.n_positions == 4
    np.testing.assert_allclose(seen.mean, whole[3:].mean(0), atol=1e-4)
    with pytest.raises(InvalidValue, match="hidden"):
        engine.submit(Request(PROMPT, response=(), capture=every, n_hidden=3))


def test_bad_requests_are_refused_at_the_door(engine):
    n = engine.info.n_layers
    wide = Readout("wide", HookPoint(0), np.zeros(engine.info.d_model + 1, dtype=np.float32))
    for request, error, words in (
        (Request(()), InvalidValue, "token ids"),
        (Request((0, engine.info.d_vocab)), InvalidValue, "token ids"),
        (Request((3,) * engine.info.context), TextTooLong, "tokens"),
        (Request(PROMPT, adapter="nobody"), UnknownName, "nobody"),
        (Request(PROMPT, capture=Capture((HookPoint(n),))), InvalidHookPoint, f"0 to {n - 1}"),
        (Request(PROMPT, readouts=(wide,)), InvalidValue, "wide"),
    ):
        with pytest.raises(error, match=words):
            engine.submit(request)


def test_bad_sampling_is_refused():
    for change, words in (
        ({"max_tokens": 0}, "max_tokens"),
        ({"temperature": -1.0}, "temperature"),
        ({"temperature": float("nan")}, "temperature"),
        ({"top_p": 0.0}, "top_p"),
        ({"top_k": 0}, "top_k"),
        ({"stop": ("",)}, "stop"),
    ):
        with pytest.raises(InvalidValue, match=words):
            Sampling(**change)


def test_a_cancelled_request_ends_with_what_it_has(engine):
    started, done = threading.Event(), threading.Event()
    request = Request(PROMPT, sampling=sampling(max_tokens=200, temperature=1.0, seed=1))
    ticket = engine.submit(request, lambda _piece: started.set())
    assert started.wait(PATIENCE_S)
    ticket.cancel()
    ticket.cancel()
    ticket.when_done(done.set)
    answer = ticket.result(PATIENCE_S)
    assert done.wait(PATIENCE_S)
    assert answer.finish_reason in ("cancelled", "length")
    assert len(answer.tokens.token_ids) <= 200


def test_closing_twice_is_fine(engine):
    engine.close()
    engine.close()

"""Models that cannot join a running batch: one after another, and looked at at every token."""

import threading

import pytest
import torch
from transformers import AutoModelForCausalLM, MambaConfig, OpenAIGPTConfig

from glassbox.engine.model.load import MOST_CONTEXT, LoadedModel, context_of
from glassbox.engine.requests import Request, Sampling
from glassbox.engine.resident import ResidentEngine
from glassbox.errors import DeadlineExceeded, IntegrityError
from glassbox.testing.tiny import D_VOCAB, tiny_tokenizer
from glassbox.types import Capture
from tests.engine.batch_world import POINTS, POOLINGS, alone, assert_same, loaded, random_readouts
from tests.waiting import PATIENCE_S

LONG = Sampling(max_tokens=400, temperature=0.0, stop_at_end=False)
SHORT = Sampling(max_tokens=3, temperature=0.0, stop_at_end=False)


@pytest.fixture
def engine(monkeypatch):
    monkeypatch.setattr(
        "glassbox.engine.batching.answering.choose_slots", lambda *_, **__: (None, "it is a test")
    )
    engine = ResidentEngine(loaded("llama"))
    assert engine.info.remark.endswith("one at a time, which is slower: it is a test.")
    yield engine
    engine.close()


class Midway:
    """A listener that lets the test act when some pieces have come."""

    def __init__(self, act, at=3):
        self._act, self._at, self.n = act, at, 0

    def __call__(self, piece):
        self.n += 1
        if self.n == self._at:
            self._act()


def test_the_plain_way_answers_like_the_oracle(engine):
    requests = [
        Request(
            (5, 6, 7 + n),
            response=(8, 9) if n == 1 else None,
            sampling=SHORT,
            capture=Capture(POINTS, POOLINGS, "all"),
            readouts=random_readouts(),
        )
        for n in range(3)
    ]
    for found, request in zip(engine.generate(requests), requests, strict=True):
        assert_same(found, alone("llama", request))


@pytest.mark.parametrize(
    "config",
    [
        MambaConfig(vocab_size=D_VOCAB, hidden_size=32, num_hidden_layers=2, state_size=4),
        OpenAIGPTConfig(vocab_size=D_VOCAB, n_embd=32, n_layer=2, n_head=4, n_positions=64),
    ],
    ids=["mamba", "openai-gpt"],
)
def test_a_model_without_keys_and_values_writes_and_reads_all_the_same(config):
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    model.requires_grad_(False)
    context = context_of(model, tiny_tokenizer())
    assert context == (64 if config.model_type == "openai-gpt" else MOST_CONTEXT)
    engine = ResidentEngine(LoadedModel(model, tiny_tokenizer(), "odd", "0" * 64, context))
    prompt = (5, 6, 7, 90, 12)
    (written,) = engine.generate([Request(prompt, sampling=SHORT)])
    (read,) = engine.generate([Request(prompt, response=written.tokens.token_ids)])
    scored = engine.logprobs([prompt, prompt[:2]], [written.tokens.token_ids])
    engine.close()
    tokens = list(prompt)
    for token in written.tokens.token_ids:
        logits = model(input_ids=torch.tensor([tokens]), use_cache=False).logits[0, -1]
        assert int(logits.argmax()) == token
        tokens.append(token)
    assert read.tokens.logprobs == pytest.approx(written.tokens.logprobs, abs=1e-4)
    assert scored.values[0, 0] == pytest.approx(float(read.tokens.logprobs.sum()), abs=1e-4)


def test_one_that_waits_is_cancelled_while_another_is_written(engine):
    told = threading.Event()
    waiting = []

    def act():
        ticket = engine.submit(Request((3, 4), sampling=SHORT))
        ticket.when_done(told.set)
        ticket.cancel()
        waiting.append(ticket)

    listen = Midway(act)
    long = engine.submit(Request((5,), sampling=LONG), listen)
    assert told.wait(PATIENCE_S)
    n_then = listen.n
    long.cancel()
    assert waiting[0].result(PATIENCE_S).finish_reason == "cancelled"
    assert waiting[0].result(PATIENCE_S).tokens.token_ids == ()
    answer = long.result(PATIENCE_S)
    assert answer.finish_reason == "cancelled"
    assert n_then <= len(answer.tokens.token_ids) < 400


def test_one_that_waits_too_long_is_told_while_another_is_written(engine):
    told = threading.Event()
    waiting = []

    def act():
        waiting.append(engine.submit(Request((3, 4), sampling=SHORT, deadline_s=0.0)))
        waiting[0].when_done(told.set)

    long = engine.submit(Request((5,), sampling=LONG), Midway(act))
    assert told.wait(PATIENCE_S)
    assert not long.future.done()
    long.cancel()
    with pytest.raises(DeadlineExceeded, match=r"No answer within the 0\.0 s"):
        waiting[0].result(PATIENCE_S)


def test_a_deadline_ends_the_text_between_two_tokens(engine):
    def act():
        (row,) = engine._answering.worker._batch.rows
        row.deadline_s = 0.0

    answer = engine.submit(Request((5,), sampling=LONG), Midway(act)).result(PATIENCE_S)
    assert answer.finish_reason == "deadline"
    assert len(answer.tokens.token_ids) == 3


def test_scoring_gets_its_turn_between_two_tokens(engine):
    begun = threading.Event()
    long = engine.submit(Request((5,), sampling=LONG), Midway(begun.set))
    assert begun.wait(PATIENCE_S)
    assert engine.logprobs([(3, 4)], [(5,), (6,)]).values.shape == (1, 2)
    assert not long.future.done()
    long.cancel()
    assert long.result(PATIENCE_S).finish_reason == "cancelled"


def test_a_listener_that_fails_ends_its_own_row(engine):
    def act():
        raise RuntimeError("the client has gone")

    bad = engine.submit(Request((5,), sampling=LONG), Midway(act))
    good = engine.submit(Request((5, 6), sampling=SHORT))
    with pytest.raises((IntegrityError, RuntimeError), match=r"RuntimeError|gone"):
        bad.result(PATIENCE_S)
    assert good.result(PATIENCE_S).finish_reason == "length"


def test_closing_ends_what_is_being_written(engine):
    begun = threading.Event()
    long = engine.submit(Request((5,), sampling=LONG), Midway(begun.set))
    assert begun.wait(PATIENCE_S)
    engine.close()
    answer = long.result(PATIENCE_S)
    assert answer.finish_reason == "cancelled"
    assert 3 <= len(answer.tokens.token_ids) < 400

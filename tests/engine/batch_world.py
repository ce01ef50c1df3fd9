"""Requests over tiny models, and the one-at-a-time answers they must equal."""

import hashlib
import random
import time
from functools import cache

import numpy as np

from glassbox.engine.batching import running_batch
from glassbox.engine.batching.plain_generation import PlainAnswer
from glassbox.engine.model.codec import TokenizerCodec
from glassbox.engine.model.load import LoadedModel
from glassbox.engine.requests import Readout, Request, Sampling
from glassbox.testing import ARCHITECTURES, tiny_loaded
from glassbox.testing.tiny import CONTEXT
from glassbox.types import Capture, HookPoint
from tests.techniques.library.worlds import world

CLOSE = 1e-4
STATES_CLOSE = 1e-3
POINTS = (
    HookPoint(0, "resid_pre"),
    HookPoint(0),
    HookPoint(1),
    HookPoint(-1, "final_norm"),
)
POOLINGS = ("mean", "last", "norm", "none")
GREEDY = Sampling(max_tokens=12, temperature=0.0, stop_at_end=False)
PROMPT = (0, 9, 8, 7, 20, 21, 22)


def loaded(architecture):
    """Return a model of its own for each engine: an engine is the only user of its model."""
    if architecture in ARCHITECTURES:
        return tiny_loaded(architecture)
    model, tokenizer = world(architecture)
    digest = hashlib.sha256(architecture.encode()).hexdigest()
    return LoadedModel(model, tokenizer, f"tiny-{architecture}", digest, CONTEXT)


@cache
def oracle(architecture):
    """Return a second copy: the engine is the only user of its own."""
    return loaded(architecture)


def plain_generation(model, codec, request, *, context):
    """Return the answer to one request, a pass of the library's modules at a time."""
    answer = PlainAnswer(model, codec, request, context=context)
    while (reason := answer.step()) is None:
        pass
    return answer.generation(reason)


def alone(architecture, request):
    """Return the library's own answer, computed with nobody else there."""
    world = oracle(architecture)
    return plain_generation(
        world.model, TokenizerCodec(world.tokenizer), request, context=world.context
    )


def random_readouts():
    """Return two linear readings of different layers."""
    return (
        Readout("ramp", HookPoint(0), np.linspace(-1, 1, 32, dtype=np.float32), 0.5),
        Readout("level", HookPoint(-1), np.full(32, 0.1, dtype=np.float32)),
    )


def random_request(draw: random.Random, shared=()):
    """Return a request of any kind; some begin with tokens that others begin with too."""
    prompt = tuple(draw.randrange(300) for _ in range(draw.randint(1, 40)))
    if shared and draw.random() < 0.5:
        prompt = (*shared, *prompt)
    readouts = random_readouts()
    given = tuple(draw.randrange(300) for _ in range(draw.randint(0, 9)))
    scope = draw.choice(["prompt", "generated", "all"])
    return Request(
        prompt,
        response=given if draw.random() < 0.25 else None,
        sampling=Sampling(
            max_tokens=draw.randint(1, 24),
            temperature=draw.choice([0.0, 0.7, 1.3]),
            top_p=draw.choice([1.0, 0.8]),
            top_k=draw.choice([None, 5]),
            seed=draw.randrange(1000),
            stop=draw.choice([(), ("a",), ("he", " t")]),
            top_logprobs=draw.choice([0, 3]),
        ),
        n_hidden=draw.choice([0, min(3, len(prompt))]),
        capture=draw.choice(
            [None, Capture(POINTS, ("mean", "last", "norm"), scope), Capture(POINTS[2:], ("norm",))]
        ),
        readouts=readouts[: draw.randint(0, 2)],
        readout_scope=draw.choice(["prompt", "generated", "all"]),
        client=draw.choice(["a", "b"]),
        priority=draw.choice([0, 0, 1]),
    )


def assert_same(found, expected):
    """Assert that two answers say the same within float32's rounding."""
    assert found.tokens.token_ids == expected.tokens.token_ids
    assert found.text == expected.text
    assert found.finish_reason == expected.finish_reason
    for name in (
        "logprobs", "entropies", "sampled_logprobs", "sampled_entropies", "top_logprobs",
    ):  # fmt: skip
        np.testing.assert_allclose(
            getattr(found.tokens, name), getattr(expected.tokens, name), atol=CLOSE, rtol=0
        )
    assert [state.point for state in found.states] == [state.point for state in expected.states]
    for mine, theirs in zip(found.states, expected.states, strict=True):
        assert mine.n_positions == theirs.n_positions
        for name in POOLINGS:
            one, other = getattr(mine, name), getattr(theirs, name)
            assert (one is None) == (other is None)
            if one is not None:
                np.testing.assert_allclose(one, other, atol=STATES_CLOSE, rtol=1e-4)
    assert set(found.readouts) == set(expected.readouts)
    for name, values in expected.readouts.items():
        np.testing.assert_allclose(found.readouts[name], values, atol=STATES_CLOSE, rtol=1e-4)


def slow_steps(monkeypatch, seconds=0.02):
    """Let every step take a while, so that requests can be caught on their way."""
    original = running_batch.Stepper.run

    def run(self, parts, points=()):
        time.sleep(seconds)
        return original(self, parts, points)

    monkeypatch.setattr(running_batch.Stepper, "run", run)

"""The engine's laws in bfloat16, against the same rounded weights in float32.

Run on the processor, where the format is emulated and slow but the same arithmetic, and by
``pytest -m gpu`` on a CUDA device.
"""

import random
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from glassbox.engine.lens import LensRequest
from glassbox.engine.model.load import moved
from glassbox.engine.requests import Readout, Request, Sampling
from glassbox.engine.resident import ResidentEngine
from glassbox.testing import ARCHITECTURES, tiny_loaded
from glassbox.types import Capture, HookPoint
from tests.engine.batch_world import POINTS
from tests.engine.lora.test_bank import save_adapter

pytestmark = pytest.mark.filterwarnings(
    "ignore:`is_gradient_checkpointing`:FutureWarning", "ignore:fan_in_fan_out is set:UserWarning"
)

CLOSE = 0.05
"""Nats. Source: the design's tolerance of log-probabilities in bfloat16. The largest differences
seen on AVX2 were 0.004 between batches, 0.011 to float32 and 0.022 with adapters."""

ENTROPIES_CLOSE = 0.005
"""Nats. Entropies are computed in float32; in bfloat16 one of 5.7 nats would be off by 0.02. The
largest difference seen was 0.0003."""

ULP = 2.0**-8
"""Largest relative error of one rounding to eight significant bits."""

STATES_CLOSE = 8 * ULP
"""Largest relative distance (L2) of a state: a few roundings for each of the two layers. The
largest seen was 0.011."""

CONTINUATIONS = [(5,), (6, 7), (280, 9, 4)]
ADAPTERS = ({"r": 3, "lora_alpha": 7}, {"r": 8}, {"r": 1, "use_rslora": True})


def some_tokens(n):
    draw = random.Random(n)
    return tuple(draw.randrange(2, 300) for _ in range(n))


SHARED = some_tokens(30)
PROMPTS = [*map(some_tokens, (3, 7, 12, 25, 40)), *(SHARED + some_tokens(n) for n in (2, 9, 17))]
RESPONSES = [some_tokens(50 + n)[:n] for n in range(1, 1 + len(PROMPTS))]


@dataclass
class Both:
    """The same weights in two formats of numbers."""

    rough: ResidentEngine
    fine: ResidentEngine


def engine_of(architecture, device, dtype):
    loaded = tiny_loaded(architecture)
    rounded = loaded.model.to(torch.bfloat16).to(dtype)
    return ResidentEngine(moved(replace(loaded, model=rounded), device))


@pytest.fixture(
    scope="module",
    params=[
        pytest.param((architecture, device), id=f"{architecture}-{device}", marks=marks)
        for device, marks in (("cpu", ()), ("cuda", pytest.mark.gpu))
        for architecture in ARCHITECTURES
    ],
)
def both(request):
    architecture, device = request.param
    made = Both(*(engine_of(architecture, device, t) for t in (torch.bfloat16, torch.float32)))
    yield made
    made.rough.close()
    made.fine.close()


def test_it_takes_the_fast_ways(both):
    info = both.rough.info
    assert info.dtype == "bfloat16"
    assert (info.scoring_path, info.states, info.remark) == ("packed", True, "")


def test_scoring_depends_on_nobody_else_and_is_close_to_float32(both):
    together = both.rough.logprobs(PROMPTS, CONTINUATIONS).values
    alone = np.concatenate(
        [both.rough.logprobs([prompt], CONTINUATIONS).values for prompt in PROMPTS]
    )
    np.testing.assert_allclose(together, alone, atol=CLOSE, rtol=0)
    fine = both.fine.logprobs(PROMPTS, CONTINUATIONS).values
    np.testing.assert_allclose(together, fine, atol=CLOSE, rtol=0)


def test_reading_and_states_are_close_to_float32(both):
    weight = np.linspace(-1, 1, 32, dtype=np.float32)
    requests = [
        Request(
            prompt,
            response=response,
            capture=Capture(POINTS, ("mean", "last", "norm"), "all"),
            readouts=(Readout("ramp", HookPoint(1), weight, 0.5),),
        )
        for prompt, response in zip(PROMPTS, RESPONSES, strict=True)
    ]
    together = both.rough.generate(requests)
    alone = [both.rough.generate([request])[0] for request in requests]
    for other in (alone, both.fine.generate(requests)):
        for found, expected in zip(together, other, strict=True):
            for name, close in (("logprobs", CLOSE), ("entropies", ENTROPIES_CLOSE)):
                ours, theirs = getattr(found.tokens, name), getattr(expected.tokens, name)
                np.testing.assert_allclose(ours, theirs, atol=close, rtol=0)
            for mine, theirs in zip(found.states, expected.states, strict=True):
                assert distance(mine.mean, theirs.mean) < STATES_CLOSE
                assert distance(mine.last, theirs.last) < STATES_CLOSE
                assert mine.norm == pytest.approx(theirs.norm, rel=STATES_CLOSE)
            # Length of the reading's direction times that of a state.
            size = np.linalg.norm(weight) * expected.states[2].norm
            gap = np.abs(found.readouts["ramp"] - expected.readouts["ramp"]).max()
            assert gap < STATES_CLOSE * size


def test_what_is_written_greedily_is_what_was_most_probable(both):
    sampling = Sampling(max_tokens=12, temperature=0.0, top_logprobs=1)
    for prompt, answer in zip(
        PROMPTS,
        both.rough.generate([Request(prompt, sampling=sampling) for prompt in PROMPTS]),
        strict=True,
    ):
        written = answer.tokens
        np.testing.assert_array_equal(written.logprobs, written.top_logprobs[:, 0])
        read = Request(prompt, response=tuple(written.token_ids), sampling=sampling)
        fine = both.fine.generate([read])[0].tokens
        # Two that are as probable within the rounding may change places.
        assert (fine.top_logprobs[:, 0] - fine.logprobs).max() < 2 * CLOSE
        np.testing.assert_allclose(written.logprobs, fine.logprobs, atol=CLOSE, rtol=0)


def test_adapters_share_a_batch(both, tmp_path, request):
    architecture, _ = request.node.callspec.params["both"]
    for number, form in enumerate(ADAPTERS):
        folder = save_adapter(
            tmp_path / str(number), architecture, number, target_modules="all-linear", **form
        )
        for engine in (both.rough, both.fine):
            engine.load_adapter(folder, name=str(number))
    names = [None, "0", "1", "2"]
    requests = [
        Request(prompt, response=response, adapter=names[number % len(names)])
        for number, (prompt, response) in enumerate(zip(PROMPTS, RESPONSES, strict=True))
    ]
    together = both.rough.generate(requests)
    alone = [both.rough.generate([request])[0] for request in requests]
    for other in (alone, both.fine.generate(requests)):
        for found, expected in zip(together, other, strict=True):
            assert found.adapter_digest == expected.adapter_digest
            np.testing.assert_allclose(
                found.tokens.logprobs, expected.tokens.logprobs, atol=CLOSE, rtol=0
            )


def test_the_logit_lens_is_close_to_float32(both):
    asked = LensRequest(tokens=PROMPTS[3], positions=(0, 5, 20))
    rough, fine = both.rough.lens(asked), both.fine.lens(asked)
    np.testing.assert_allclose(rough.entropies, fine.entropies, atol=ENTROPIES_CLOSE, rtol=0)


def distance(ours, theirs):
    """Return how far one vector is from another, relative to that one's length."""
    return np.linalg.norm(ours - theirs) / np.linalg.norm(theirs)

"""Forecasts add up sizes and scale what one batch took."""

import math
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch

from glassbox.confidence.asking.forecast import (
    TRIED_TEXTS,
    Probe,
    Workload,
    forecast_asking,
    forecast_tuning,
    probe,
)
from glassbox.confidence.asking.scoring import LabelModel
from glassbox.confidence.labels import default_labels
from glassbox.confidence.tuning.loss import label_loss
from glassbox.engine.protocol import AdapterRecipe, Engine, EngineInfo, Example
from glassbox.engine.resident import load_engine
from glassbox.errors import NotEnoughData
from glassbox.testing import FakeEngine, tiny_engine
from glassbox.types import ModelSpec

INFO = EngineInfo(
    name="m", digest="d", architecture="L", n_parameters=1_000_000, n_layers=4, d_model=64,
    d_vocab=1000, context=512, dtype="bfloat16", device="cpu", scoring_path="packed",
)  # fmt: skip


def test_a_forecast_adds_up_sizes_and_scales_the_measured_step():
    measured = Probe(step_s=0.2, step_tokens=1000, inference_s=0.05, n_trainable=20_000)
    prompts = [tuple(range(first, first + n)) for first in (0, 1) for n in (30, 50)] * 1800
    work = Workload(prompts, 800, [(5,), (6,)])
    found = forecast_tuning(INFO, measured, work, AdapterRecipe(epochs=3, validations_per_epoch=2))
    assert found.seconds == pytest.approx(7200 * 40 * 3 * 2e-4 + 800 * 40 * 6 * 5e-5)
    assert found.trainable_fraction == pytest.approx(20_000 / 1_020_000)
    assert found.memory_bytes > 2_000_000
    assert found.sentence == (
        "Tuning trains 2.0 % of the parameters and will take about 3 min and 53 MiB of memory."
    )
    wider = forecast_tuning(INFO, measured, work, AdapterRecipe(batch_size=64))
    assert found.memory_bytes < wider.memory_bytes < 2 * found.memory_bytes


ONE_WORD = ("negative", "positive")
MANY_WORDS = ("Battery & charging", "Company: headquarters", "Service (slow/rude)", "Plot question")


@pytest.fixture(scope="module")
def embedded() -> Engine:
    return load_engine(ModelSpec("tiny", dtype="float32", device="cpu"), threads=1)


@pytest.mark.parametrize("names", [ONE_WORD, MANY_WORDS])
@pytest.mark.parametrize("times", [1, 4])
def test_memory_is_what_the_backward_pass_keeps_of_the_longest_batch(embedded, names, times):
    model = LabelModel(embedded, default_labels(names))
    found = model.verbalisers
    text = "A really fine little film with some nice scenes and a few dull ones. "
    prompts = model.prompts.build([f"No {i}. " + text * times for i in range(8)]).prompts
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    examples = [Example(prompt, row % len(names)) for row, prompt in enumerate(prompts)]
    loss = label_loss(found.groups, found.nested)
    recipe = AdapterRecipe(rank=4, batch_size=8, accumulation=1, epochs=1, validations_per_epoch=1)
    with (
        tempfile.TemporaryDirectory() as folder,
        torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
    ):
        fitted = embedded.fit_adapter(
            examples, examples[:1], found.continuations, loss, Path(folder), recipe
        )
    measured = Probe(step_s=1, step_tokens=1, inference_s=1, n_trainable=fitted.n_trainable)
    # Shorter ones beside them change the time, and not what the largest batch takes.
    work = Workload([*prompts, *[(1, 2, 3)] * 100], 1, found.continuations)
    told = forecast_tuning(embedded.info, measured, work, recipe).memory_bytes
    beside = embedded.info.n_parameters * 4
    assert sum(kept.values()) - beside == pytest.approx(told - beside, rel=0.25)


def test_a_probe_measures_one_step_and_leaves_nothing_behind():
    engine = tiny_engine()
    examples = [Example((1, 40 + row % 9, 50 + row % 7, 60 + row), row % 2) for row in range(16)]
    loss = label_loss([[0], [1]], {})
    recipe = AdapterRecipe(rank=2, batch_size=4)
    prompts = [example.prompt for example in examples]
    before = engine.logprobs(prompts, [(5,), (6,)]).values
    measured = probe(engine, examples, [(5,), (6,)], loss, recipe)
    assert math.isfinite(measured.step_s)
    assert measured.step_s > 0
    assert measured.inference_s > 0
    assert measured.step_tokens == 4 * 4
    assert measured.n_trainable > 0
    np.testing.assert_array_equal(engine.logprobs(prompts, [(5,), (6,)]).values, before)
    with pytest.raises(NotEnoughData, match="Trying out one batch needs at least 2 rows"):
        probe(engine, examples[:1], [(5,), (6,)], loss, recipe)


def test_asking_is_foretold_from_a_few_texts():
    engine = FakeEngine()
    model = LabelModel(engine, default_labels(["negative", "positive"]))
    texts = [f"Text number {i}." for i in range(200)]
    found = forecast_asking(model, texts)
    assert engine.n_prompts == 2 * TRIED_TEXTS
    assert found.n_texts == 200
    assert found.seconds > 0
    assert found.memory_bytes > 0
    assert found.sentence.startswith("Asking about 200 texts will take ")


def test_asking_nothing_takes_nothing():
    model = LabelModel(
        FakeEngine(context=160), default_labels(["negative", "positive"]), overlong="skip"
    )
    assert forecast_asking(model, ["so " * 200]).seconds == 0.0

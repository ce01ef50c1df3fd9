"""Every way through the package that runs a model, run on a device of its own kind.

A program: prints, as JSON, by how much each way's numbers there differ from the processor's, or how
it failed. It is started by ``tests/test_other_device.py``: torch takes such a device for good.
"""

import json
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import fields, is_dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch

from glassbox.engine.lens import LensRequest
from glassbox.engine.protocol import AdapterRecipe
from glassbox.engine.requests import Readout, Request, Sampling
from glassbox.engine.resident import ResidentEngine
from glassbox.pathways.config import StudyConfig
from glassbox.pathways.experiment.run import run_experiment
from glassbox.pathways.integration.results import read_study
from glassbox.pathways.layout import STEPS
from glassbox.pathways.orchestration.steps import do_step
from glassbox.pathways.saes.dictionaries import open_dictionaries
from glassbox.pathways.saes.training.recipe import SaeRecipe
from glassbox.pathways.saes.training.train import train_saes
from glassbox.pathways.saes.writing import save_sae
from glassbox.testing import tiny_sae
from glassbox.testing.tiny import tiny_loaded
from glassbox.types import Capture, HookPoint
from tests import other_device
from tests.engine.fit_world import CONTINUATIONS, MeanNll, examples
from tests.pathways.experiment.worlds import section, write_pairs
from tests.pathways.orchestration.small_study import place_of
from tests.pathways.study.studies import made_study

Way = Callable[[ResidentEngine, Path], Any]

TEXTS = ("the positive one", "a negative thing on the way", "the positive two of them")
FIT = AdapterRecipe(rank=2, alpha=4, learning_rate=2e-2, epochs=1, batch_size=8, patience=9)
SAES = SaeRecipe(
    d_sae=24, k=4, n_tokens=400, batch_tokens=40, chunk_tokens=200, eval_tokens=100,
    max_length=20, dead_after_tokens=80,
)  # fmt: skip


def logprobs(engine: ResidentEngine, _folder: Path) -> Any:
    prompts = engine.codec.encode(TEXTS)
    return engine.logprobs(prompts, [(5,), (6, 7), (6, 8)], top_k=3)


def written(engine: ResidentEngine, _folder: Path) -> Any:
    """Greedy and drawn texts side by side, with states, readouts and the best tokens."""
    capture = Capture((HookPoint(0), HookPoint(1)), pooling=("mean", "last", "norm"))
    readout = Readout("one", HookPoint(1), np.ones(engine.info.d_model, np.float32))
    ways = (
        Sampling(max_tokens=4, temperature=0.0, top_logprobs=2),
        Sampling(max_tokens=4, temperature=1.0, seed=3),
        Sampling(max_tokens=4, temperature=0.7, seed=4, top_k=20, top_p=0.9),
    )
    asked = [
        Request(prompt, sampling=way, capture=capture, readouts=(readout,))
        for prompt in engine.codec.encode(TEXTS)
        for way in ways
    ]
    answers = engine.generate(asked)
    return [(each.tokens, each.states, each.readouts) for each in answers]


def read(engine: ResidentEngine, _folder: Path) -> Any:
    """Somebody else's text, every position's states, and the logit lens."""
    prompt, response = engine.codec.encode(TEXTS[:2])
    capture = Capture((HookPoint(1),), pooling=("none",))
    (answer,) = engine.generate([Request(prompt, response=response, capture=capture)])
    return answer.tokens, answer.states, engine.lens(LensRequest(prompt, (0, 2), 3))


def adapters(engine: ResidentEngine, folder: Path) -> Any:
    """Two adapters fitted, one of them resumed; then both and none of them in one batch."""
    fits = [
        engine.fit_adapter(
            examples(24, seed), examples(8, 9), CONTINUATIONS, MeanNll(), folder / str(seed),
            replace(FIT, dropout=0.1 * seed),
        )
        for seed in (1, 2)
    ]  # fmt: skip
    names = [engine.load_adapter(folder / str(seed), name=str(seed)) for seed in (1, 2)]
    (prompt,) = engine.codec.encode(TEXTS[:1])
    way = Sampling(max_tokens=3, temperature=0.0)
    answers = engine.generate(
        [Request(prompt, sampling=way, adapter=each) for each in (*names, None)]
    )
    rows = [engine.logprobs([prompt], [(5,), (6, 7)], adapter=each).values for each in names]
    losses = [[point.validation_loss for point in fit.curve] for fit in fits]
    return losses, [answer.tokens.logprobs for answer in answers], rows


def lent(engine: ResidentEngine, _folder: Path) -> Any:
    """Weights, random state and settings are put back after a guest."""
    before = logprobs(engine, _folder).values
    with engine.lend(lease_s=60) as loan:
        next(loan.model.parameters()).mul_(2)
        loan.undo()
    return before - logprobs(engine, _folder).values


def techniques(engine: ResidentEngine, _folder: Path) -> Iterator[Any]:
    clean, corrupted, answer, against = "the positive one is", "the negative one is", " a", " the"
    with engine.lend(lease_s=600) as loan:

        def run(name: str, *given: Any, **options: Any) -> Any:
            module = import_module(f"glassbox.techniques.library.{name}")
            return getattr(module, name)(loan.model, loan.tokenizer, *given, **options)

        yield run("activation_patching", clean, corrupted, answer, against)
        yield run("attribution_patching", clean, corrupted, answer, against)
        yield run("direct_logit_attribution", clean, answer, against)
        lens = run("fit_affine_lens", TEXTS * 3, n_steps=2)
        yield lens
        yield run("affine_lens", clean, lens)
        yield run("attention_patterns", clean)
        yield run("induction_scores", 8, 2)
        yield run("logit_lens", clean)
        vector = run("make_steering_vector", TEXTS[:1], TEXTS[1:2], position="mean")
        yield vector
        yield run("prefill_attack", clean, answer, 3)
        yield run(
            "probe_layers",
            [f"{n} {each}" for n in range(4) for each in TEXTS],
            [1, 0, 1] * 4,
            n_folds=2,
        )
        yield run("residual_norms", list(TEXTS))
        yield run("steer", clean, vector, 1.0, 3)
        yield run("steering_sweep", clean, vector, (-1.0, np.float64(1.0)), answer, 3)
        # What is drawn comes from the device's own generator, which differs.
        run("temperature_sweep", clean, (0.0, 1.0), 2, 3)
        yield run("token_surprisal", list(TEXTS))


def experiment(engine: ResidentEngine, folder: Path) -> Any:
    for layer in range(2):
        save_sae(tiny_sae(layer), folder / "saes" / f"layer_{layer}")
    outcome = run_experiment(
        section(write_pairs(folder / "prompts.jsonl")), engine,
        open_dictionaries(folder / "saes"),
        checkpoints=folder / "analysis", logs=folder / "logs",
    )  # fmt: skip
    return outcome.results


def saes(engine: ResidentEngine, folder: Path) -> Any:
    rng = np.random.default_rng(0)
    texts = [(0, *rng.integers(2, 290, rng.integers(1, 30)).tolist()) for _ in range(60)]
    return [
        train_saes(engine, texts, folder / kind, replace(SAES, kind=kind)).metrics
        for kind in ("topk", "batchtopk")
    ]


def study(engine: ResidentEngine, folder: Path) -> Any:
    """All steps behind the experiment, from its logs to the report."""
    made_study(n_latents=8, n_trials=6, layers=2, effects={1: 0.4}).write(folder)
    for layer in range(2):
        save_sae(tiny_sae(layer, d_sae=120), folder / "saes" / f"layer_{layer}")
    config = StudyConfig.from_json(
        {
            "study": {"out": str(folder / "out")},
            "model": {"dtype": "float32"},
            "data": {
                "checkpoints": str(folder / "analysis"),
                "response_logs": str(folder / "response_logs"),
            },
            "saes": {"folder": str(folder / "saes"), "min_explained_variance": -1e6, "max_l0": 120},
            "audit": {"n_permutations": 100, "least_trials": 5, "expected_trials": 6},
            "select": {"only_causal": False},
            "contexts": {"top": 1, "spread": 1},
            "replay": {"doses": ["ablate"], "n_null": 4},
            "tokens": {"n_permutations": 20, "offsets": [0]},
            "integrate": {"n_prompts": 2, "n_graphs": 1, "n_cards": 4},
        }
    )
    place = place_of(config, engine)
    for step in STEPS[1:]:
        do_step(place, step)
    return read_study(place.folder.root).pathways().rows


WAYS: dict[str, tuple[str, Way]] = {
    "logprobs": ("llama", logprobs),
    "written": ("llama", written),
    "windows": ("gemma3", written),
    "read": ("llama", read),
    "alone": ("alone", written),
    "adapters": ("llama", adapters),
    "lent": ("llama", lent),
    "techniques": ("llama", lambda *given: list(techniques(*given))),
    "experiment": ("llama", experiment),
    "saes": ("llama", saes),
    "study": ("llama", study),
    "study of other blocks": ("gpt2", study),
}
"""Ways by name, with the architecture of their model; ``alone`` joins no running batch."""


def numbers_of(value: Any) -> list[float]:
    """Return all numbers in a value, in order; NaN where there is none."""
    if value is None:
        return [float("nan")]
    if isinstance(value, bool | int | float | np.number | np.ndarray):
        return np.asarray(value, np.float64).ravel().tolist()
    if isinstance(value, str | bytes | Path):
        return []
    if is_dataclass(value):
        value = [getattr(value, each.name) for each in fields(value)]
    elif isinstance(value, dict):
        value = list(value.values())
    return [number for each in value for number in numbers_of(each)]


def answered(way: str, device: str) -> list[float]:
    architecture, run = WAYS[way]
    loaded = tiny_loaded("llama" if architecture == "alone" else architecture)
    if architecture == "alone":
        loaded.model.config.attention_chunk_size = 64
    loaded = replace(loaded, model=loaded.model.to(device))
    with tempfile.TemporaryDirectory() as folder, closing(ResidentEngine(loaded)) as engine:
        return numbers_of(run(engine, Path(folder)))


def minded() -> list[str]:
    """Return what the device refuses: all that an accelerator does."""
    here, there = torch.zeros(3), torch.zeros(3, device=other_device.NAME)
    tries: dict[str, Callable[[], object]] = {
        "numpy": there.numpy,
        "mixed": lambda: here + there,
        "generator": lambda: there.uniform_(generator=torch.Generator()),
        "float64": there.double,
    }
    refused = []
    for name, attempt in tries.items():
        try:
            attempt()
        except (RuntimeError, TypeError):
            refused.append(name)
    # What an accelerator takes is taken: numbers, and indices of the processor.
    assert (there[torch.tensor([0, 2])] + torch.tensor(1.0)).tolist() == [1.0, 1.0]
    return refused


def main(names: list[str]) -> None:
    other_device.install()
    found: dict[str, Any] = {}
    with other_device.present():
        _say({"the device itself": minded()})
    for name in names or WAYS:
        try:
            expected = answered(name, "cpu")
            with other_device.present():
                there = answered(name, other_device.NAME)
            same = len(expected) == len(there) and bool(np.isfinite(expected).any())
            gap = np.abs(np.subtract(expected, there)) if same else np.array([np.inf])
            found[name] = float(np.nanmax(gap, initial=0.0))
        except Exception as error:  # noqa: BLE001
            # Whatever it is, the other ways are tried all the same.
            found[name] = "".join(traceback.format_exception(error, limit=-12))
        _say({name: found[name]})


def _say(found: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(found) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1:])

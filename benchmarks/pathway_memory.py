"""Peak memory of a pathway study's parts against its forecast, and whether it stays flat.

The benchmark model with random TopK dictionaries, as in ``benchmarks.sweep``. Every case runs in a
process of its own: what is resident before the part begins, the process's own peak meanwhile, and
what ``orchestration.sizes`` counts for it. Three questions: does the sweep's peak grow with the
number of targets, does it grow with the width of the dictionaries by more than one layer, and is
the forecast (what is in use, and what is counted) within a fifth.

Run: ``GLASSBOX_TEST_DATA=... python -m benchmarks.pathway_memory [--threads N]``
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from benchmarks.apparatus.model import N_LAYERS, model_folder, sentences
from benchmarks.sweep import LOWEST_TARGET, N_FIRING, N_TOKENS, random_sae
from benchmarks.tokens import FIRING_SHARE, N_CALIBRATION, dictionaries, make_corpus
from glassbox.engine.model.devices import return_freed_memory
from glassbox.engine.model.load import LoadedModel, load_model
from glassbox.pathways.blocks.weights import take_blocks
from glassbox.pathways.corpus.activation_pass import BATCH_TOKENS, read_activations
from glassbox.pathways.corpus.contexts import Context, make_context
from glassbox.pathways.discovery.sources import HeldSources, Sources, StreamedSources
from glassbox.pathways.discovery.sweep import SweepOptions, upstream_gradients
from glassbox.pathways.discovery.workers import n_workers
from glassbox.pathways.latents import LatentId
from glassbox.pathways.orchestration.costs import ContextShape, ModelShape
from glassbox.pathways.orchestration.memory import MemoryMeter
from glassbox.pathways.orchestration.sizes import (
    Chunking,
    Dictionary,
    corpus_bytes,
    replay_peak,
    sweep_bytes,
)
from glassbox.pathways.replay.clean_text import Latents
from glassbox.pathways.replay.interventions import DOSES, Intervention
from glassbox.pathways.replay.replaying import BATCH_TOKENS as REPLAY_TOKENS
from glassbox.pathways.replay.replaying import replay_text
from glassbox.pathways.saes.dictionaries import open_dictionaries
from glassbox.pathways.saes.rows import LatentRows
from glassbox.pathways.saes.writing import save_sae
from glassbox.types import ModelSpec

N_TEXTS = 4
N_ROWS = 200
"""Latents of each layer that are sources where not all are."""
CHUNK = 256
CASES = (
    "sweep 256", "sweep 1024", "sweep 4096",
    "width 2048", "width 8192",
    "replay", "corpus",
)  # fmt: skip
NEAR = 0.2
"""Largest relative difference of a forecast from what was measured."""


def texts(loaded: LoadedModel, n_targets: int) -> list[Context]:
    """Return texts with as many targets together, on all but the lowest layers and anywhere."""
    tokens = loaded.tokenizer.encode(" ".join(sentences("test")[:200]))
    draw = np.random.default_rng(0)
    found = []
    for at in range(N_TEXTS):
        ids = [0, *tokens[at * N_TOKENS : (at + 1) * N_TOKENS - 1]]
        targets: set[tuple[LatentId, int]] = set()
        while len(targets) < n_targets // N_TEXTS:
            layer = int(draw.integers(LOWEST_TARGET, N_LAYERS))
            place = int(draw.integers(1, N_TOKENS))
            targets.add((LatentId(layer, int(draw.integers(N_ROWS))), place))
        found.append(make_context(at, ids, sorted(targets), excluded=(0,)))
    return found


def sweep(loaded: LoadedModel, n_targets: int, sources: Sources, held: Dictionary) -> "Part":
    """Return the sweep over some targets, results dropped as they come, and its forecast."""
    contexts = texts(loaded, n_targets)
    rows = {layer: random_sae(layer).rows(torch.arange(N_ROWS)) for layer in range(N_LAYERS)}
    model = take_blocks(loaded.model)

    def run() -> None:
        found = upstream_gradients(
            model, contexts, rows, sources, SweepOptions(chunk_targets=CHUNK)
        )
        for _ in found:
            pass

    shapes = [
        ContextShape(N_TOKENS, tuple((each.latent.layer, each.position) for each in one.targets))
        for one in contexts
    ]
    chunking = Chunking(CHUNK, workers=n_workers(torch.device("cpu"), N_TEXTS))
    return run, sweep_bytes(shape_of(loaded), shapes, chunking, held)


Part = tuple[Callable[[], object], int]
"""What is run, and how many bytes it is said to take."""


def shape_of(loaded: LoadedModel) -> ModelShape:
    """Return the sizes of the model."""
    return ModelShape.of_config(loaded.model.config, name="benchmark", itemsize=4)


def some_rows(loaded: LoadedModel) -> dict[int, LatentRows]:
    """Return rows of latents that fire on about one token in a hundred."""
    every = dictionaries(loaded.model, make_corpus(loaded.tokenizer, range(N_CALIBRATION)))
    return {layer: rows.select(torch.arange(N_ROWS)) for layer, rows in every.items()}


def part_of(case: str, loaded: LoadedModel, folder: Path) -> Part:
    """Return what a case runs, and its forecast."""
    kind, _, size = case.partition(" ")
    if kind == "sweep":
        held = HeldSources(some_rows(loaded))
        return sweep(
            loaded, int(size), held, Dictionary(N_ROWS * N_LAYERS, firing=FIRING_SHARE * N_ROWS)
        )
    if kind == "width":
        for layer in range(N_LAYERS):
            save_sae(random_sae(layer, int(size)), folder / f"layer_{layer}")
        streamed = StreamedSources(open_dictionaries(folder))
        whole = Dictionary(int(size), is_streamed=True, firing=N_FIRING)
        return sweep(loaded, CHUNK, streamed, whole)
    if kind == "replay":
        return replays(loaded)
    corpus = make_corpus(loaded.tokenizer, range(300))
    rows = some_rows(loaded)
    return (
        lambda: read_activations(loaded.model, corpus, rows),
        corpus_bytes(
            shape_of(loaded),
            batch_tokens=BATCH_TOKENS,
            longest=int(corpus.lengths.max()),
            n_latents=N_ROWS * N_LAYERS,
        ),
    )


def replays(loaded: LoadedModel) -> Part:
    """Return the replays of one text: every source that fires, three doses each."""
    (context, *_) = texts(loaded, CHUNK)
    rows = some_rows(loaded)
    runs = [
        Intervention((LatentId(layer, index),), dose)
        for layer in range(N_LAYERS - 1)
        for index in range(0, N_ROWS, 4)
        for dose in DOSES.values()
    ]
    model = take_blocks(loaded.model)
    said = replay_peak(
        shape_of(loaded), n_tokens=N_TOKENS, batch_tokens=REPLAY_TOKENS,
        n_sources=N_ROWS * N_LAYERS,
    )  # fmt: skip
    return lambda: replay_text(model, context, runs, Latents(rows)), said


def measured(case: str) -> dict[str, float]:
    """Return what one case takes in this process, bytes."""
    loaded = load_model(ModelSpec(str(model_folder()), device="cpu", dtype="float32"))
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        run, said = part_of(case, loaded, Path(folder))
        # What making the case took and freed would be there for the part to take.
        return_freed_memory(torch.device("cpu"))
        meter = MemoryMeter()
        with meter.stage(case):
            run()
    (stage,) = meter.stages
    return {"before": stage.before_bytes, "peak": stage.peak_bytes, "said": said}


def main() -> None:
    """Measure every case and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--case", choices=CASES, help="only this one, as JSON")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    if given.case:
        print(json.dumps(measured(given.case)))
        return
    print(
        f"{'part':<12}{'before':>9}{'added':>9}{'counted':>9}{'peak':>9}{'forecast':>10}{'off':>7}"
    )
    for case in CASES:
        words = [sys.executable, "-m", "benchmarks.pathway_memory", "--case", case]
        words += ["--threads", str(given.threads)]
        answer = subprocess.run(words, check=True, capture_output=True, text=True)
        found = json.loads(answer.stdout.splitlines()[-1])
        before, peak, said = (found[name] / 1e6 for name in ("before", "peak", "said"))
        off = (before + said) / peak - 1
        verdict = "" if abs(off) <= NEAR else "  MISSED"
        print(
            f"{case:<12}{before:>9.0f}{peak - before:>9.0f}{said:>9.0f}{peak:>9.0f}"
            f"{before + said:>10.0f}{off:>+7.0%}{verdict}",
            flush=True,
        )


if __name__ == "__main__":
    main()

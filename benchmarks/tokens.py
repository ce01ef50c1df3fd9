"""What it costs to read 600 latents over a corpus and to test them against every token.

The benchmark model with a random dictionary of 4,096 latents on every layer, thresholds set so
that a latent fires on one token in a hundred; 50 latents of each layer are read. The corpus is
real sentences: prompts of three, each answered by two others, under six conditions. Every batch
goes through the model without and with the reading, in turns, so that a noisy machine disturbs
both alike; the median over the batches is told.

``plain``       the forward pass of the corpus in the same batches, without the output head.
``read``        the same pass with all 600 latents read on every counted position.
``statistics``  counts, Fisher's test, log-odds, turns, for each condition and three offsets; the
                median of five runs.
``per latent``  the study's plan: for each latent a pass of the corpus and the whole dictionary of
                its layer; a few latents on a part of the corpus, scaled to all.

Run: ``GLASSBOX_TEST_DATA=... python -m benchmarks.tokens [--threads N] [--json FILE]``
"""

import argparse
import json
import statistics
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.apparatus.machine import as_json, describe_machine, timed
from benchmarks.apparatus.model import D_MODEL, N_LAYERS, model_folder, sentences
from glassbox.engine.model.load import load_model
from glassbox.engine.states.taps import Taps
from glassbox.pathways.association.associating import associate
from glassbox.pathways.corpus.activation_pass import (
    BATCH_TOKENS,
    batches,
    laid_out,
    open_reader,
    read_activations,
)
from glassbox.pathways.corpus.documents import Corpus, CorpusCounts, corpus_of
from glassbox.pathways.saes.rows import LatentRows
from glassbox.pathways.sections import TokensSection
from glassbox.types import HookPoint, ModelSpec

N_LATENTS = 4096
N_READ = 50
FIRING_SHARE = 0.01
N_CALIBRATION = 12
"""Documents by which the thresholds are set."""
N_DOCUMENTS = 240
N_ROUNDS = 4
"""Times that the corpus goes through the model in each way."""
N_PARTS = 6
"""Parts of the corpus; the plan's way is timed on one."""
N_ALONE = 2
CONDITIONS = ("a", "b", "c", "d", "e", "f")
BAR = 0.05
"""Most that reading and statistics may add to the plain pass, as a share of it."""


@dataclass(frozen=True)
class Figures:
    """What was measured; seconds for the whole corpus."""

    n_tokens: int
    n_latents: int
    n_activations: int
    plain_s: float
    read_s: float
    overhead: float
    """Median over the batches of (read - plain) / plain."""
    statistics_s: float
    statistics_share: float
    """Statistics over the plain pass."""
    per_latent_s: float
    times_faster: float
    """The plan's way over ours, statistics included."""


def make_corpus(tokenizer: Any, numbers: range) -> Corpus:
    """Return prompts of three sentences, each answered by two others."""
    pool = sentences("test")
    encoded = [tuple(tokenizer.encode(f" {pool[i % len(pool)]}")) for i in range(5 * numbers.stop)]
    bos = tokenizer.bos_token_id
    texts = []
    for number in numbers:
        five = encoded[5 * number : 5 * number + 5]
        texts.append(((bos, *sum(five[:3], ())), sum(five[3:], ())))
    logged = [{CONDITIONS[number % len(CONDITIONS)]: 1} for number in numbers]
    return corpus_of(
        texts,
        logged,
        special_ids=tokenizer.all_special_ids,
        counts=CorpusCounts(len(texts), 0, 0, 0, 0, 0, 0, 0),
    )


def dictionaries(model: Any, corpus: Corpus) -> dict[int, LatentRows]:
    """Return random latents for each layer that fire on about one token in a hundred."""
    flat, inside = laid_out(corpus, np.arange(N_CALIBRATION))
    counted = torch.from_numpy(inside & corpus.is_counted[flat])
    tokens = torch.from_numpy(corpus.tokens[flat].astype(np.int64))
    points = {layer: HookPoint(layer) for layer in range(N_LAYERS)}
    with torch.inference_mode(), Taps(model).tapped(points.values()) as states:
        model.base_model(input_ids=tokens, use_cache=False)
    rows = {}
    for layer in range(N_LAYERS):
        draw = torch.Generator().manual_seed(layer)
        w_enc = torch.randn(N_LATENTS, D_MODEL, generator=draw) / D_MODEL**0.5
        z = states[points[layer]][counted] @ w_enc.T
        rows[layer] = LatentRows(
            layer,
            torch.arange(N_LATENTS),
            w_enc,
            torch.zeros(N_LATENTS),
            w_enc.clone(),
            torch.quantile(z, 1 - FIRING_SHARE, dim=0).clamp_min(1e-3),
        )
    return rows


def plain(model: Any, corpus: Corpus, batch: np.ndarray) -> None:
    """Run some documents through the model and keep nothing."""
    flat, _ = laid_out(corpus, batch)
    tokens = torch.from_numpy(corpus.tokens[flat].astype(np.int64))
    with torch.inference_mode():
        model.base_model(input_ids=tokens, use_cache=False)


def with_and_without(
    model: Any, corpus: Corpus, rows: dict[int, LatentRows]
) -> list[tuple[float, float]]:
    """Return for each round and batch the seconds of the plain pass and of the one that reads."""
    device = torch.device("cpu")
    times: list[tuple[float, float]] = []
    for number, batch in enumerate(batches(corpus, BATCH_TOKENS) * N_ROUNDS):
        taken = [0.0, 0.0]
        for reads in (number % 2, 1 - number % 2):
            if reads:
                # Hooks are there only while they read: the plain pass must not meet them.
                with open_reader(model, corpus, rows) as reader:
                    taken[1] = timed(partial(reader.read, [batch]), device)
            else:
                taken[0] = timed(partial(plain, model, corpus, batch), device)
        times.append((taken[0], taken[1]))
    return times


def per_latent(model: Any, corpus: Corpus, rows: dict[int, LatentRows]) -> None:
    """Go the plan's way for some latents: a pass each, with the whole dictionary of the layer."""
    for layer in np.linspace(0, N_LAYERS - 1, N_ALONE).astype(int).tolist():
        read_activations(model, corpus, {layer: rows[layer]})


def measure(threads: int) -> Figures:
    """Return the figures of one run."""
    torch.set_num_threads(threads)
    device = torch.device("cpu")
    loaded = load_model(ModelSpec(str(model_folder()), dtype="float32", device="cpu"))
    model, tokenizer = loaded.model, loaded.tokenizer
    corpus = make_corpus(tokenizer, range(N_DOCUMENTS))
    part = make_corpus(tokenizer, range(N_DOCUMENTS // N_PARTS))
    every = dictionaries(model, part)
    chosen = torch.arange(0, N_LATENTS, N_LATENTS // N_READ)[:N_READ]
    rows = {layer: whole.select(chosen) for layer, whole in every.items()}
    found = read_activations(model, corpus, rows)
    times = with_and_without(model, corpus, rows)
    alone = timed(lambda: per_latent(model, part, every), device)
    statistics_s = statistics.median(
        timed(lambda: associate(found, corpus, TokensSection()), device) for _ in range(5)
    )
    plain_s, read_s = (sum(each[way] for each in times) / N_ROUNDS for way in (0, 1))
    n_latents = N_READ * N_LAYERS
    per_latent_s = alone / N_ALONE * N_PARTS * n_latents
    return Figures(
        n_tokens=len(corpus.tokens),
        n_latents=n_latents,
        n_activations=len(found),
        plain_s=plain_s,
        read_s=read_s,
        overhead=statistics.median(read / bare - 1 for bare, read in times),
        statistics_s=statistics_s,
        statistics_share=statistics_s / plain_s,
        per_latent_s=per_latent_s,
        times_faster=per_latent_s / (read_s + statistics_s),
    )


def main() -> None:
    """Measure, print, and say whether the bar was met."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    figures = measure(options.threads)
    print(
        f"{figures.n_tokens:,} tokens, {figures.n_latents} latents, "
        f"{figures.n_activations:,} activations, {options.threads} threads"
    )
    print(f"plain pass                 {figures.plain_s:8.1f} s")
    print(f"pass with reading          {figures.read_s:8.1f} s   {figures.overhead:+.1%}")
    print(
        f"statistics                 {figures.statistics_s:8.1f} s   "
        f"{figures.statistics_share:.1%} of the plain pass"
    )
    print(
        f"a pass for each latent     {figures.per_latent_s:8.0f} s   "
        f"{figures.times_faster:.0f} × ours, statistics included"
    )
    added = figures.overhead + figures.statistics_share
    verdict = "met" if added <= BAR else "MISSED"
    print(f"both, at most {BAR:.0%} over the plain pass: {added:+.1%} {verdict}")
    if options.json:
        machine = as_json(describe_machine(torch.device("cpu")))
        options.json.write_text(json.dumps({"machine": machine, **asdict(figures)}, indent=2))


if __name__ == "__main__":
    main()

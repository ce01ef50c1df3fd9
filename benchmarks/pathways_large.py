"""A slice of a study on a model of 8B shape: time and memory of each part against the forecast.

The model has the shape of Llama-3.1-8B and random weights, made on the device (``large_world``).
One random JumpReLU dictionary in the host's memory stands for the files of all layers', each layer
with a threshold of its own such that about as many latents fire on a token as of Llama Scope's; so
dictionaries are folded, moved and double-buffered as from files, and never all resident.

What is run are texts of the study that ``glassbox pathways forecast`` counts, evenly spread over
it: its targets at its layers and places, its sources and where they begin. Each part is warmed up
on one text, then measured:

``sweep``      upstream gradients by the selected latents.
``streamed``   the same by all latents of all dictionaries, which pass by a layer at a time.
``replay``     each target's sources ablated, each run from where it begins as far as its target.
``corpus``     the selected latents read on plain passes over other texts.

The slice's operations are counted as the forecast counts the study's. Seconds by them give the
share of the 4096-cubed product's rate, which the forecast assumes, and the hours of the study; the
peak of each part stands beside what was in use before it and what is counted for it.

Run: ``python -m benchmarks.pathways_large [--texts N] [--targets N] [--json FILE]`` on a machine
with a CUDA device. ``--shape tiny`` runs the same code anywhere in seconds; its figures say nothing
about large models.
"""

import argparse
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import torch
from transformers import LlamaForCausalLM

from benchmarks.apparatus.large_world import (
    Run,
    Shape,
    corpus_like,
    random_dictionaries,
    random_model,
    runs_of,
    shape_8b,
    shape_tiny,
    texts_of,
)
from glassbox.engine.model.devices import keep_freed_memory
from glassbox.pathways.blocks.weights import ModelBlocks, take_blocks
from glassbox.pathways.corpus.activation_pass import BATCH_TOKENS, read_activations
from glassbox.pathways.corpus.contexts import Context
from glassbox.pathways.discovery.gradients import ContextGradients
from glassbox.pathways.discovery.sources import HeldSources, Sources, StreamedSources
from glassbox.pathways.discovery.sweep import SweepOptions, upstream_gradients
from glassbox.pathways.discovery.workers import n_workers
from glassbox.pathways.latents import LatentId
from glassbox.pathways.orchestration.costs import (
    ContextShape,
    corpus_flop,
    replay_flop,
    sweep_flop,
)
from glassbox.pathways.orchestration.forecast import Device, StudyForecast, forecast_study
from glassbox.pathways.orchestration.memory import MemoryMeter, free_bytes
from glassbox.pathways.orchestration.rates import measured_device
from glassbox.pathways.orchestration.sizes import (
    TILE_ROWS,
    Chunking,
    Dictionary,
    corpus_bytes,
    replay_peak,
    sweep_bytes,
)
from glassbox.pathways.replay.clean_text import Latents
from glassbox.pathways.replay.interventions import Effects
from glassbox.pathways.replay.replaying import BATCH_TOKENS as REPLAY_TOKENS
from glassbox.pathways.replay.replaying import replay_text
from glassbox.pathways.saes.dictionaries import Dictionaries
from glassbox.pathways.saes.rows import LatentRows

NEAR = 0.2
"""Largest relative difference of a forecast from what was measured."""

READ = 4
"""Documents that the corpus pass reads for each text of the slice."""

REPLAYS = ("validate", "its null", "its sample")
"""Steps of the forecast that are runs like the slice's."""


@dataclass(frozen=True)
class Part:
    """What one part of the slice took; bytes, seconds, operations."""

    name: str
    seconds: float
    flop: float
    """Counted, of the slice."""
    study_flop: float
    """Counted, of the whole study; 0 where the study has no such part."""
    rate: float
    """Operations a second of the 4096-cubed product."""
    assumed_share: float
    """Of that rate, as the forecast has it."""
    before_bytes: int
    peak_bytes: int
    counted_bytes: int
    """What the forecast adds to what is in use before."""

    @property
    def share(self) -> float:
        """Of the product's rate."""
        return self.flop / self.seconds / self.rate

    @property
    def study_s(self) -> float:
        """Seconds of the whole study's part at this pace."""
        return self.study_flop / self.flop * self.seconds

    @property
    def forecast_s(self) -> float:
        """The same as the forecast has it, at the measured rate of the product."""
        return self.study_flop / (self.rate * self.assumed_share)

    @property
    def off(self) -> float:
        """By how much the forecast of the peak misses, relative."""
        return (self.before_bytes + self.counted_bytes) / self.peak_bytes - 1


@dataclass(frozen=True, eq=False)
class Slice:
    """Some texts of a study, ready to run."""

    shape: Shape
    device: Device
    model: LlamaForCausalLM
    blocks: ModelBlocks
    dictionaries: Dictionaries
    texts: Sequence[Context]
    runs: Sequence[Sequence[Run]]
    """By text, its replays."""
    rows: dict[int, LatentRows]
    """The selected latents', on the device."""
    replayed: dict[int, LatentRows]
    """The same with the replays' sources."""
    forecast: StudyForecast

    def parts(self) -> list[Part]:
        """Run and measure everything."""
        size, model, shares = self.shape.size, self.shape.model, self.forecast.shares
        shapes = [shape_of(each) for each in self.texts]
        chunking = Chunking(
            tile_rows=TILE_ROWS.get(self.blocks.device.type, TILE_ROWS["cpu"]),
            workers=n_workers(self.blocks.device, len(self.texts)),
        )
        steps = {step.step: step.flop for step in self.forecast.steps}
        swept = float(sweep_flop(model, shapes, lowest_source=size.layers[0]))
        runs = [run.shape for each in self.runs for run in each]
        # As the forecast counts them: a clean run goes along with every batch.
        replayed = replay_flop(model, runs) * (1 + size.n_tokens / REPLAY_TOKENS)
        replayed += model.forward_flop(model.n_layers, size.n_tokens) * len(self.texts)
        n_read = READ * len(self.texts)
        lengths, latents = [size.n_tokens] * n_read, dict.fromkeys(size.layers, size.per_layer)

        def held(sources: Dictionary) -> int:
            return sweep_bytes(model, shapes, chunking, sources, lowest_source=size.layers[0])

        few = Dictionary(size.n_latents, firing=self.shape.firing * size.per_layer / size.d_sae)
        whole = Dictionary(size.d_sae, is_streamed=True, firing=self.shape.firing)
        return [
            self._part(
                "sweep", partial(self.sweep, HeldSources(self.rows)), held(few),
                swept, steps["discover"], shares.sweep,
            ),
            self._part(
                "streamed", partial(self.sweep, StreamedSources(self.dictionaries)), held(whole),
                swept, 0.0, shares.sweep,
            ),
            self._part(
                "replay", self.replay,
                replay_peak(
                    model, n_tokens=size.n_tokens, batch_tokens=REPLAY_TOKENS,
                    n_sources=sum(len(rows) for rows in self.replayed.values()),
                ),
                replayed, sum(steps[each] for each in REPLAYS), shares.replay,
            ),
            self._part(
                "corpus", self.read,
                corpus_bytes(
                    model, batch_tokens=min(BATCH_TOKENS, sum(lengths)), longest=size.n_tokens,
                    n_latents=size.n_latents,
                ),
                float(corpus_flop(model, lengths, latents)), steps["tokens"], shares.corpus,
            ),
        ]  # fmt: skip

    def sweep(self, sources: Sources, texts: Sequence[Context]) -> list[ContextGradients]:
        """Return the gradients of some texts."""
        return list(upstream_gradients(self.blocks, texts, self.rows, sources, SweepOptions()))

    def replay(self, texts: Sequence[Context]) -> list[Effects]:
        """Return what ablating the sources of the first texts' targets does."""
        latents = Latents(self.replayed)
        return [
            replay_text(self.blocks, text, [run.what for run in runs], latents)
            for text, runs in zip(texts, self.runs, strict=False)
        ]

    def read(self, texts: Sequence[Context]) -> int:
        """Return how often the selected latents fire on documents, ``READ`` for each text."""
        corpus = corpus_like(self.shape, READ * len(texts))
        return len(read_activations(self.model, corpus, self.rows))

    def _part(
        self, name: str, run: Callable[[Sequence[Context]], object], counted: int,
        flop: float, study_flop: float, share: float,
    ) -> Part:  # fmt: skip
        run(self.texts[:1])
        meter = MemoryMeter(self.blocks.device)
        with meter.stage(name):
            run(self.texts)
        (stage,) = meter.stages
        return Part(
            name, stage.seconds, flop, study_flop, self.device.matmul_flop_s, share,
            stage.before_bytes, stage.peak_bytes, counted,
        )  # fmt: skip


def shape_of(context: Context) -> ContextShape:
    """Return what a forecast knows of a text."""
    targets = tuple((each.latent.layer, each.position) for each in context.targets)
    return ContextShape(len(context.token_ids), targets)


def make_slice(shape: Shape, n_texts: int, where: torch.device, device: Device) -> Slice:
    """Return a slice of a study, its model and dictionaries made.

    Args:
        shape: Of the model and the study.
        n_texts: Texts of the slice.
        where: The torch device.
        device: What the forecast counts with.
    """
    model = random_model(shape, where)
    blocks = take_blocks(model)
    dictionaries = random_dictionaries(shape, blocks)
    size = shape.size
    names = [LatentId(layer, index) for layer in size.layers for index in range(size.per_layer)]
    texts = texts_of(shape, n_texts)
    runs = runs_of(shape, blocks, dictionaries, texts)
    sources = {latent for each in runs for run in each for latent in run.what.latents}

    def rows(latents: Iterable[LatentId]) -> dict[int, LatentRows]:
        return {at: each.to(where) for at, each in dictionaries.rows(latents).items()}

    return Slice(
        shape, device, model, blocks, dictionaries, texts, runs, rows(names),
        rows({*names, *sources}), forecast_study(shape.model, size, device),
    )  # fmt: skip


def require_room(shape: Shape, where: torch.device) -> None:
    """Return if the shape can be run on a device.

    Raises:
        SystemExit: It cannot; says why, and what can.
    """
    if shape.name == "tiny":
        return
    if where.type != "cuda":
        raise SystemExit(
            f"The shape {shape.name} needs a CUDA device, and this machine has none that torch "
            "sees. --shape tiny runs the same code anywhere."
        )
    forecast = forecast_study(shape.model, shape.size)
    # Two whole dictionaries beside everything else, for the part that streams them.
    two = 2 * 2 * shape.size.d_sae * shape.model.d_model * shape.model.itemsize
    needed, free = forecast.peak_bytes + two, free_bytes(where)
    if needed > free:
        raise SystemExit(
            f"The shape {shape.name} needs about {needed / 1e9:.0f} GB on the device, of which "
            f"{free / 1e9:.0f} GB are free."
        )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--shape", choices=("8b", "tiny"), default="8b")
    parser.add_argument("--texts", type=int, default=32, help="texts of the slice")
    parser.add_argument("--targets", type=int, default=8, help="targets in each text")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    keep_freed_memory()
    shape = shape_8b() if given.shape == "8b" else shape_tiny()
    shape = replace(shape, size=replace(shape.size, targets_per_context=given.targets))
    where = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    require_room(shape, where)
    device = measured_device(where.type, shape.dtype)
    ready = make_slice(shape, given.texts, where, device)
    parts = ready.parts()
    print_report(ready, parts)
    if given.json:
        report = {
            "device": asdict(device),
            "parts": [asdict(each) for each in parts],
            "forecast": ready.forecast.to_json(),
        }
        given.json.write_text(json.dumps(report, indent=1))


def print_report(ready: Slice, parts: Sequence[Part]) -> None:
    """Print a table, what it makes of the study's hours, and how the forecasts stand."""
    size, device = ready.shape.size, ready.device
    pairs = sum(len(each.targets) for each in ready.texts)
    print(
        f"{ready.shape.name} on {device.name}: {device.matmul_flop_s / 1e12:.1f} TFLOP/s (4096 "
        f"cubed); {len(ready.texts)} texts of {size.n_tokens} tokens, {pairs} targets"
    )
    print(
        f"{'part':<10}{'s':>9}{'TFLOP':>9}{'share':>7}{'assumed':>9}{'study h':>9}{'forecast':>10}"
        f"{'before':>10}{'peak MB':>10}{'counted':>10}{'off':>7}"
    )
    for each in parts:
        hours = [f"{s / 3600:.2f}" if s else "-" for s in (each.study_s, each.forecast_s)]
        verdict = "" if abs(each.off) <= NEAR else "  MISSED"
        print(
            f"{each.name:<10}{each.seconds:>9.2f}{each.flop / 1e12:>9.2f}{each.share:>7.2f}"
            f"{each.assumed_share:>9.2f}{hours[0]:>9}{hours[1]:>10}"
            f"{each.before_bytes / 1e6:>10.0f}{each.peak_bytes / 1e6:>10.0f}"
            f"{(each.before_bytes + each.counted_bytes) / 1e6:>10.0f}{each.off:>+7.0%}{verdict}"
        )
    study = sum(each.study_s for each in parts) / 3600
    said = sum(each.forecast_s for each in parts) / 3600
    print(
        f"the study's sweep, replays and tokens: {study:.2f} h at this pace, {said:.2f} h forecast"
    )


if __name__ == "__main__":
    main()

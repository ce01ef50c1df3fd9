"""All upstream gradients of 64 targets in 4 texts, against one backward pass a target.

The benchmark model with a random TopK dictionary of 4,096 latents on every layer, 40 of which
fire at each token; 64 targets on layers 3 to 11, each in 4 texts of 96 real tokens. The ways take
turns, so that a noisy machine disturbs all alike; figures are medians over the rounds, for one
target in one text. Slow ways do a part of the targets, every n-th of them in order of layer.

``literal``     the study's plan: SAEs in the graph, a forward and a backward pass a target.
``no SAEs``     the same without SAEs in the graph.
``shared``      one forward pass a text, then a backward pass a target.
``replicated``  16 equal rows a text, targets in order of layer, one backward pass for 16 targets,
                the forward pass reused (as circuit-tracer does, which repeats it).
``sweep``       ours, past later SAEs; ``through`` goes through them, as the literal one does.

Beside them what the arithmetic alone would take at the rate of a 4096-cubed matrix product, with
nothing counted that lies outside a target's cone.

Run: ``GLASSBOX_TEST_DATA=... python -m benchmarks.sweep [--threads N] [--json FILE]``
"""

import argparse
import json
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.apparatus.machine import as_json, describe_machine, matmul_flops, timed
from benchmarks.apparatus.model import D_MODEL, N_LAYERS, model_folder, sentences
from glassbox.engine.model.devices import keep_freed_memory
from glassbox.engine.model.load import load_model
from glassbox.pathways.blocks.forward import run_context
from glassbox.pathways.blocks.weights import ModelBlocks, take_blocks
from glassbox.pathways.corpus.contexts import Context, make_context
from glassbox.pathways.discovery.oracle import layers_of, target_gradients
from glassbox.pathways.discovery.sources import HeldSources, SourceLayer
from glassbox.pathways.discovery.sweep import SweepOptions, upstream_gradients
from glassbox.pathways.latents import LatentId
from glassbox.pathways.saes.rows import LatentRows
from glassbox.pathways.saes.sae import Sae, SaeSource
from glassbox.types import ModelSpec

N_LATENTS = 4096
N_FIRING = 40
N_TARGETS = 64
N_CONTEXTS = 4
N_TOKENS = 96
LOWEST_TARGET = 3
N_REPLICATED = 16
BARS = {"literal": 12.0, "replicated": 3.0, "share": 0.15}
"""Least times faster than a way, and least share of the matrix product's rate."""


@dataclass
class Contest:
    """The ways over one set of targets."""

    model: Any
    blocks: ModelBlocks
    saes: dict[int, Sae]
    contexts: list[Context]
    rows: dict[int, LatentRows]

    def literal(self, every: int) -> int:
        """Go the way of the study's plan for every n-th target; return how many pairs that were."""
        sources = {layer: SourceLayer(sae) for layer, sae in self.saes.items()}
        pairs = self._pairs(every)
        for context, target in pairs:
            target_gradients(self.model, context, target, self.rows, sources, "through")
        return len(pairs)

    def no_saes(self, every: int) -> int:
        """Run a forward and a backward pass without SAEs for every n-th target."""
        pairs = self._pairs(every)
        for context, target in pairs:
            stream = self._forward(context, 1)
            self._backward(context, stream, [target])
        return len(pairs)

    def shared(self, every: int) -> int:
        """Run one forward pass a text and a backward pass for every n-th target."""
        n = 0
        for context in self.contexts:
            stream = self._forward(context, 1)
            for target in context.targets[::every]:
                self._backward(context, stream, [target])
                n += 1
        return n

    def replicated(self, n_contexts: int) -> int:
        """Run rows of one text side by side, the forward pass reused."""
        n = 0
        for context in self.contexts[:n_contexts]:
            stream = self._forward(context, N_REPLICATED)
            for low in range(0, len(context.targets), N_REPLICATED):
                self._backward(context, stream, context.targets[low : low + N_REPLICATED])
            n += len(context.targets)
        return n

    def sweep(self, path: str) -> int:
        """Run the sweep over all targets."""
        options = SweepOptions(path=path)  # type: ignore[arg-type]
        found = upstream_gradients(
            self.blocks, self.contexts, self.rows, HeldSources(self.saes), options
        )
        return sum(len(each.context.targets) for each in found)

    def _pairs(self, every: int) -> list[tuple[Context, Any]]:
        both = [(context, target) for context in self.contexts for target in context.targets]
        return both[:: max(1, every)]

    def _forward(self, context: Context, n_rows: int) -> list[Tensor]:
        """Return what each block wrote, with a graph from the first block's output on."""
        stream: list[Tensor] = []

        def keep(_module: Any, _inputs: Any, output: Tensor) -> Tensor:
            stream.append(output if stream else output.detach().requires_grad_(True))
            return stream[-1]

        hooks = [layer.register_forward_hook(keep) for layer in layers_of(self.model)]
        tokens = torch.tensor(context.token_ids).expand(n_rows, -1)
        self.model.base_model(input_ids=tokens, use_cache=False)
        for hook in hooks:
            hook.remove()
        return stream

    def _backward(
        self, context: Context, stream: list[Tensor], targets: Sequence[Any]
    ) -> list[Tensor]:
        """Return gradients by all firing latents of all layers below, target by target."""
        highest = max(target.latent.layer for target in targets)
        total = stream[0].new_zeros(())
        for row, target in enumerate(targets):
            latents = self.rows[target.latent.layer]
            place = int((latents.indices == target.latent.index).nonzero())
            total = total + stream[target.latent.layer][row, target.position] @ latents.w_enc[place]
        gradients = torch.autograd.grad(total, stream[:highest], retain_graph=True)
        out = []
        for layer, gradient in enumerate(gradients):
            _, places = self.firing[context.document_id, layer]
            decoder = self.saes[layer].w_dec[places]
            # Every position has as many: one product by position.
            split = decoder.view(N_TOKENS, N_FIRING, -1)
            out.append(gradient.transpose(0, 1) @ split.transpose(1, 2))
        return out

    def __post_init__(self) -> None:
        self.firing: dict[tuple[int, int], tuple[Tensor, Tensor]] = {}
        with torch.no_grad():
            for context in self.contexts:
                for layer, x in enumerate(self._forward(context, 1)):
                    f = self.saes[layer].encode(x[0])
                    positions, places = f.nonzero(as_tuple=True)
                    self.firing[context.document_id, layer] = positions, places


def random_sae(layer: int, n_latents: int = N_LATENTS) -> Sae:
    """Return a TopK dictionary of random directions, 40 of which fire at every token."""
    generator = torch.Generator().manual_seed(layer)
    decoder = torch.randn(n_latents, D_MODEL, generator=generator)
    decoder /= decoder.norm(dim=1, keepdim=True)
    source = SaeSource("memory", "file", "", "", "topk", "")
    zeros = torch.zeros(n_latents)
    return Sae(
        layer, decoder.clone(), zeros, decoder, torch.zeros(D_MODEL), zeros, source, N_FIRING
    )


def make_contest() -> Contest:
    """Return the model, its dictionaries, and 64 latents where they are strongest in each text."""
    loaded = load_model(ModelSpec(str(model_folder()), device="cpu", dtype="float32"))
    model = loaded.model
    blocks = take_blocks(model)
    saes = {layer: random_sae(layer) for layer in range(N_LAYERS)}
    generator = np.random.default_rng(0)
    latents = [
        LatentId(
            LOWEST_TARGET + at * (N_LAYERS - LOWEST_TARGET) // N_TARGETS,
            int(generator.integers(N_LATENTS)),
        )
        for at in range(N_TARGETS)
    ]
    wanted: dict[int, list[int]] = {}
    for latent in latents:
        wanted.setdefault(latent.layer, []).append(latent.index)
    rows = {layer: saes[layer].rows(torch.tensor(some)) for layer, some in wanted.items()}
    text = loaded.tokenizer.encode(" ".join(sentences("test")[:200]))
    contexts = []
    for at in range(N_CONTEXTS):
        tokens = [0, *text[at * N_TOKENS : (at + 1) * N_TOKENS - 1]]
        places = _strongest(blocks, tokens, rows)
        contexts.append(make_context(at, tokens, places, excluded=(0,)))
    return Contest(model, blocks, saes, contexts, rows)


def _strongest(
    blocks: ModelBlocks, tokens: Sequence[int], rows: dict[int, LatentRows]
) -> list[tuple[LatentId, int]]:
    with torch.no_grad():
        run = run_context(blocks, torch.tensor(tokens))
    return [
        (LatentId(layer, int(index)), 1 + int(z[1:].argmax()))
        for layer, some in rows.items()
        for index, z in zip(some.indices, some.preactivations(run.output(layer)).T, strict=True)
    ]


def useful_flops(blocks: ModelBlocks, context: Context) -> float:
    """Return the floating-point operations that a context's gradients cannot do without.

    One shared forward pass; of each target's first block one row, but for keys and values; below
    it every position between the first that counts and the target's own; attention's four
    products over the keys each query sees; one product for each source inside the cone.
    """
    block = blocks.blocks[0]
    n_query, d = block.query.shape
    keys = 2 * block.key.numel()
    first = 1
    flops = 2.0 * blocks.parameters_per_block * (context.last_position + 1)
    flops *= context.last_layer + 1
    for layer, position in ((each.latent.layer, each.position) for each in context.targets):
        n = position + 1 - first
        pairs = sum(at + 1 for at in range(first, position + 1))
        flops += 2.0 * (blocks.parameters_per_block - keys) + 2.0 * keys * n
        flops += 4 * 2.0 * n_query * (position + 1)
        below = layer - 1
        flops += below * (2.0 * blocks.parameters_per_block * n + 4 * 2.0 * n_query * pairs)
        flops += layer * 2.0 * d * N_FIRING * n
    return flops


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--every", type=int, default=16, help="slow ways do every n-th pair")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    keep_freed_memory()
    contest = make_contest()
    report = measure(contest, given.rounds, given.every)
    print_report(report)
    if given.json:
        machine = as_json(describe_machine(torch.device("cpu")))
        given.json.write_text(json.dumps({"machine": machine} | asdict(report), indent=1))


@dataclass(frozen=True)
class Report:
    """What was measured."""

    pair_ms: dict[str, float]
    """Milliseconds for one target in one text, by way; medians."""
    ratios: dict[str, float]
    """Times faster the sweep is than each way: the median of the rounds' ratios."""
    matmul_gflops: float
    useful_gflop: float
    """Of all targets in all texts."""
    bound_ms: float
    """For one target in one text: useful operations at the matrix product's rate."""
    share: float
    """Of the matrix product's rate, on useful operations."""
    mean_position: float
    """Of the targets: half a text if they stand anywhere."""


def measure(contest: Contest, rounds: int, every: int) -> Report:
    """Return medians over rounds in which each way takes its turn."""
    device = torch.device("cpu")
    ways: dict[str, Callable[[], int]] = {
        "literal": lambda: contest.literal(every),
        "no SAEs": lambda: contest.no_saes(every),
        "shared": lambda: contest.shared(every // 2),
        "replicated": lambda: contest.replicated(1),
        "sweep": lambda: contest.sweep("past"),
        "through": lambda: contest.sweep("through"),
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    rates: list[float] = []
    for turn in range(rounds + 1):
        for name, way in ways.items():
            n = 0

            def run(way: Callable[[], int] = way) -> None:
                nonlocal n
                n = way()

            seconds = timed(run, device) / n
            if turn:
                times[name].append(seconds)
        if turn:
            rates.append(matmul_flops(torch.float32, device, 1))
    median = {name: statistics.median(some) for name, some in times.items()}
    useful = sum(useful_flops(contest.blocks, context) for context in contest.contexts)
    n_pairs = sum(len(context.targets) for context in contest.contexts)
    rate = statistics.median(rates)
    shares = [
        useful / n_pairs / seconds / each
        for seconds, each in zip(times["sweep"], rates, strict=True)
    ]
    positions = [target.position for each in contest.contexts for target in each.targets]
    return Report(
        {name: 1e3 * seconds for name, seconds in median.items()},
        {
            name: statistics.median(
                slow / fast for slow, fast in zip(some, times["sweep"], strict=True)
            )
            for name, some in times.items()
        }
        | {
            "literal / through": statistics.median(
                slow / fast for slow, fast in zip(times["literal"], times["through"], strict=True)
            )
        },
        rate / 1e9,
        useful / 1e9,
        1e3 * useful / n_pairs / rate,
        statistics.median(shares),
        statistics.mean(positions),
    )


def print_report(report: Report) -> None:
    """Print a table, and how it stands to the bars."""
    print(f"{'way':<12}{'ms a pair':>12}{'x':>8}")
    for name, ms in report.pair_ms.items():
        print(f"{name:<12}{ms:>12.2f}{report.ratios[name]:>8.1f}")
    print(f"literal against the sweep through SAEs: {report.ratios['literal / through']:.1f} x")
    print(
        f"arithmetic bound {report.bound_ms:.2f} ms a pair: {report.useful_gflop:.0f} GFLOP in all "
        f"at {report.matmul_gflops:.0f} GFLOP/s (4096 cubed); share reached {report.share:.2f}; "
        f"mean position of a target {report.mean_position:.0f} of {N_TOKENS}"
    )
    reached = {"literal": report.ratios["literal"], "replicated": report.ratios["replicated"]}
    for name, value in (reached | {"share": report.share}).items():
        verdict = "reached" if value >= BARS[name] else "MISSED"
        print(f"bar {name}: {value:.2f}, at least {BARS[name]}: {verdict}")


if __name__ == "__main__":
    main()

"""What it costs to check pathways by replay, against one full forward pass for each.

The benchmark model with a random dictionary of 4,096 latents on every layer, thresholds such that
40 fire at a token on average; 64 targets in 4 texts of 96 real tokens; the 25 sources of each
target with the largest attribution, as a sweep finds them. Rounds take one text after the other,
the ways in turn, so that a noisy machine disturbs all alike.

``kept``        the kept pathways of a text, each source ablated in one run that goes as far as its
                pathways need and reads what it comes past; per (target, source) kept.
``all targets`` some of these sources, each run carried to the last target of the text.
``exhaustive``  the 64 targets' own latents as sources, all targets read; per (target, source).

The baseline is the library's own forward pass over the text without its output head and without
hooks: less than what a replay by hand would cost. A sample of the results is held against it.

Run: ``GLASSBOX_TEST_DATA=... python -m benchmarks.replay [--threads N] [--json FILE]``
"""

import argparse
import json
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch

from benchmarks.apparatus.machine import as_json, describe_machine, matmul_flops, timed
from benchmarks.sweep import N_CONTEXTS, N_LATENTS, N_TOKENS, Contest, make_contest
from glassbox.engine.model.devices import keep_freed_memory
from glassbox.pathways.blocks.forward import run_context
from glassbox.pathways.discovery.gradients import ContextGradients
from glassbox.pathways.discovery.sources import HeldSources
from glassbox.pathways.discovery.sweep import SweepOptions, upstream_gradients
from glassbox.pathways.latents import LatentId
from glassbox.pathways.replay.clean_text import Latents
from glassbox.pathways.replay.interventions import ABLATE, Effects, Intervention
from glassbox.pathways.replay.matching import join_rows
from glassbox.pathways.replay.oracle import clean_by_forward, replay_by_forward
from glassbox.pathways.replay.replaying import Limits, replay_text
from glassbox.pathways.replay.text_pathways import TextPathways, pathways_in_text
from glassbox.pathways.saes.sae import Sae

N_FIRING = 40
TOP = 25
EVERY = 8
"""Every n-th source is carried to the end, for comparison."""
N_BASELINE = 4
"""Full forward passes of a round."""
N_CHECKED = 12
"""Runs of each text that the library's forward pass does again."""
BARS = {"kept": 8.0, "exhaustive": 40.0}
AIMS = {"kept": 15.0, "exhaustive": 40.0}
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Round:
    """What one text gave; seconds for all of a way."""

    forward_s: float
    kept_s: float
    n_kept: int
    n_kept_runs: int
    all_s: float
    n_all: int
    n_all_runs: int
    exhaustive_s: float
    n_exhaustive: int
    n_exhaustive_runs: int
    largest_difference: float
    """Between replays and the library's forward pass, over the largest effect checked."""

    def ratios(self) -> dict[str, float]:
        """Return how many times less than a full forward pass each pair took."""
        return {
            "kept": self.n_kept * self.forward_s / self.kept_s,
            "all targets": self.n_all * self.forward_s / self.all_s,
            "exhaustive": self.n_exhaustive * self.forward_s / self.exhaustive_s,
        }


def threshold_dictionaries(contest: Contest) -> dict[int, Sae]:
    """Return the contest's dictionaries with a threshold that lets 40 fire on average."""
    found = {}
    with torch.no_grad():
        runs = [run_context(contest.blocks, torch.tensor(c.token_ids)) for c in contest.contexts]
        for layer, sae in contest.saes.items():
            z = torch.cat([sae.preactivations(run.output(layer)[1:]) for run in runs])
            limit = z.flatten().kthvalue(z.numel() - N_FIRING * len(z)).values
            found[layer] = replace(
                sae, k=None, threshold=torch.full((N_LATENTS,), float(limit.clamp(min=0)))
            )
    return found


def strongest(gradients: Sequence[ContextGradients]) -> set[tuple[LatentId, LatentId]]:
    """Return (target, source) of the sources with the largest attribution over all texts."""
    sums: dict[LatentId, dict[LatentId, float]] = {}
    for each in gradients:
        wanted = pathways_in_text(each.context, each.layers, None)
        for row, attribution in enumerate(wanted.attribution.tolist()):
            target = each.context.targets[wanted.target[row]].latent
            source = LatentId(int(wanted.source_layer[row]), int(wanted.source_index[row]))
            own = sums.setdefault(target, {})
            own[source] = own.get(source, 0.0) + attribution
    return {
        (target, source)
        for target, found in sums.items()
        for source in sorted(found, key=lambda one: -abs(found[one]))[:TOP]
    }


def runs_of(wanted: TextPathways) -> list[Intervention]:
    """Return one ablation for each source, with the targets of its pathways."""
    runs = []
    for source in wanted.sources():
        own = (wanted.source_layer == source.layer) & (wanted.source_index == source.index)
        runs.append(Intervention((source,), ABLATE, targets=tuple(wanted.target[own].tolist())))
    return runs


def n_read(effects: Effects) -> int:
    """Return how many (target, source) pairs were read whose source is active before the target."""
    return int((np.isfinite(effects.pre) & (effects.n_changed > 0)).sum())


def measure(contest: Contest, limits: Limits) -> list[Round]:
    """Return one round for each text."""
    saes = threshold_dictionaries(contest)
    sweep = upstream_gradients(
        contest.blocks, contest.contexts, contest.rows, HeldSources(saes), SweepOptions()
    )
    gradients = list(sweep)
    kept = strongest(gradients)
    sources: dict[int, set[int]] = {}
    for _, source in kept:
        sources.setdefault(source.layer, set()).add(source.index)
    targets = {layer: saes[layer].rows(some.indices) for layer, some in contest.rows.items()}
    rows = join_rows(
        targets, {at: saes[at].rows(torch.tensor(sorted(some))) for at, some in sources.items()}
    )
    latents = Latents(rows)
    everyone = [
        LatentId(layer, index) for layer, some in targets.items() for index in some.indices.tolist()
    ]
    return [_round(contest, each, kept, everyone, latents, limits) for each in gradients]


def _round(
    contest: Contest,
    gradients: ContextGradients,
    kept: set[tuple[LatentId, LatentId]],
    everyone: Sequence[LatentId],
    latents: Latents,
    limits: Limits,
) -> Round:
    context = gradients.context
    tokens = torch.tensor([context.token_ids])

    def forward() -> None:
        with torch.no_grad():
            for _ in range(N_BASELINE):
                contest.model.base_model(input_ids=tokens, use_cache=False)

    wanted = pathways_in_text(context, gradients.layers, kept, below_cut=0.0)
    runs = runs_of(wanted)
    far = [replace(each, targets=None) for each in runs[::EVERY]]
    all_sources = [Intervention((each,)) for each in everyone]
    forward()
    forward_s = [timed(forward, CPU) / N_BASELINE]
    found = []
    for plan in (runs, far, all_sources):
        found.append(_timed_replay(lambda p=plan: replay_text(  # type: ignore[misc]
            contest.blocks, context, p, latents, limits=limits)))  # fmt: skip
        forward_s.append(timed(forward, CPU) / N_BASELINE)
    (kept_s, effects), (all_s, whole), (exhaustive_s, matrix) = found
    return Round(
        statistics.median(forward_s),
        kept_s,
        len(wanted.target),
        len(runs),
        all_s,
        n_read(whole),
        len(far),
        exhaustive_s,
        n_read(matrix),
        len(all_sources),
        _difference(contest, effects, latents),
    )


def _timed_replay(way: Callable[[], Effects]) -> tuple[float, Effects]:
    found: list[Effects] = []
    seconds = timed(lambda: found.append(way()), CPU)
    return seconds, found[0]


def _difference(contest: Contest, effects: Effects, latents: Latents) -> float:
    """Return the largest difference from the library's way, over the largest effect."""
    some = list(range(0, len(effects.interventions), len(effects.interventions) // N_CHECKED))
    runs = [effects.interventions[row] for row in some]
    layers = sorted({each.first_layer for each in runs})
    text = clean_by_forward(contest.model, effects.context, latents, layers)
    slow = replay_by_forward(contest.model, text, runs)
    both = np.isfinite(slow.pre)
    return float(np.abs(effects.pre[some] - slow.pre)[both].max() / np.abs(slow.pre[both]).max())


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--contexts", type=int, default=N_CONTEXTS, help="texts, a round each")
    parser.add_argument("--batch-tokens", type=int, default=Limits().batch_tokens)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    keep_freed_memory()
    contest = make_contest()
    contest.contexts = contest.contexts[: given.contexts]
    rounds = measure(contest, Limits(given.batch_tokens))
    medians = print_report(rounds)
    if given.json:
        machine = as_json(describe_machine(CPU))
        report = {"machine": machine, "ratios": medians, "rounds": [asdict(r) for r in rounds]}
        given.json.write_text(json.dumps(report, indent=1))


def print_report(rounds: Sequence[Round]) -> dict[str, float]:
    """Print a table and how it stands to the bars; return the median ratios."""
    forward_ms = 1e3 * statistics.median(each.forward_s for each in rounds)
    print(
        f"one full forward pass of {N_TOKENS} tokens: {forward_ms:.1f} ms; matrix product "
        f"{matmul_flops(torch.float32, CPU, 1) / 1e9:.0f} GFLOP/s (4096 cubed)"
    )
    print(f"{'way':<14}{'pairs':>9}{'runs':>7}{'ms a pair':>11}{'x':>8}{'per run x':>11}")
    medians = {}
    for name in rounds[0].ratios():
        field = name.split()[0]
        pairs = sum(getattr(each, f"n_{field}") for each in rounds)
        runs = sum(getattr(each, f"n_{field}_runs") for each in rounds)
        seconds = sum(getattr(each, f"{field}_s") for each in rounds)
        medians[name] = statistics.median(each.ratios()[name] for each in rounds)
        per_run = runs * forward_ms / 1e3 / seconds
        print(f"{name:<14}{pairs:>9}{runs:>7}{1e3 * seconds / pairs:>11.3f}"
              f"{medians[name]:>8.1f}{per_run:>11.1f}")  # fmt: skip
    worst = max(each.largest_difference for each in rounds)
    print(f"largest difference from the library's forward pass, of the largest effect: {worst:.1e}")
    for name, bar in BARS.items():
        verdict = "reached" if medians[name] >= bar else "MISSED"
        print(f"bar {name}: {medians[name]:.1f}, at least {bar}, aim {AIMS[name]}: {verdict}")
    return medians


if __name__ == "__main__":
    main()

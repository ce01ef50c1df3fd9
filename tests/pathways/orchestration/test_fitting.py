"""The forecast of times: the rehearsal's pace, for as much as there will be."""

import math
from dataclasses import fields, replace

import numpy as np
import pytest

from glassbox.errors import NoDiskSpace, OutOfMemory
from glassbox.pathways.config import StudyConfig
from glassbox.pathways.corpus.contexts import make_context
from glassbox.pathways.discovery.gradients import ContextGradients, LayerGradients
from glassbox.pathways.latents import LatentId
from glassbox.pathways.orchestration.costs import ContextShape, ModelShape, sweep_flop
from glassbox.pathways.orchestration.decision_runs import DecisionRuns
from glassbox.pathways.orchestration.fitting import (
    ROW_BYTES,
    Rehearsed,
    Workload,
    step_files,
    step_peaks,
    step_seconds,
    would_fit,
)
from glassbox.pathways.orchestration.memory import MemoryMeter, Stage
from glassbox.pathways.orchestration.room import require_fits
from glassbox.pathways.replay.cells import Cells, no_cells

SHAPE = ModelShape("small", 8, 64, 96, 4, 2, 16, 50, itemsize=4)
LOAD = Workload(
    n_targets=40, n_latents=48, n_pairs=240, n_contexts=30, n_documents=100, n_tokens=2000,
    longest=25, deepest=6, n_sources=60, n_activations=5000,
)  # fmt: skip
FIXED, PACE = 0.003, 1e-9


def context_of(targets):
    return make_context(0, range(1, 21), [(LatentId(*each), 19) for each in targets])


def rehearsed(pace=PACE):
    """A rehearsal on a machine that does so many operations a second, and starts so slowly."""
    one, many = context_of([(6, 0)]), context_of([(6, at) for at in range(8)])
    # Two of three sources pass the cut; eight targets have no more than the three that fire.
    gradients = np.array([[5.0, 3.0, 0.001]], np.float32)
    below = LayerGradients(
        0, np.array([3, 4, 4]), np.array([7, 8, 9]), np.ones(3, np.float32), 0, gradients,
        np.zeros((1, 3), np.float32), 0,
    )  # fmt: skip
    meter = MemoryMeter()
    for name, context in (("sweep, selected latents", one), ("many targets", many)):
        targets = tuple((each.latent.layer, each.position) for each in context.targets)
        flop = sweep_flop(SHAPE, [ContextShape(20, targets)])
        meter.stages.append(Stage(name, FIXED + pace * flop, 0, 0, 0))
    for name, took in (("activations", 0.5), ("clean text", 0.1), ("replay", 0.2)):
        meter.stages.append(Stage(name, took, 0, 0, 0))
    found = ContextGradients(one, "total", "past", (below,))
    return Rehearsed(found, 400, 1000, many, 10, DecisionRuns(clean=160, ablated=900)), meter


def seconds(load=LOAD, pace=PACE, **replay):
    config = StudyConfig.from_json({"replay": {"doses": ["ablate", "half"], "n_null": 5} | replay})
    return step_seconds(config, SHAPE, load, *rehearsed(pace))


def test_reading_takes_as_long_as_there_are_tokens():
    assert seconds()["tokens"] == pytest.approx(0.5 * 2000 / 400)
    assert seconds(replace(LOAD, n_tokens=4000))["tokens"] == pytest.approx(0.5 * 4000 / 400)


def test_effects_on_the_decision_take_runs_of_prompts_and_random_directions():
    def integrating(**integrate):
        config = StudyConfig.from_json({"integrate": {"n_prompts": 4, "n_null": 3} | integrate})
        return step_seconds(config, SHAPE, LOAD, *rehearsed())["integrate"]

    one = 0.5 / (400 * 8)  # a token through a block
    # Each prompt once with nothing changed; each latent itself, and three random directions.
    assert integrating() == pytest.approx(8 * (160 + 4 * 900) * one)
    assert integrating(n_null=0) == pytest.approx(8 * (160 + 900) * one)
    assert integrating(n_prompts=8) == pytest.approx(2 * integrating())
    assert integrating(faithfulness=False) == 0
    # Of many directions all latents get a first look, and half of them a second.
    assert integrating(n_null=20) == pytest.approx(8 * (2 * 160 + (1 + 5 + 10) * 900) * one)


def test_every_source_gets_the_first_dose_and_more_where_it_is_looked_at_closely():
    n_texts, n_sources = 30, 3
    # Eight targets with two pathways each, from three sources; one of eight texts each.
    close = (1 + math.log(16 / 3)) / 8
    clean = 0.1 * n_texts
    replay = {"max_below": 1, "below_cut": 0.0}

    def runs(**more):
        return (seconds(**replay | more)["validate"] - clean) / 0.02

    assert runs(close_texts=1) == pytest.approx(n_texts * n_sources * (1 + (1 + 5) * close))
    assert runs() == pytest.approx(n_texts * n_sources * (2 + 5))
    assert runs(close_texts=1, n_null=0) == pytest.approx(n_texts * n_sources * (1 + close))
    # Exhaustive, what is below the cut has its pathways too.
    close = (1 + math.log(24 / 3)) / 8
    exhaustive = runs(close_texts=1, exhaustive=True)
    assert exhaustive == pytest.approx(n_texts * n_sources * (1 + (1 + 5) * close))
    # One of three sources is below the cut; each of the sample has a run and its directions.
    n_below = LOAD.n_pairs
    share = runs(below_cut=0.1, max_below=10**6) - runs()
    assert share == pytest.approx(0.1 * n_below * 6)
    assert runs(below_cut=0.1, max_below=7) - runs() == pytest.approx(7 * 6)


def test_a_sweep_takes_something_a_text_and_something_an_operation():
    found = seconds()["discover"]
    assert found > 30 * FIXED
    arithmetic = found - 30 * FIXED
    assert seconds(pace=2 * PACE)["discover"] == pytest.approx(30 * FIXED + 2 * arithmetic)
    # Targets stand anywhere: about half of what they would cost at the end of the deepest layer.
    most = PACE * 30 * sweep_flop(SHAPE, [ContextShape(20, ((6, 19),) * 8)])
    assert 0.2 * most < arithmetic < 0.8 * most


def test_every_measured_effect_is_a_row_in_the_files():
    replay = {"doses": ["ablate", "half"], "n_null": 5, "below_cut": 0.0}

    def files(**more):
        config = StudyConfig.from_json({"replay": replay | more})
        return step_files(config, LOAD, rehearsed()[0].found)["validate"]

    row = sum(getattr(no_cells(), each.name).itemsize for each in fields(Cells))
    # Two of three sources are kept, in 240 places of targets; an effect for each random direction.
    assert files(n_null=6) - files() == 240 * 2 * row
    assert files() - files(n_null=0) == 5 * (files(n_null=6) - files())
    # Exhaustive, the third is replayed too, and each pair has its rows of the table.
    more = files(exhaustive=True) - files()
    assert more == 240 * 7 * row + 40 * (47 - 25) * 2 * ROW_BYTES["validated"]


def test_activations_are_joined_in_the_hosts_memory():
    def peak(kind, n):
        load = replace(LOAD, n_activations=n)
        return step_peaks(StudyConfig(), SHAPE, load, kind=kind, n_sae=4096)["tokens"]

    assert peak("cpu", 10**9) == 8 * 10**10
    assert peak("cpu", 10) == peak("cuda", 10**9) == peak("cuda", 10)


def test_more_targets_than_a_chunk_take_no_more_memory():
    config = StudyConfig()

    def peak(n_pairs):
        load = replace(LOAD, n_pairs=n_pairs, n_contexts=n_pairs // 8)
        return step_peaks(config, SHAPE, load, kind="cpu", n_sae=4096)["discover"]

    assert peak(4096) == peak(65536)
    assert peak(128) < peak(4096)


def chunked(targets, tokens):
    config = StudyConfig.from_json(
        {"discover": {"chunk_targets": targets}, "replay": {"batch_tokens": tokens}}
    )
    return step_peaks(config, SHAPE, WIDE, kind="cpu", n_sae=4096)


WIDE = replace(LOAD, n_pairs=65536, n_contexts=8192, n_activations=0)


def test_the_largest_chunks_that_fit_are_found_by_halving():
    most = chunked(4096, 8192)
    config = StudyConfig.from_json(
        {"discover": {"chunk_targets": 4096}, "replay": {"batch_tokens": 8192}}
    )

    def found(room):
        return would_fit(config, SHAPE, WIDE, room=room, kind="cpu", n_sae=4096)

    assert found(max(most.values())) == {
        "discover.chunk_targets": 4096, "replay.batch_tokens": 8192,
    }  # fmt: skip
    room = max(most["tokens"], chunked(512, 8192)["discover"], chunked(4096, 1024)["validate"])
    assert max(most.values()) > room
    fits = found(room)
    targets, tokens = fits["discover.chunk_targets"], fits["replay.batch_tokens"]
    assert max(chunked(targets, tokens).values()) <= room
    # Each is as large as it can be: twice as much is over, or was asked for.
    for twice, asked, peak in (
        (2 * targets, 4096, chunked(2 * targets, tokens)["discover"]),
        (2 * tokens, 8192, chunked(targets, 2 * tokens)["validate"]),
    ):
        assert twice > asked or peak > room
    assert targets < 4096 or tokens < 8192
    # The corpus pass has no chunk that could be smaller.
    assert found(most["tokens"] - 1) is None


def test_what_does_not_fit_is_refused_with_what_would():
    steps = [{"step": "tokens", "peak_bytes": 1e9}, {"step": "discover", "peak_bytes": 3e10}]
    forecast = {
        "steps": steps, "peak_bytes": 3e10, "limit_bytes": 2.8e10, "memory": "cuda",
        "would_fit": {"discover.chunk_targets": 128, "replay.batch_tokens": 2048},
        "disk_bytes": 5e8, "free_disk_bytes": 5e8,
    }  # fmt: skip
    words = "Would fit: discover.chunk_targets = 128, replay.batch_tokens = 2048"
    with pytest.raises(OutOfMemory, match=rf"'discover' would need 30\.0 GB.*28\.0 GB.*{words}"):
        require_fits(forecast)
    require_fits(forecast | {"limit_bytes": 3e10})
    with pytest.raises(NoDiskSpace, match=r"would take 500.0 MB; there is room for 400.0 MB"):
        require_fits(forecast | {"limit_bytes": 3e10, "free_disk_bytes": 4e8})

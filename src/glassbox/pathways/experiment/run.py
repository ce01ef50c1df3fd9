"""The patching study: every latent under six conditions, in parts that survive a kill.

A part is some latents with all their trials. What is drawn depends on the seed, the latent, the
trial and the kind of prompt alone, so parts may be made in any order and again.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from glassbox.artifacts import digest_json, digest_texts
from glassbox.engine.model.devices import in_float64
from glassbox.engine.protocol import Engine
from glassbox.engine.states.taps import Taps
from glassbox.pathways.experiment.clean_run import CleanRun, run_clean
from glassbox.pathways.experiment.conditions import CONDITIONS, KINDS, Condition, Kind
from glassbox.pathways.experiment.decisions import DECISIONS, parse_decision
from glassbox.pathways.experiment.effects import Trials, result_of
from glassbox.pathways.experiment.files import read_part, write_part
from glassbox.pathways.experiment.layout import PromptGrid, lay_out
from glassbox.pathways.experiment.means import LatentReading, read_latents
from glassbox.pathways.experiment.patching import Answered, PatchedRow, Sampling, answer_rows
from glassbox.pathways.experiment.prompts import (
    PromptPair,
    choose_pairs,
    prompts_path,
    read_pairs,
)
from glassbox.pathways.halving import by_halves
from glassbox.pathways.latents import LatentId
from glassbox.pathways.saes.dictionaries import Dictionaries
from glassbox.pathways.sections import ExperimentSection
from glassbox.progress import Progress

LATENTS_PER_PART = 8
"""Latents whose trials are lost, at most, by a kill."""

LEASE_S = 3600.0
"""Seconds for which the model is the experiment's own; requests to the engine wait meanwhile."""


@dataclass(frozen=True)
class ExperimentOutcome:
    """What an experiment left behind."""

    results: tuple[dict[str, Any], ...]
    """One line a latent, as in the checkpoints."""
    n_responses: int
    """Responses in the logs."""
    n_parts: int
    """Checkpoints, and as many logs."""
    n_parts_found: int
    """Of these, the ones that an earlier call had finished."""

    @property
    def causal(self) -> tuple[str, ...]:
        """Names of the latents that are called causal."""
        return tuple(each["feature"] for each in self.results if each["is_causal"])


def run_experiment(
    section: ExperimentSection,
    engine: Engine,
    dictionaries: Dictionaries,
    *,
    checkpoints: Path,
    logs: Path,
    always: Sequence[LatentId] = (),
    progress: Progress | None = None,
) -> ExperimentOutcome:
    """Return the results of the patching study, after writing its checkpoints and logs.

    Calling again after a kill makes what is missing and gives the same files.

    Args:
        section: Prompts, latents, trials, seed.
        engine: Its model is lent for the whole time.
        dictionaries: The SAEs; with planted latents, where some were planted.
        checkpoints: Folder of the checkpoints.
        logs: Folder of the response logs.
        always: Latents that are patched besides those of the section (the planted ones).
        progress: Called with (latents done, latents in all).

    Raises:
        UnknownName: No such file of prompts, or no SAE for a layer.
        InvalidData: Prompts that are no pairs.
        InvalidValue: A latent that its dictionary does not have, or no name of one.
        NotEnoughData: Fewer pairs than ``n_pairs``.
        TextTooLong: A prompt does not leave room for the response.
        UnsupportedModel: The model cannot be patched, or has no layers known by name.
        ConflictError: The folders hold results of another configuration.
        NonFiniteOutput: The model answers NaN or infinity.
        OutOfMemory: Even one row does not fit.
        NoDiskSpace: The device is full; finished parts are kept.
    """
    names = [LatentId.parse(each) for each in section.latents]
    layers = tuple(sorted(section.layers)) or dictionaries.layers
    dictionaries.require_fits(d_model=engine.info.d_model, n_layers=engine.info.n_layers)
    pairs, _ = choose_pairs(
        read_pairs(prompts_path(section.prompts)), section.n_pairs, section.seed
    )
    grid = grid_of(section, engine, pairs)
    with engine.lend(lease_s=LEASE_S) as lent:
        taps = Taps(lent.model)
        wanted = sorted({*(each.layer for each in (*names, *always)), *(() if names else layers)})
        for layer in wanted:
            dictionaries.reader(layer)
        clean = run_clean(lent.model, taps, grid, wanted)
        readings = read_latents(
            clean, dictionaries,
            names=names, layers=layers, per_layer=section.per_layer, always=always,
        )  # fmt: skip
        runner = _Runner(section, engine, lent.model, taps, clean, _end_ids(lent))
        made_with = runner.identity(dictionaries, readings)
        results: list[dict[str, Any]] = []
        n_found = 0
        parts = list(_parts(readings))
        for number, part in enumerate(parts, start=1):
            done = read_part(checkpoints, logs, number, made_with)
            if done is None:
                done, responses = runner.part(part)
                write_part(checkpoints, logs, number, done, responses, made_with)
            else:
                n_found += 1
            results += done
            if progress is not None:
                progress(len(results), len(readings))
    n_responses = len(results) * len(CONDITIONS) * section.trials
    return ExperimentOutcome(tuple(results), n_responses, len(parts), n_found)


def grid_of(section: ExperimentSection, engine: Engine, pairs: Sequence[PromptPair]) -> PromptGrid:
    """Return the prompts of some pairs as the model reads them."""
    tokens = engine.codec.encode([text for pair in pairs for text in (pair.safe, pair.risky)])
    both = list(zip(tokens[::2], tokens[1::2], strict=True))
    context = engine.info.context - section.max_new_tokens
    return lay_out(pairs, both, context=context, places=section.positions)


def _end_ids(lent: Any) -> frozenset[int]:
    named = lent.model.generation_config.eos_token_id
    ends = named if isinstance(named, list | tuple) else [named]
    return frozenset(int(each) for each in (*ends, lent.tokenizer.eos_token_id) if each is not None)


def _parts(readings: Sequence[LatentReading]) -> Iterator[Sequence[LatentReading]]:
    for start in range(0, len(readings), LATENTS_PER_PART):
        yield readings[start : start + LATENTS_PER_PART]


class _Runner:
    """Makes the trials of some latents."""

    def __init__(
        self,
        section: ExperimentSection,
        engine: Engine,
        model: Any,
        taps: Taps,
        clean: CleanRun,
        end_ids: frozenset[int],
    ) -> None:
        self.section = section
        self.engine = engine
        self.model = model
        self.taps = taps
        self.clean = clean
        self.sampling = Sampling(section.temperature, section.max_new_tokens, end_ids)
        self.order = np.random.default_rng([section.seed, 2]).permutation(len(clean.grid.pairs))
        self.choices = first_tokens(engine)
        self.drawn: dict[tuple[LatentId, Kind], Float[np.ndarray, "trials steps"]] = {}

    def identity(self, dictionaries: Dictionaries, readings: Sequence[LatentReading]) -> str:
        """Return the digest of everything that the files depend on."""
        neutral = {"prompts", "batch_rows"}
        settings = {
            name: value
            for name, value in self.section.model_dump(mode="json").items()
            if name not in neutral
        }
        grid = self.clean.grid
        return digest_json(
            {
                "settings": settings,
                "model": [self.engine.info.digest, self.engine.info.dtype],
                "dictionaries": dictionaries.digest,
                "latents": [each.latent.name for each in readings],
                "prompts": digest_texts(grid.text(row) for row in range(grid.n_prompts)),
            }
        )

    def part(
        self, readings: Sequence[LatentReading]
    ) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """Return results and responses of some latents."""
        plan = [
            (reading, condition, trial)
            for condition in CONDITIONS
            for reading in readings
            for trial in range(self.section.trials)
        ]
        answers: dict[tuple[str, str, int], Answered] = {}
        size = self.section.batch_rows
        for condition in CONDITIONS:
            own = [each for each in plan if each[1] is condition]
            for start in range(0, len(own), size):
                batch = own[start : start + size]
                rows = [self._row(*each) for each in batch]
                for each, answer in zip(batch, self._answers(rows), strict=True):
                    answers[each[0].latent.name, condition.name, each[2]] = answer
        responses = [
            self._response(each, condition, trial, answers[each.latent.name, condition.name, trial])
            for each in readings
            for condition in CONDITIONS
            for trial in range(self.section.trials)
        ]
        return [self._result(each, responses) for each in readings], responses

    def _answers(self, rows: list[PatchedRow]) -> list[Answered]:
        """Return the answers to a batch; out of memory, of its halves."""
        answers = by_halves(
            rows,
            lambda some: answer_rows(self.model, self.taps, self.clean, some, self.sampling),
            too_much=lambda _: "One patched prompt does not fit the device's memory.",
        )
        return [each for some in answers for each in some]

    def _row(self, reading: LatentReading, condition: Condition, trial: int) -> PatchedRow:
        pair = int(self.order[trial % len(self.order)])
        draws = self._draws(reading.latent, condition.prompt)
        return PatchedRow(
            row=self.clean.grid.row(pair, condition.prompt),
            reading=None if condition.value is None else reading,
            value=condition.value,
            factor=self.section.amplification if condition.amplified else 1.0,
            draws=draws[trial],
        )

    def _draws(self, latent: LatentId, kind: Kind) -> Float[np.ndarray, "trials steps"]:
        """Return the uniform numbers of a latent's trials on one kind of prompt.

        The first column is stratified: each n-th of [0, 1) is drawn once in n trials. Means over
        trials stay unbiased and vary less than with independent draws.
        """
        if (latent, kind) not in self.drawn:
            n_trials = self.section.trials
            rng = np.random.default_rng(
                [self.section.seed, 3, latent.layer, latent.index, KINDS.index(kind)]
            )
            draws = rng.random((n_trials, self.section.max_new_tokens))
            draws[:, 0] = (rng.permutation(n_trials) + draws[:, 0]) / n_trials
            self.drawn[latent, kind] = draws
        return self.drawn[latent, kind]

    def _response(
        self, reading: LatentReading, condition: Condition, trial: int, answer: Answered
    ) -> dict[str, Any]:
        row = self._row(reading, condition, trial).row
        prompt = self.clean.grid.tokens[row][self.clean.grid.present[row]].tolist()
        text = self.engine.codec.continuation(prompt, answer.tokens)
        return {
            "feature": reading.latent.name,
            "condition": condition.name,
            "response": text,
            "trial": trial,
            "prompt": self.clean.grid.text(row),
            "decision": parse_decision(text),
            "p_stop": self._p_stop(answer),
            "layer": reading.latent.layer,
            "feature_id": reading.latent.index,
            "pair": self.clean.grid.pairs[row // 2].pair,
        }

    def _p_stop(self, answer: Answered) -> float | None:
        if self.choices is None:
            return None
        probs = (in_float64(answer.logits) / self.section.temperature).softmax(-1)
        stop, go_on = (float(probs[list(each)].sum()) for each in self.choices)
        return round(stop / (stop + go_on), 6) if stop + go_on > 0 else None

    def _result(
        self, reading: LatentReading, responses: Sequence[Mapping[str, Any]]
    ) -> dict[str, Any]:
        own = [each for each in responses if each["feature"] == reading.latent.name]
        trials = {
            condition.name: Trials(
                [each["decision"] for each in own if each["condition"] == condition.name],
                [each["p_stop"] for each in own if each["condition"] == condition.name],
            )
            for condition in CONDITIONS
        }
        means = {kind: asdict(each) for kind, each in reading.means.items()}
        return result_of(
            reading.latent, trials, reading.stronger, means,
            alpha=self.section.alpha, min_abs_d=self.section.min_abs_d,
        )  # fmt: skip


def first_tokens(engine: Engine) -> tuple[frozenset[int], frozenset[int]] | None:
    """Return the tokens with which "stop" and "continue" begin; None where they share one."""
    found = []
    for word in DECISIONS:
        written = engine.codec.encode_continuations([f" {word}", word])
        found.append(frozenset(tokens[0] for tokens in written if tokens))
    # A tokenizer may write both words behind one token for the space, which tells nothing.
    return None if found[0] & found[1] else (found[0], found[1])

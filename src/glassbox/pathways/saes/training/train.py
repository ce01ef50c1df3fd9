"""Training one SAE for each of some layers, all on the same forward passes of the lent model.

The model is lent for one chunk of texts at a time. The whole state goes to disk between chunks,
and a chunk is a function of the seed and its number, so a killed training goes on and ends with
the same bits. Knows nothing of where texts come from.
"""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from glassbox.artifacts import digest_contents, digest_json, read_object, write_json
from glassbox.engine.protocol import Engine
from glassbox.engine.states.taps import Taps
from glassbox.errors import ConflictError, CorruptArtifact, InvalidHookPoint
from glassbox.pathways.saes.sae import Sae, SaeSource
from glassbox.pathways.saes.training.metrics import SaeMetrics, measure_saes
from glassbox.pathways.saes.training.recipe import SaeRecipe, require_usable
from glassbox.pathways.saes.training.residuals import Batch, Documents, read_residuals
from glassbox.pathways.saes.training.state import (
    STATE_FILE,
    TrainingState,
    read_state,
    write_state,
)
from glassbox.pathways.saes.training.trainee import Trainee
from glassbox.pathways.saes.writing import save_sae
from glassbox.types import TokenIds

RECORD_FILE = "training.json"
"""Recipe, curve and figures, beside the SAEs."""

RECORD_SCHEMA = 1
"""Version of its layout."""

CHECKPOINT_S = 20.0
"""Seconds between two states on disk; decides how much a kill costs and nothing else."""

LEASE_S = 60.0
"""Seconds of a chunk after which requests to the engine are told to come back later."""

DEFAULT_RECIPE = SaeRecipe()
"""What the embedded model's SAEs are trained with."""

_LOG = logging.getLogger(__name__)

TrainingProgress = Callable[[dict[str, Any], int, int], None]
"""Called with (point of the curve, steps done, steps in all) after each chunk."""


@dataclass(frozen=True)
class TrainedSaes:
    """What a training leaves behind."""

    folder: Path
    """Holds one folder a layer, ``layer_{n}``, in SAELens' format."""
    metrics: tuple[SaeMetrics, ...]
    """Figures on held-out documents, by layer."""
    curve: tuple[dict[str, Any], ...]
    """One point a chunk: step, tokens, loss and dead latents of each layer."""
    seconds: float
    """Time spent, before a kill included."""


def train_saes(
    engine: Engine,
    documents: Sequence[TokenIds],
    folder: Path,
    recipe: SaeRecipe = DEFAULT_RECIPE,
    *,
    layers: Sequence[int] = (),
    dtype: torch.dtype = torch.float32,
    progress: TrainingProgress | None = None,
) -> TrainedSaes:
    """Return SAEs of some layers' outputs, trained on documents and written to a folder.

    Calling again after a kill goes on; calling again when it is done reads what is there.

    Args:
        engine: Its model is lent for each chunk.
        documents: Token ids of each, beginning token included.
        folder: Where the SAEs, and meanwhile the state, are written.
        recipe: Sizes and rates.
        layers: Blocks, 0-based; all, if none.
        dtype: Number format of the written files.
        progress: Called after each chunk.

    Raises:
        InvalidValue: A number of the recipe is outside its range.
        InvalidHookPoint: A layer that the model does not have.
        NotEnoughData: Less than a batch of tokens.
        NonFiniteOutput: The model or a loss became NaN or infinite.
        ConflictError: The folder holds the state, or the SAEs, of another training.
        CorruptArtifact: The state is damaged.
        NoDiskSpace: The device is full; the last state that fitted is kept.
    """
    require_usable(recipe)
    layers = tuple(sorted(set(layers))) or tuple(range(engine.info.n_layers))
    if not 0 <= layers[0] <= layers[-1] < engine.info.n_layers:
        raise InvalidHookPoint(
            f"layers are {list(layers)}; the model has 0 to {engine.info.n_layers - 1}."
        )
    identity = _identity(engine, documents, recipe, layers, dtype)
    done = _finished(folder, identity)
    if done is not None:
        return done
    training = _Training(engine, documents, folder, recipe, layers, identity)
    training.run(progress)
    saes, metrics = training.finished()
    for layer, sae in saes.items():
        save_sae(
            sae, folder / f"layer_{layer}", dtype=dtype,
            metadata={"context_size": recipe.max_length, "prepend_bos": True},
        )  # fmt: skip
    _write_record(folder, identity, recipe, metrics, training)
    (folder / STATE_FILE).unlink(missing_ok=True)
    return TrainedSaes(folder, tuple(metrics), tuple(training.curve), training.seconds)


class _Training:
    """One training under way."""

    def __init__(
        self,
        engine: Engine,
        documents: Sequence[TokenIds],
        folder: Path,
        recipe: SaeRecipe,
        layers: tuple[int, ...],
        identity: str,
    ) -> None:
        self.engine = engine
        self.folder = folder
        self.recipe = recipe
        self.layers = layers
        self.identity = identity
        with engine.lend(lease_s=LEASE_S) as lent:
            special = [int(each) for each in lent.tokenizer.all_special_ids]
        self.documents = Documents(documents, recipe, special)
        self.trainees: dict[int, Trainee] = {}
        self.last: dict[int, Tensor] = {}
        self.step = 0
        self.next_chunk = 0
        self.seconds = 0.0
        self.curve: list[dict[str, Any]] = []

    def run(self, progress: TrainingProgress | None) -> None:
        """Take every step that is left."""
        state = read_state(self.folder, self.identity)
        if state is not None:
            self.step, self.next_chunk = state.step, state.next_chunk
            self.seconds, self.curve = state.seconds, list(state.curve)
            _LOG.info("Going on with step %d of %d", self.step, self.recipe.n_steps)
        begun = time.monotonic() - self.seconds
        written = time.monotonic()
        for number, which in self.documents.chunks(self.next_chunk):
            if self.step >= self.recipe.n_steps:
                break
            residuals = self._read(list(self.documents.batches(which)))
            if not self.trainees:
                self._begin(residuals, state)
            self._learn(number, residuals)
            self.next_chunk = number + 1
            self.seconds = time.monotonic() - begun
            self.curve.append(self._point())
            if time.monotonic() - written >= CHECKPOINT_S:
                write_state(self.folder, self._state())
                written = time.monotonic()
            if progress is not None:
                progress(self.curve[-1], self.step, self.recipe.n_steps)
        write_state(self.folder, self._state(state))

    def finished(self) -> tuple[dict[int, Sae], list[SaeMetrics]]:
        """Return the folded SAEs and their figures on held-out documents."""
        held_out = list(self.documents.batches(self.documents.held_out))
        # The threshold is set on documents of the first chunk: it must not depend on a resume.
        _, first = next(self.documents.chunks(0))
        calibration = self._read(list(self.documents.batches(first)))
        residuals = self._read(held_out)
        if not self.trainees:
            self._begin(calibration, read_state(self.folder, self.identity))
        saes = {
            layer: trainee.folded(
                _shuffled(calibration[layer], 0, self.recipe), self._source(layer)
            )
            for layer, trainee in self.trainees.items()
        }
        with self.engine.lend(lease_s=LEASE_S) as lent:
            taps = Taps(lent.model)
            metrics = measure_saes(lent.model, taps, held_out, saes, residuals)
        return saes, metrics

    def _read(self, batches: list[Batch]) -> dict[int, Tensor]:
        with self.engine.lend(lease_s=LEASE_S) as lent:
            return read_residuals(lent.model, Taps(lent.model), iter(batches), self.layers)

    def _begin(self, residuals: dict[int, Tensor], state: TrainingState | None) -> None:
        self.trainees = {
            layer: Trainee(layer, residuals[layer], self.recipe) for layer in self.layers
        }
        if state is None:
            return
        for layer, trainee in self.trainees.items():
            prefix = f"{layer}/"
            own = {
                name.removeprefix(prefix): each
                for name, each in state.tensors.items()
                if name.startswith(prefix)
            }
            try:
                trainee.restore(own)
            except (KeyError, RuntimeError) as error:
                raise CorruptArtifact(
                    self.folder / STATE_FILE, f"the state does not fit the recipe ({error})"
                ) from error

    def _learn(self, number: int, residuals: dict[int, Tensor]) -> None:
        size = self.recipe.batch_tokens
        n_steps = min(len(residuals[self.layers[0]]) // size, self.recipe.n_steps - self.step)
        for layer, trainee in self.trainees.items():
            shuffled = _shuffled(residuals[layer], number + 1, self.recipe)
            for at in range(n_steps):
                trainee.step(self.step + at, shuffled[at * size : (at + 1) * size])
        self.step += n_steps

    def _point(self) -> dict[str, Any]:
        return {
            "step": self.step,
            "n_tokens": self.step * self.recipe.batch_tokens,
            "learning_rate": self.recipe.rate(max(0, self.step - 1)),
            "loss": {str(layer): each.seen.loss for layer, each in self.trainees.items()},
            "n_dead": {str(layer): each.seen.n_dead for layer, each in self.trainees.items()},
        }

    def _state(self, before: TrainingState | None = None) -> TrainingState:
        if not self.trainees and before is not None:
            return before
        return TrainingState(
            identity=self.identity,
            next_chunk=self.next_chunk,
            step=self.step,
            seconds=self.seconds,
            curve=self.curve,
            tensors={
                f"{layer}/{name}": each
                for layer, trainee in self.trainees.items()
                for name, each in trainee.state().items()
            },
        )

    def _source(self, layer: int) -> SaeSource:
        return SaeSource(
            format="memory",
            convention="file",
            path="",
            digest="",
            architecture="topk" if self.recipe.kind == "topk" else "jumprelu",
            hook=f"blocks.{layer}.hook_resid_post",
            model=self.engine.info.name,
            expected_l0=float(self.recipe.k),
            decoder_norm_mean=1.0,
        )


def _shuffled(residuals: Tensor, number: int, recipe: SaeRecipe) -> Tensor:
    rng = np.random.default_rng([recipe.seed, 2, number])
    return residuals[torch.from_numpy(rng.permutation(len(residuals)))]


def _identity(
    engine: Engine,
    documents: Sequence[TokenIds],
    recipe: SaeRecipe,
    layers: Sequence[int],
    dtype: torch.dtype,
) -> str:
    lengths = np.array([len(each) for each in documents], dtype=np.int64)
    tokens = np.array([token for each in documents for token in each], dtype=np.int64)
    texts = digest_contents({"lengths": lengths.tobytes(), "tokens": tokens.tobytes()})
    return digest_json(
        [engine.info.digest, engine.info.dtype, texts, asdict(recipe), list(layers), str(dtype)]
    )


def _write_record(
    folder: Path,
    identity: str,
    recipe: SaeRecipe,
    metrics: Sequence[SaeMetrics],
    training: _Training,
) -> None:
    content = {
        "schema_version": RECORD_SCHEMA,
        "identity": identity,
        "model": {"name": training.engine.info.name, "digest": training.engine.info.digest},
        "recipe": asdict(recipe),
        "n_training_tokens": training.documents.n_training_tokens,
        "metrics": [asdict(each) | {"recovered": each.recovered} for each in metrics],
        "curve": training.curve,
        "seconds": training.seconds,
    }
    write_json(folder / RECORD_FILE, content)


def _finished(folder: Path, identity: str) -> TrainedSaes | None:
    """Return what an earlier call finished, or None if there is nothing.

    Raises:
        ConflictError: What it finished is another training.
    """
    path = folder / RECORD_FILE
    if not path.is_file():
        return None
    content = read_object(path, schema=RECORD_SCHEMA)
    if content.get("identity") != identity:
        raise ConflictError(
            f"{folder} holds the SAEs of a training with another model, other texts or another "
            "recipe. Give another folder, or remove it to train anew."
        )
    figures = [{k: v for k, v in each.items() if k != "recovered"} for each in content["metrics"]]
    return TrainedSaes(
        folder,
        tuple(SaeMetrics(**each) for each in figures),
        tuple(content["curve"]),
        float(content["seconds"]),
    )

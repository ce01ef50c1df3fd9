"""Fitting LoRA weights to a loss over continuation log-probabilities.

The forward pass is handed in and is the one that inference uses. The base model stays frozen and
in evaluation mode; only the adapter's weights, kept in float32, and its dropout are in training.
At every validation the whole state goes to disk; batches and dropout are functions of the seed and
the step, so a killed fit goes on and ends with the same bits. Knows nothing of labels.
"""

import hashlib
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, is_dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch.nn.utils import clip_grad_norm_

from glassbox.artifacts import digest_json
from glassbox.engine.fitting.plan import FitPlan, check_recipe, sorted_batches
from glassbox.engine.fitting.state import Fingerprint, FitState, read_state, write_state
from glassbox.engine.fitting.trainee import Trainee, training_adapter
from glassbox.engine.lora.files import (
    ORIGIN_FILE,
    STATE_FILE,
    Origin,
    read_finished,
    write_adapter,
)
from glassbox.engine.lora.weights import BaseModel
from glassbox.engine.model.memory import running_out_named
from glassbox.engine.protocol import AdapterFit, AdapterRecipe, ContinuationLoss, Example, FitPoint
from glassbox.errors import NonFiniteOutput, NotEnoughData, TextTooLong
from glassbox.types import TokenIds

Forward = Callable[[Sequence[TokenIds]], Float[torch.Tensor, "batch n_continuations"]]
"""Differentiable log-probabilities (nats) of the continuations after each prompt."""

FitProgress = Callable[[FitPoint | None, int, int], None]
"""Called with (point or None, steps done, steps in all)."""

MAX_GRADIENT_NORM = 1.0
"""Longer gradients are scaled down to this length."""

BETAS = (0.9, 0.999)
"""Memory of AdamW's two moments. Source: Kingma & Ba 2015, section 2."""

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class FitTask:
    """What is to be learned, from what."""

    train: Sequence[Example]
    """Examples to learn from."""
    validation: Sequence[Example]
    """Examples for early stopping."""
    continuations: Sequence[TokenIds]
    """What may follow a prompt, in the order of the forward pass's columns."""
    loss: ContinuationLoss
    """Mean loss of a batch; a dataclass is part of the fit's identity through its fields."""


def fit(
    base: BaseModel,
    forward: Forward,
    task: FitTask,
    folder: Path,
    recipe: AdapterRecipe,
    *,
    progress: FitProgress | None = None,
) -> AdapterFit:
    """Return LoRA weights that lower the loss; see ``Engine.fit_adapter`` for the contract.

    Raises:
        NotEnoughData: No training or validation examples.
        InvalidValue: A number of the recipe is outside its range.
        TextTooLong: A prompt and its longest continuation exceed the context.
        NonFiniteOutput: The loss or its gradient became NaN or infinite.
        OutOfMemory: A batch did not fit.
        NoDiskSpace: The device is full; the last state that fitted is kept.
        CorruptArtifact: The state in the folder is damaged.
    """
    check_recipe(recipe)
    _check_examples(task, base.context)
    fingerprint = fingerprint_of(task, recipe, base.digest)
    identity = fingerprint.digest
    done = read_finished(folder, identity)
    if done is not None:
        (folder / STATE_FILE).unlink(missing_ok=True)
        return done
    with training_adapter(base, recipe) as trainee:
        run = _Fit(forward, task, recipe, trainee, progress)
        run.run(folder / STATE_FILE, fingerprint)
        origin = Origin(
            base=base.name,
            base_digest=base.digest,
            fingerprint=identity,
            recipe=recipe,
            best_step=run.state.best_step,
            n_trainable=trainee.n_trainable,
            n_parameters=base.n_parameters + trainee.n_trainable,
        )
        fitted = write_adapter(
            folder,
            trainee.config,
            run.state.best,
            base.tokenizer,
            origin,
            tuple(run.state.curve),
        )
    (folder / STATE_FILE).unlink(missing_ok=True)
    return fitted


def _fill_gradients(parameters: Iterable[torch.nn.Parameter]) -> None:
    """Give a gradient of zero to what no row came to, as to an expert that nothing was sent to.

    The optimiser would pass over it and keep no moments of it, which the state on disk holds.
    """
    for parameter in parameters:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)


def fingerprint_of(task: FitTask, recipe: AdapterRecipe, base_digest: str) -> Fingerprint:
    """Return what a fit depends on; equal fingerprints give equal weights."""
    return Fingerprint(
        base=base_digest,
        recipe=digest_json(asdict(recipe)),
        training_examples=_digest_examples(task.train),
        validation_examples=_digest_examples(task.validation),
        continuations=digest_json([list(ids) for ids in task.continuations]),
        loss=repr(task.loss) if is_dataclass(task.loss) else "",
    )


class _Fit:
    """One fit under way: the optimiser and the loop."""

    def __init__(
        self,
        forward: Forward,
        task: FitTask,
        recipe: AdapterRecipe,
        trainee: Trainee,
        progress: FitProgress | None,
    ) -> None:
        self.forward = forward
        self.task = task
        self.recipe = recipe
        self.trainee = trainee
        self.progress = progress
        self.plan = FitPlan(recipe, tuple(len(example.prompt) for example in task.train))
        self.parameters = list(trainee.parameters.values())
        self.optimizer = torch.optim.AdamW(
            self.parameters, lr=recipe.learning_rate, betas=BETAS, weight_decay=0.0, foreach=True
        )
        self.state = FitState()
        self.started = time.monotonic()

    def run(self, path: Path, fingerprint: Fingerprint) -> None:
        """Take every step that is left; the best weights are in the state afterwards."""
        self._resume(path, fingerprint)
        self.started = time.monotonic() - self._seconds_before()
        losses: list[tuple[float, int]] = []
        for step, batches in self.plan.steps_after(self.state.step):
            if self.state.n_worse >= self.recipe.patience:
                break
            losses.append((self._step(step, batches), sum(map(len, batches))))
            point = None
            if step in self.plan.validation_steps:
                point = self._validated(step, losses)
                write_state(path, self.state, fingerprint)
                losses = []
            if self.progress is not None:
                self.progress(point, step, self.plan.n_steps)

    def _step(self, step: int, batches: list[list[int]]) -> float:
        """Return the mean loss of one step of the optimiser over some batches."""
        n_rows = sum(map(len, batches))
        rate = self.plan.learning_rate(step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        total = 0.0
        self.trainee.training(True)
        with running_out_named(self._too_large):
            for number, rows in enumerate(batches):
                self.trainee.source.seed(_dropout_seed(self.recipe.seed, step, number))
                loss = self._loss(self.task.train, rows) * (len(rows) / n_rows)
                loss.backward()
                total += loss.item()
            _fill_gradients(self.parameters)
            norm = clip_grad_norm_(self.parameters, MAX_GRADIENT_NORM).item()
            if not np.isfinite(total) or not np.isfinite(norm):
                raise NonFiniteOutput(
                    f"Step {step} of the fit gave loss {total} and gradient length {norm}. Lower "
                    f"the learning rate (it is {self.recipe.learning_rate}) or use float32 weights."
                )
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)
        return total

    def _loss(self, examples: Sequence[Example], rows: Sequence[int]) -> torch.Tensor:
        logprobs = self.forward([examples[row].prompt for row in rows])
        targets = torch.tensor([examples[row].target for row in rows], device=logprobs.device)
        return self.task.loss(logprobs, targets)

    def _validated(self, step: int, losses: Sequence[tuple[float, int]]) -> FitPoint:
        """Return the point of a validation after noting in the state whether it is the best."""
        validation_loss = self._validation_loss()
        if not np.isfinite(validation_loss):
            raise NonFiniteOutput(
                f"The validation loss at step {step} is {validation_loss}. Lower the learning rate "
                f"(it is {self.recipe.learning_rate}) or use float32 weights."
            )
        point = FitPoint(
            step=step,
            epoch=step / self.plan.steps_per_epoch,
            train_loss=float(np.average([x for x, _ in losses], weights=[n for _, n in losses])),
            validation_loss=validation_loss,
            learning_rate=self.plan.learning_rate(step),
            seconds=time.monotonic() - self.started,
        )
        state = self.state
        best = min((each.validation_loss for each in state.curve), default=np.inf)
        state.weights = _copies(self.trainee.parameters)
        if validation_loss < best:
            state.best = {name: tensor.clone() for name, tensor in state.weights.items()}
            state.best_step, state.n_worse = step, 0
        else:
            state.n_worse += 1
        moments = {
            name: self.optimizer.state[parameter]
            for name, parameter in self.trainee.parameters.items()
        }
        state.first_moments = {name: each["exp_avg"] for name, each in moments.items()}
        state.second_moments = {name: each["exp_avg_sq"] for name, each in moments.items()}
        state.step = step
        state.curve.append(point)
        return point

    def _validation_loss(self) -> float:
        examples = self.task.validation
        lengths = [len(example.prompt) for example in examples]
        self.trainee.training(False)
        total = 0.0
        with torch.no_grad(), running_out_named(self._too_large):
            for rows in sorted_batches(lengths, self.recipe.batch_size):
                total += self._loss(examples, rows).item() * len(rows)
        return total / len(examples)

    def _resume(self, path: Path, fingerprint: Fingerprint) -> None:
        """Take over the state on disk if it belongs to this very fit."""
        if not path.exists():
            if path.with_name(ORIGIN_FILE).exists():
                _LOG.warning("%s holds another fit's adapter, which will be replaced.", path.parent)
            return
        state, found = read_state(path)
        changed = fingerprint.changed(found)
        if changed:
            _LOG.warning(
                "The unfinished fit in %s had another %s; starting afresh.",
                path.parent,
                ", ".join(changed),
            )
            return
        self.state = state
        with torch.no_grad():
            for name, parameter in self.trainee.parameters.items():
                parameter.copy_(state.weights[name])
                self.optimizer.state[parameter] = {
                    "step": torch.tensor(float(state.step)),
                    "exp_avg": torch.empty_like(parameter).copy_(state.first_moments[name]),
                    "exp_avg_sq": torch.empty_like(parameter).copy_(state.second_moments[name]),
                }
        _LOG.info("Resuming the fit in %s after step %d.", path.parent, state.step)

    def _too_large(self) -> str:
        return (
            f"A batch of {self.recipe.batch_size} examples did not fit into memory. Halve "
            f"batch_size and double accumulation (it is {self.recipe.accumulation}): the fit stays "
            "the same."
        )

    def _seconds_before(self) -> float:
        return self.state.curve[-1].seconds if self.state.curve else 0.0


def _check_examples(task: FitTask, context: int) -> None:
    if not task.train:
        raise NotEnoughData("Fitting an adapter", 0, 1, remedy="Give training examples.")
    if not task.validation:
        raise NotEnoughData("Early stopping of a fit", 0, 1, remedy="Give validation examples.")
    limit = context - max(len(ids) for ids in task.continuations)
    longest = max(len(example.prompt) for example in (*task.train, *task.validation))
    if longest > limit:
        raise TextTooLong(longest, limit, which="longest prompt")


def _digest_examples(examples: Iterable[Example]) -> str:
    total = hashlib.sha256()
    for example in examples:
        numbers = np.array([example.target, len(example.prompt), *example.prompt], dtype="<i8")
        total.update(numbers.tobytes())
    return total.hexdigest()


def _dropout_seed(seed: int, step: int, batch: int) -> int:
    # A 63-bit hash, so that neighbouring steps draw from unrelated streams.
    packed = hashlib.sha256(np.array([seed, step, batch], dtype="<i8").tobytes()).digest()
    return int.from_bytes(packed[:8], "little") >> 1


def _copies(parameters: dict[str, torch.nn.Parameter]) -> dict[str, torch.Tensor]:
    return {name: parameter.detach().clone() for name, parameter in parameters.items()}

"""The order of a fit before it starts: batches, steps, rates, validations.

Everything here is a pure function of the recipe, the seed and the lengths of the prompts, so a
resumed fit needs no more than its step number to go on in the same order. Knows nothing of models.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from glassbox.engine.protocol import AdapterRecipe
from glassbox.errors import InvalidValue

WARM_UP_FRACTION = 0.05
"""Share of all steps in which the learning rate rises linearly."""

BUCKET_BATCHES = 32
"""Batches whose examples are sorted by length together: rows of one batch are then alike in length,
while which examples meet stays random from epoch to epoch."""

_COUNTS = (
    "rank",
    "alpha",
    "epochs",
    "batch_size",
    "accumulation",
    "patience",
    "validations_per_epoch",
)


@dataclass(frozen=True)
class FitPlan:
    """Number and rhythm of the steps of a fit."""

    recipe: AdapterRecipe
    """Sizes and rates."""
    lengths: tuple[int, ...]
    """Tokens of each training prompt."""

    @property
    def batches_per_epoch(self) -> int:
        """Forward passes over the training examples in one epoch."""
        return math.ceil(len(self.lengths) / self.recipe.batch_size)

    @property
    def steps_per_epoch(self) -> int:
        """Steps of the optimiser in one epoch; the last may hold fewer batches."""
        return math.ceil(self.batches_per_epoch / self.recipe.accumulation)

    @property
    def n_steps(self) -> int:
        """Steps in all, unless it stops early."""
        return self.steps_per_epoch * self.recipe.epochs

    @property
    def validation_steps(self) -> frozenset[int]:
        """Steps after which the validation loss is measured; every epoch's end is among them."""
        per_epoch, times = self.steps_per_epoch, self.recipe.validations_per_epoch
        within = {math.ceil(per_epoch * k / times) for k in range(1, times + 1)}
        return frozenset(
            epoch * per_epoch + step for epoch in range(self.recipe.epochs) for step in within
        )

    def learning_rate(self, step: int) -> float:
        """Return the rate of a step (the first is 1): linear warm-up, then half a cosine to zero.

        Source: Loshchilov & Hutter 2017, "SGDR", equation 5, without restarts.
        """
        warm_up = max(1, round(WARM_UP_FRACTION * self.n_steps))
        if step <= warm_up:
            return self.recipe.learning_rate * step / warm_up
        done = (step - warm_up) / (self.n_steps - warm_up + 1)
        return self.recipe.learning_rate * 0.5 * (1.0 + math.cos(math.pi * done))

    def steps_after(self, step: int) -> Iterator[tuple[int, list[list[int]]]]:
        """Yield (step, its batches of example indices) for every step after a given one."""
        first_epoch = step // self.steps_per_epoch
        size = self.recipe.accumulation
        for epoch in range(first_epoch, self.recipe.epochs):
            batches = epoch_batches(self.lengths, self.recipe.batch_size, self.recipe.seed, epoch)
            for within in range(self.steps_per_epoch):
                number = epoch * self.steps_per_epoch + within + 1
                if number > step:
                    yield number, batches[within * size : (within + 1) * size]


def epoch_batches(
    lengths: Sequence[int], batch_size: int, seed: int, epoch: int
) -> list[list[int]]:
    """Return one epoch's batches of example indices: every example once, alike in length.

    Examples are shuffled, cut into buckets, sorted by length inside a bucket and cut into batches,
    whose order is shuffled again. The shortest batch may stand anywhere.
    """
    random = np.random.default_rng([seed, epoch])
    order = random.permutation(len(lengths))
    batches: list[list[int]] = []
    for start in range(0, len(order), bucket := batch_size * BUCKET_BATCHES):
        rows = sorted(order[start : start + bucket].tolist(), key=lambda row: lengths[row])
        batches += [rows[at : at + batch_size] for at in range(0, len(rows), batch_size)]
    return [batches[at] for at in random.permutation(len(batches))]


def sorted_batches(lengths: Sequence[int], batch_size: int) -> list[list[int]]:
    """Return batches of example indices in order of length, for passes where order is free."""
    rows = sorted(range(len(lengths)), key=lambda row: lengths[row])
    return [rows[at : at + batch_size] for at in range(0, len(rows), batch_size)]


def check_recipe(recipe: AdapterRecipe) -> None:
    """Check every number of a recipe.

    Raises:
        InvalidValue: One is outside its range.
    """
    for name in _COUNTS:
        if getattr(recipe, name) < 1:
            raise InvalidValue(name, getattr(recipe, name), "a whole number of at least 1")
    if not 0.0 <= recipe.dropout < 1.0:
        raise InvalidValue("dropout", recipe.dropout, "a fraction in [0, 1)")
    if not 0.0 < recipe.learning_rate < math.inf:
        raise InvalidValue("learning_rate", recipe.learning_rate, "a number above 0")
    if recipe.seed < 0:
        raise InvalidValue("seed", recipe.seed, "a whole number of at least 0")

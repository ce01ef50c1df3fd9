"""Laws of the order of a fit."""

from hypothesis import given
from hypothesis import strategies as st

from glassbox.engine.fitting.plan import FitPlan, epoch_batches, sorted_batches
from glassbox.engine.protocol import AdapterRecipe

lengths = st.lists(st.integers(1, 60), min_size=1, max_size=200)


recipes = st.builds(
    AdapterRecipe,
    epochs=st.integers(1, 4),
    batch_size=st.integers(1, 9),
    accumulation=st.integers(1, 4),
    validations_per_epoch=st.integers(1, 5),
    seed=st.integers(0, 99),
)


@given(lengths, st.integers(1, 9), st.integers(0, 99), st.integers(0, 9))
def test_an_epoch_holds_every_example_once(lengths, batch_size, seed, epoch):
    batches = epoch_batches(lengths, batch_size, seed, epoch)
    assert sorted(row for batch in batches for row in batch) == list(range(len(lengths)))
    assert all(0 < len(batch) <= batch_size for batch in batches)
    assert batches == epoch_batches(lengths, batch_size, seed, epoch)


@given(lengths, st.integers(1, 9))
def test_sorted_batches_hold_every_example_once_in_order_of_length(lengths, batch_size):
    rows = [row for batch in sorted_batches(lengths, batch_size) for row in batch]
    assert sorted(rows) == list(range(len(lengths)))
    assert [lengths[row] for row in rows] == sorted(lengths)


def test_rows_of_a_batch_are_alike_in_length_and_epochs_differ():
    lengths = [10 + (37 * row) % 50 for row in range(3200)]
    batches = epoch_batches(lengths, 32, seed=0, epoch=0)
    padded = sum(len(batch) * max(lengths[row] for row in batch) for batch in batches)
    assert padded < 1.05 * sum(lengths)
    assert batches != epoch_batches(lengths, 32, seed=0, epoch=1)
    assert batches != epoch_batches(lengths, 32, seed=1, epoch=0)


@given(recipes, lengths, st.data())
def test_a_resumed_plan_is_the_rest_of_the_whole_one(recipe, lengths, data):
    plan = FitPlan(recipe, tuple(lengths))
    whole = list(plan.steps_after(0))
    assert [step for step, _ in whole] == list(range(1, plan.n_steps + 1))
    done = data.draw(st.integers(0, plan.n_steps))
    assert list(plan.steps_after(done)) == whole[done:]
    n_rows = sum(len(batch) for _, batches in whole for batch in batches)
    assert n_rows == plan.recipe.epochs * len(plan.lengths)


@given(recipes, lengths)
def test_every_epoch_ends_with_a_validation(recipe, lengths):
    plan = FitPlan(recipe, tuple(lengths))
    for epoch in range(1, plan.recipe.epochs + 1):
        assert epoch * plan.steps_per_epoch in plan.validation_steps
    assert all(1 <= step <= plan.n_steps for step in plan.validation_steps)
    assert len(plan.validation_steps) == plan.recipe.epochs * min(
        plan.recipe.validations_per_epoch, plan.steps_per_epoch
    )


@given(recipes, lengths)
def test_the_rate_rises_to_its_peak_and_falls_above_zero(recipe, lengths):
    plan = FitPlan(recipe, tuple(lengths))
    rates = [plan.learning_rate(step) for step in range(1, plan.n_steps + 1)]
    peak = rates.index(max(rates))
    assert max(rates) == plan.recipe.learning_rate
    assert rates[: peak + 1] == sorted(rates[: peak + 1])
    assert rates[peak:] == sorted(rates[peak:], reverse=True)
    assert min(rates) > 0

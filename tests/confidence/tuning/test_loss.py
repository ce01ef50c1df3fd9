"""The label loss agrees with inference and touches label positions alone."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from glassbox.confidence.asking.verbalisers import class_logprobs, group_continuations
from glassbox.confidence.tuning.loss import label_loss
from glassbox.engine.layout.trie import build_trie
from glassbox.engine.scoring.forward import continuation_logprobs
from glassbox.errors import InvalidValue
from tests.engine.fit_world import tiny_model

NESTED = group_continuations(
    ["a", "b", "c"], [[(3,), (3, 4, 5)], [(3, 4), (6,)], [(3, 7), (8, 9), (8, 10)]]
)
"""Continuation (3,) of class a begins (3, 4) of b and (3, 7) of c; (3, 4) begins (3, 4, 5) of a."""


def random_logprobs(seed: int, n: int = 4) -> torch.Tensor:
    """Return log-probabilities of NESTED's continuations under a random autoregressive model."""
    draw = torch.Generator().manual_seed(seed)
    after = {}
    rows = []
    for row in range(n):
        values = []
        for ids in NESTED.continuations:
            total = torch.zeros(())
            for end in range(len(ids)):
                key = (row, ids[:end])
                if key not in after:
                    after[key] = torch.randn(12, generator=draw).mul(2).log_softmax(0)
                total = total + after[key][ids[end]]
            values.append(total)
        rows.append(torch.stack(values))
    return torch.stack(rows)


def of(verbalisers, **options):
    return label_loss(verbalisers.groups, verbalisers.nested, **options)


@given(st.integers(0, 10_000))
def test_training_and_inference_give_the_same_class_probabilities(seed):
    logprobs = random_logprobs(seed)
    ours = of(NESTED).class_logprobs(logprobs).numpy()
    np.testing.assert_allclose(ours, class_logprobs(logprobs.numpy(), NESTED), atol=2e-5)
    assert (np.exp(ours).sum(axis=1) <= 1 + 1e-5).all()


def test_disjoint_events_by_hand():
    p = {
        (3,): 0.5,
        (3, 4): 0.2,
        (3, 4, 5): 0.05,
        (3, 7): 0.1,
        (6,): 0.1,
        (8, 9): 0.1,
        (8, 10): 0.02,
    }
    logprobs = torch.tensor([[p[ids] for ids in NESTED.continuations]]).log()
    expected = [(0.5 - 0.2 - 0.1) + 0.05, (0.2 - 0.05) + 0.1, 0.1 + 0.1 + 0.02]
    np.testing.assert_allclose(of(NESTED).class_logprobs(logprobs).exp()[0], expected, rtol=1e-5)


@given(
    arrays(np.float32, (3, 4), elements=st.floats(-30, -0.125, width=32)),
    st.lists(st.integers(0, 1), min_size=3, max_size=3),
    st.floats(0, 1),
    st.floats(0, 0.5),
)
def test_the_loss_is_its_formula(values, targets, weight, smoothing):
    loss = label_loss([[0, 1], [2, 3]], {}, vocabulary_weight=weight, smoothing=smoothing)
    found = loss(torch.from_numpy(values), torch.tensor(targets))
    wide = values.astype(np.float64)
    classes = np.stack([np.logaddexp(*wide[:, :2].T), np.logaddexp(*wide[:, 2:].T)], axis=1)
    within = classes - np.logaddexp(*classes.T)[:, None]
    rows = np.arange(3)
    nll = -(1 - smoothing) * within[rows, targets] - smoothing * within.mean(axis=1)
    expected = nll.mean() - weight * classes[rows, targets].mean()
    assert float(found) == pytest.approx(expected, rel=1e-4, abs=1e-4)


def test_without_the_vocabulary_term_only_the_labels_relation_counts():
    logprobs, targets = random_logprobs(1), torch.tensor([0, 1, 2, 0])
    loss = of(NESTED, vocabulary_weight=0.0)
    assert loss(logprobs - 3.0, targets) == pytest.approx(float(loss(logprobs, targets)), abs=1e-5)
    weighted = of(NESTED, vocabulary_weight=0.1)
    shifted = weighted(logprobs - 3.0, targets) - weighted(logprobs, targets)
    assert float(shifted) == pytest.approx(0.3, abs=1e-5)


@pytest.mark.parametrize("gap", [0.0, 1e-7, 1e-3, 0.69, 0.7, 50.0])
def test_gradients_stay_finite_where_deeper_events_exhaust_a_shorter_one(gap):
    logprobs = torch.tensor([[-1.0, -1.0 - gap, -2.0]], requires_grad=True)
    loss = label_loss([[0], [1], [2]], {0: (1,)})(logprobs, torch.tensor([0]))
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(logprobs.grad).all()


def test_only_label_positions_carry_loss():
    """Of all logits of an ordinary forward pass, only those a label is read at get a gradient."""
    model = tiny_model()
    prompt, label = (1, 20, 21, 22, 23), (6, 7)
    tokens = torch.tensor([[*prompt, *label, 30, 31]])
    logits = model(input_ids=tokens).logits.detach().requires_grad_()
    steps = logits[0].log_softmax(dim=-1)
    at = len(prompt) - 1
    two = steps[at, label[0]] + steps[at + 1, label[1]]
    logprobs = torch.stack([steps[at, 5], two])[None]
    label_loss([[0], [1]], {})(logprobs, torch.tensor([1])).backward()
    carries = logits.grad[0].abs().sum(dim=-1) > 0
    assert carries.tolist() == [False] * at + [True, True] + [False] * (tokens.shape[1] - at - 2)


def test_the_training_forward_makes_logits_at_label_positions_alone():
    model = tiny_model()
    prompts = [(1, 20, 21, 22, 23), (1, 20, 30), (1, 20, 31, 32)]
    trie = build_trie(NESTED.continuations)
    shapes = []

    def note(_module, _args, output):
        shapes.append(tuple(output.shape))

    hook = model.get_output_embeddings().register_forward_hook(note)
    logprobs = continuation_logprobs(model, prompts, trie)
    hook.remove()
    # The end of each prompt and the nodes 3, 8 and (3, 4) are read, nothing else.
    assert shapes == [(1, len(prompts) * (1 + 3), 64)]
    alone = [continuation_logprobs(model, [prompt], trie)[0] for prompt in prompts]
    torch.testing.assert_close(logprobs, torch.stack(alone), atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("groups", "options", "what"),
    [
        ([[0]], {}, "groups"),
        ([[0], []], {}, "groups"),
        ([[0], [1]], {"vocabulary_weight": -0.1}, "vocabulary_weight"),
        ([[0], [1]], {"smoothing": 1.0}, "smoothing"),
    ],
)
def test_weights_out_of_range_are_refused(groups, options, what):
    with pytest.raises(InvalidValue, match=f"{what} is"):
        label_loss(groups, {}, **options)


def test_the_loss_is_part_of_a_fits_identity():
    loss = label_loss([[0], [1]], {0: (2,)}, vocabulary_weight=0.2)
    assert loss == label_loss([(0,), (1,)], {0: [2]}, vocabulary_weight=0.2)
    assert repr(loss) != repr(dataclasses.replace(loss, smoothing=0.1))

"""A lent model shows attention weights to whoever asks for them, and attends as ever otherwise."""

import copy
from contextlib import contextmanager

import pytest
import torch

from glassbox.engine.model.load import LoadedModel
from glassbox.engine.resident import ResidentEngine
from glassbox.testing import tiny_engine
from tests.techniques.library.worlds import EVERY, world

TEXTS = ["the positive one was a negative and the other is one of the positive ones", "a b"]


@pytest.fixture
def engine():
    made = tiny_engine()
    yield made
    made.close()


@contextmanager
def beside(architecture):
    """A lent model of an architecture, and a copy that attends in the open all the time."""
    model, tokenizer = world(architecture)
    tokenizer.padding_side = "left"
    open_all_the_time = copy.deepcopy(model)
    open_all_the_time.set_attn_implementation("eager")
    engine = ResidentEngine(LoadedModel(model, tokenizer, architecture, "0" * 64, 256))
    with engine.lend(lease_s=30) as lent:
        yield lent, open_all_the_time
        assert lent.undo() == ()
    assert not lent.leftovers
    engine.close()


def same(found, expected):
    """Whether two models' weights, one tensor for each layer, are the same to the last bit."""
    return len(found) == len(expected) == 2 and all(map(torch.equal, found, expected))


@pytest.mark.parametrize("architecture", EVERY)
def test_weights_are_those_of_open_attention(architecture):
    with beside(architecture) as (lent, other):
        given = lent.tokenizer(TEXTS, return_tensors="pt", padding=True)
        way = lent.model.config._attn_implementation
        before = lent.model(**given).logits
        for call in (
            lambda model: model,
            lambda model: model.forward,
            lambda model: model.base_model,
        ):
            found, expected = (
                call(model)(**given, output_attentions=True) for model in (lent.model, other)
            )
            assert same(found.attentions, expected.attentions)
        assert lent.model.config._attn_implementation == way
        after = lent.model(**given)
        assert torch.equal(after.logits, before)
        assert after.attentions is None


@pytest.mark.parametrize("cache", [None, "static"])
@pytest.mark.parametrize("architecture", EVERY)
def test_generation_shows_them_at_every_step(architecture, cache):
    with beside(architecture) as (lent, other):
        for texts in (TEXTS, TEXTS[:1]):
            given = lent.tokenizer(texts, return_tensors="pt", padding=True)
            found, expected = (
                model.generate(
                    **given, max_new_tokens=3, min_new_tokens=3, do_sample=False,
                    output_attentions=True, return_dict_in_generate=True,
                    cache_implementation=cache,
                )
                for model in (lent.model, other)
            )  # fmt: skip
            assert torch.equal(found.sequences, expected.sequences)
            assert len(found.attentions) == len(expected.attentions) == 3
            assert all(map(same, found.attentions, expected.attentions))


@pytest.mark.parametrize("is_named", [True, False])
def test_a_guests_own_mask_counts(engine, is_named):
    with engine.lend(lease_s=5) as lent:
        ids = lent.tokenizer(TEXTS[0], return_tensors="pt")["input_ids"]
        n = ids.shape[1]
        mask = torch.ones(1, 1, n, n, dtype=torch.bool).tril()
        mask[..., 4:, 2] = False
        args, named = ((), {"attention_mask": mask}) if is_named else ((mask,), {})
        plain = lent.model(ids, *args, **named).logits
        found = lent.model(ids, *args, **named, output_attentions=True)
    assert torch.allclose(found.logits, plain, atol=1e-5)
    for weights in found.attentions:
        assert torch.all(weights[~mask.expand_as(weights)] == 0)
        torch.testing.assert_close(weights.sum(-1), torch.ones(1, 4, n))


def test_gradients_flow_through_the_weights(engine):
    with engine.lend(lease_s=5) as lent:
        ids = lent.tokenizer(TEXTS[0], return_tensors="pt")["input_ids"]
        embedded = lent.model.get_input_embeddings()(ids).detach().requires_grad_()
        output = lent.model(inputs_embeds=embedded, output_attentions=True)
        for weights in output.attentions:
            weights.retain_grad()
        output.logits[0, -1].max().backward()
        assert all(weights.grad.abs().sum() > 0 for weights in output.attentions)


@pytest.mark.parametrize("error", [KeyError, KeyboardInterrupt])
def test_a_pass_that_does_not_end_leaves_nothing(engine, error):
    def fail(*_):
        raise error("mine")

    def interrupted(lent):
        hook = lent.model.model.layers[1].register_forward_hook(fail)
        try:
            lent.model(torch.tensor([[0, 9, 8]]), output_attentions=True)
        finally:
            hook.remove()

    with engine.lend(lease_s=5) as lent:
        way = lent.model.config._attn_implementation
        with pytest.raises(error, match="mine"):
            interrupted(lent)
        assert lent.undo() == ()
        assert lent.model.config._attn_implementation == way


def test_a_guests_own_way_of_attending_stays_until_it_is_undone(engine):
    with engine.lend(lease_s=5) as lent:
        lent.model.set_attn_implementation("eager")
        lent.model.config.output_attentions = True
        assert len(lent.model(torch.tensor([[0, 9, 8]])).attentions) == 2
        assert lent.model.config._attn_implementation == "eager"
        (note,) = lent.undo()
        assert note.startswith("config put back (")
        assert lent.model(torch.tensor([[0, 9, 8]])).attentions is None

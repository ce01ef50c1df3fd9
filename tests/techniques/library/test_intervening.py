"""What techniques change, against hooks written by hand and the library's own generation."""

import copy
import dataclasses

import numpy as np
import pytest
import torch

from glassbox.engine.states.taps import NAMES
from glassbox.errors import InvalidData, InvalidValue, NotEnoughData
from glassbox.techniques.library.activation_patching import activation_patching
from glassbox.techniques.library.affine_lens import affine_lens
from glassbox.techniques.library.attribution_patching import attribution_patching
from glassbox.techniques.library.fit_affine_lens import fit_affine_lens
from glassbox.techniques.library.make_steering_vector import make_steering_vector
from glassbox.techniques.library.prefill_attack import prefill_attack
from glassbox.techniques.library.probe_layers import probe_layers
from glassbox.techniques.library.steer import steer
from glassbox.techniques.library.steering_sweep import steering_sweep
from glassbox.techniques.library.temperature_sweep import temperature_sweep
from glassbox.techniques.measures import interventions
from glassbox.techniques.measures.anatomy import PARTS
from glassbox.techniques.running.guest_tokenizer import HiddenTokens, guest_of
from tests.techniques.library.worlds import EVERY, world

CLEAN, CORRUPTED = "the x is on", "the z is on"
every = pytest.mark.parametrize("architecture", EVERY)


def _ids(tokenizer, text):
    return torch.tensor([tokenizer(text)["input_ids"]])


def _token(tokenizer, text):
    return tokenizer(text, add_special_tokens=False)["input_ids"][0]


def _module(model, layer, site):
    """Return the module by the library's own name, and whether its input is meant."""
    names = NAMES[model.config.model_type]
    block = model.get_submodule(names.blocks)[layer]
    if site in ("resid_pre", "resid_post"):
        return block, site == "resid_pre"
    name = {"attn_out": names.attention, "mlp_out": names.mlp, "heads": names.projection}[site]
    return block.get_submodule(name), site == "heads"


def _by_hand(model, tokenizer, layer, site, part):
    """Return the corrupted run's last logits with one part of the clean run put in, by hooks."""
    module, is_input = _module(model, layer, site)
    kept = []

    def first(value):
        return value[0] if isinstance(value, tuple) else value

    def changed(value):
        new = first(value).clone()
        new[part] = kept[0][part]
        return (new, *value[1:]) if isinstance(value, tuple) else new

    def before(_module, args, kwargs):
        state = args[0] if args else kwargs["hidden_states"]
        if not kept:
            kept.append(state)
            return None
        new = changed(state)
        return ((new, *args[1:]), kwargs) if args else (args, {**kwargs, "hidden_states": new})

    def after(_module, _args, output):
        if not kept:
            kept.append(first(output))
            return None
        return changed(output)

    hook = (
        module.register_forward_pre_hook(before, with_kwargs=True)
        if is_input
        else module.register_forward_hook(after)
    )
    with torch.no_grad():
        model(_ids(tokenizer, CLEAN))
        logits = model(_ids(tokenizer, CORRUPTED)).logits[0, -1]
    hook.remove()
    return logits


@pytest.mark.parametrize("site", PARTS)
@every
def test_patching_is_what_hooks_by_hand_do(architecture, site):
    model, tokenizer = world(architecture)
    found = activation_patching(
        model, tokenizer, CLEAN, CORRUPTED, " the", " positive", site=site, batch_size=5
    )
    the, positive = (_token(tokenizer, each) for each in (" the", " positive"))
    names = [repr(tokenizer.decode([each])) for each in (the, positive)]
    assert found.measured == " against ".join(names)
    assert found.measured in found.view().note
    with torch.no_grad():
        runs = [model(_ids(tokenizer, each)).logits[0, -1] for each in (CLEAN, CORRUPTED)]
    clean, corrupted = (float(each[the] - each[positive]) for each in runs)
    assert (found.clean, found.corrupted) == pytest.approx((clean, corrupted), abs=1e-4)
    width = 32 // 4
    for layer, column in np.ndindex(*found.effect.shape):
        part = (slice(None), column)
        if site == "heads":
            part = (slice(None), slice(None), slice(width * column, width * (column + 1)))
        if (layer + column) % 3:
            continue
        logits = _by_hand(model, tokenizer, layer, site, part)
        expected = float(logits[the] - logits[positive]) - corrupted
        assert found.effect[layer, column] == pytest.approx(expected, abs=2e-4)
    np.testing.assert_allclose(found.recovered, found.effect / (clean - corrupted), rtol=1e-3)


@every
def test_the_last_layers_last_state_brings_the_whole_answer_back(architecture):
    model, tokenizer = world(architecture)
    found = activation_patching(model, tokenizer, CLEAN, CORRUPTED, " the", site="resid_post")
    assert found.recovered[-1, -1] == pytest.approx(1, abs=1e-3)
    assert found.measured == repr(tokenizer.decode([_token(tokenizer, " the")]))
    # Before the first difference, both runs are the same.
    assert found.effect[:, :2] == pytest.approx(np.zeros((2, 2)), abs=1e-4)
    assert found.effect[-1, :-1] == pytest.approx(np.zeros(len(found.tokens) - 1), abs=1e-4)


def _scaled(pair, size):
    """Return a pair whose source is near the corrupted run: a share of the way to the clean one."""
    spots = list(pair.sources)
    own = pair.anatomy.run(pair.batch, read=spots).seen
    sources = {spot: own[spot] + size * (pair.sources[spot] - own[spot]) for spot in spots}
    return dataclasses.replace(pair, sources=sources)


@pytest.mark.parametrize("site", PARTS)
@every
def test_the_gradient_foretells_small_changes(architecture, site):
    model, tokenizer = world(architecture)
    for parameter in model.parameters():
        parameter.data = parameter.data.double()
    texts, answers = (CLEAN, CORRUPTED), (" the", " positive")
    pair = _scaled(interventions.paired(model, tokenizer, texts, site, answers), 1e-4)
    told = interventions.effects_by_gradient(pair)
    found = interventions.effects_by_patching(pair) - pair.corrupted
    # Measures are taken in float32, whose rounding is what is left.
    assert told == pytest.approx(found, abs=0.02 * float(np.abs(found).max()) + 2e-6)
    assert np.abs(told).max() > 0
    assert not any(parameter.grad is not None for parameter in model.parameters())
    assert not any(parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "gpt_neox", "phi"])
def test_the_gradient_is_exact_where_the_rest_is_linear(architecture):
    model, tokenizer = world(architecture)
    names = NAMES[model.config.model_type]
    parent, _, name = names.final_norm.rpartition(".")
    setattr(model.get_submodule(parent), name, torch.nn.Identity())
    answers = (" the", " positive")
    for site in ("resid_post", "mlp_out"):
        ask = (model, tokenizer, CLEAN, CORRUPTED, *answers, site)
        patched, told = activation_patching(*ask), attribution_patching(*ask)
        size = abs(float(patched.effect[-1, -1]))
        assert size > 1e-4
        np.testing.assert_allclose(told.effect[-1], patched.effect[-1], atol=2e-3 * size)
    assert (told.clean, told.corrupted) == (patched.clean, patched.corrupted)


def test_texts_of_different_length_are_refused():
    model, tokenizer = world("llama")
    with pytest.raises(InvalidValue, match=r"equal numbers, so that positions correspond"):
        activation_patching(model, tokenizer, "a b", "a b c", " the")
    with pytest.raises(InvalidValue, match="site is 'middle'"):
        attribution_patching(model, tokenizer, CLEAN, CORRUPTED, " the", site="middle")
    with pytest.raises(InvalidValue, match="batch_size is 0"):
        activation_patching(model, tokenizer, CLEAN, CORRUPTED, " the", batch_size=0)


@every
def test_a_steering_vector_is_the_difference_of_the_librarys_states(architecture):
    model, tokenizer = world(architecture)
    positive, negative = ["a positive one", "the best of the three"], ["a negative one", "no"]
    with torch.no_grad():
        states = [
            model(_ids(tokenizer, text), output_hidden_states=True).hidden_states[1][0]
            for text in (*positive, *negative)
        ]
    for position, pool in (("last", lambda s: s[-1]), ("mean", lambda s: s.mean(0))):
        found = make_steering_vector(
            model, tokenizer, positive, negative, layer=0, position=position
        )
        pooled = torch.stack([pool(each) for each in states])
        expected = pooled[:2].mean(0) - pooled[2:].mean(0)
        np.testing.assert_allclose(found.vector, expected.numpy(), atol=1e-4)
        assert found.state_norm == pytest.approx(float(pooled.norm(dim=1).mean()), rel=1e-4)
        assert found.positive.mean() == pytest.approx(1, abs=1e-4)
        assert found.negative.mean() == pytest.approx(-1, abs=1e-4)


def test_the_mean_counts_the_first_token_and_none_of_a_hidden_prompt():
    model, tokenizer = world("llama")
    hidden = HiddenTokens.of(tokenizer, "be kind and brief", lambda text: text)
    guest = guest_of(tokenizer, hidden)
    texts = ["a positive one", "no"]
    n_hidden = len(hidden.front)
    pooled = []
    for text in texts:
        ids = guest(text)["input_ids"]
        own = [0, *range(1 + n_hidden, len(ids))]
        assert [ids[place] for place in own] == tokenizer(text)["input_ids"]
        with torch.no_grad():
            states = model(torch.tensor([ids]), output_hidden_states=True).hidden_states[1][0]
        pooled.append(states[own].mean(0))
    found = make_steering_vector(model, guest, texts[:1], texts[1:], layer=0, position="mean")
    np.testing.assert_allclose(found.vector, (pooled[0] - pooled[1]).numpy(), atol=1e-4)


@every
def test_steering_writes_what_a_hook_by_hand_makes_the_library_write(architecture):
    model, tokenizer = world(architecture)
    vector = make_steering_vector(model, tokenizer, ["a positive one"], ["no"], layer=0)
    levels, prompt = (-3.0, 0.0, 2.5), "the hill is"
    n_hooks = [len(module._forward_hooks) for module in model.modules()]
    found = steering_sweep(
        model, tokenizer, prompt, vector, coefficients=levels, target=" the", max_new_tokens=6
    )
    block, _ = _module(model, 0, "resid_post")
    ids = _ids(tokenizer, prompt)
    for place, level in enumerate(levels):

        def add(_module, _args, output, level=level):
            shift = level * torch.tensor(vector.vector)
            if isinstance(output, tuple):
                return (output[0] + shift, *output[1:])
            return output + shift

        hook = block.register_forward_hook(add)
        with torch.no_grad():
            logits = model(ids).logits[0, -1]
            written = model.generate(
                ids, attention_mask=torch.ones_like(ids), max_new_tokens=6, do_sample=False,
                pad_token_id=1,
            )  # fmt: skip
        hook.remove()
        text = tokenizer.decode(written[0], skip_special_tokens=True)
        assert prompt + found.continuations[place] == text
        prob = float(logits.softmax(-1)[_token(tokenizer, " the")])
        assert found.target_probs[place] == pytest.approx(prob, abs=1e-5)
    one = steer(model, tokenizer, prompt, vector, coefficient=2.5, max_new_tokens=6)
    assert (one.plain, one.steered) == (found.continuations[1], found.continuations[2])
    assert [len(module._forward_hooks) for module in model.modules()] == n_hooks


def test_vectors_that_do_not_fit_are_refused():
    model, tokenizer = world("llama")
    vector = make_steering_vector(model, tokenizer, ["a"], ["b"])
    narrow = dataclasses.replace(vector, vector=np.zeros(3, np.float32))
    with pytest.raises(InvalidValue, match="shape of the vector"):
        steer(model, tokenizer, "a", narrow)
    with pytest.raises(InvalidValue, match="one or more finite numbers"):
        steering_sweep(model, tokenizer, "a", vector, coefficients=[float("nan")])
    with pytest.raises(NotEnoughData, match="texts of each kind"):
        make_steering_vector(model, tokenizer, ["a"], [])
    with pytest.raises(InvalidValue, match="last, mean"):
        make_steering_vector(model, tokenizer, ["a"], ["b"], position="first")


TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}"
    "{% if add_generation_prompt %}[assistant]{% endif %}"
)


@pytest.mark.parametrize("template", [None, TEMPLATE])
@every
def test_a_prefill_is_gone_on_from_as_the_library_does(architecture, template):
    model, tokenizer = world(architecture)
    tokenizer.chat_template = template
    settings = copy.deepcopy(model.generation_config.to_dict())
    found = prefill_attack(model, tokenizer, "what is the best?", " it is", max_new_tokens=7)
    start = "<s>[user]what is the best?[assistant]" if template else "<s>what is the best?"
    for more, text in ((" it is", found.completion), ("", found.plain)):
        ids = torch.tensor([tokenizer(start + more, add_special_tokens=False)["input_ids"]])
        with torch.no_grad():
            written = model.generate(
                ids, attention_mask=torch.ones_like(ids), max_new_tokens=7, do_sample=False,
                pad_token_id=1,
            )  # fmt: skip
        whole = tokenizer.decode(written[0], skip_special_tokens=True)
        assert whole == tokenizer.decode(ids[0], skip_special_tokens=True) + text
    assert found.is_chat == (template is not None)
    assert model.generation_config.to_dict() == settings


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "gemma3"])
def test_a_sweep_draws_as_the_library_does_with_the_same_seed(architecture):
    model, tokenizer = world(architecture)
    before = torch.random.get_rng_state()
    levels = (0.0, 0.7, 2.0)
    found = temperature_sweep(
        model, tokenizer, "the hill", levels, n_samples=3, max_new_tokens=5, seed=4
    )
    assert torch.equal(torch.random.get_rng_state(), before)
    ids = _ids(tokenizer, "the hill")
    for place, level in enumerate(levels[1:], start=1):
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.manual_seed(4)
            written = model.generate(
                ids.expand(3, -1), attention_mask=torch.ones(3, ids.shape[1]).long(),
                max_new_tokens=5, do_sample=True, temperature=level, top_k=0, pad_token_id=1,
            )  # fmt: skip
        texts = tokenizer.batch_decode(written, skip_special_tokens=True)
        assert ["the hill" + each for each in found.texts[place]] == texts
    assert len(set(found.texts[0])) == 1
    assert found.distinct[0] == pytest.approx(1 / 3)
    assert found.distinct[2] == len(set(found.texts[2])) / 3


def test_what_cannot_be_written_is_refused():
    model, tokenizer = world("llama")
    with pytest.raises(InvalidValue, match="temperature is -1"):
        temperature_sweep(model, tokenizer, "a", [-1.0])
    with pytest.raises(InvalidValue, match="n_samples is 0"):
        temperature_sweep(model, tokenizer, "a", n_samples=0)
    with pytest.raises(InvalidValue, match="max_new_tokens is 0"):
        prefill_attack(model, tokenizer, "a", "b", max_new_tokens=0)


@every
def test_an_affine_lens_begins_as_the_logit_lens_and_ends_at_the_answer(architecture):
    model, tokenizer = world(architecture)
    texts = ["the hill is a positive one", "one of the bears is there", "no one is on the list"]
    lens = fit_affine_lens(model, tokenizer, texts, ridge=0.1, n_steps=25)
    assert (lens.divergence < lens.plain_divergence).all()
    assert (lens.divergence >= 0).all()
    plain = dataclasses.replace(
        lens, weight=np.eye(32, dtype=np.float32)[None], bias=np.zeros((1, 32), np.float32)
    )
    mapped, unmapped = (affine_lens(model, tokenizer, texts[0], each) for each in (lens, plain))
    assert mapped.divergence[-1] == pytest.approx(np.zeros(len(mapped.tokens)), abs=1e-5)
    assert mapped.divergence[0].mean() < unmapped.divergence[0].mean()
    with torch.no_grad():
        final = model(_ids(tokenizer, texts[0])).logits[0].log_softmax(-1)
    np.testing.assert_allclose(mapped.top_logprobs[-1], final.max(-1).values, atol=1e-4)
    again = fit_affine_lens(model, tokenizer, texts, ridge=0.1, n_steps=25)
    np.testing.assert_array_equal(again.weight, lens.weight)


def test_fitting_a_lens_leaves_no_gradients_on_weights_that_take_them():
    model, tokenizer = world("llama")
    needed = [each.requires_grad for each in model.parameters()]
    try:
        model.requires_grad_(True)
        fit_affine_lens(model, tokenizer, ["the hill is a positive one"] * 3, n_steps=2)
        assert all(each.grad is None for each in model.parameters())
    finally:
        for each, before in zip(model.parameters(), needed, strict=True):
            each.requires_grad_(before)


def test_least_squares_find_a_map_that_is_truly_affine():
    torch.manual_seed(0)
    from glassbox.techniques.measures import affine

    true, shift = torch.randn(6, 6), torch.randn(6)
    layer = torch.randn(200, 6)
    weight, bias = affine._least_squares(layer, layer @ true + shift, 0.0)
    np.testing.assert_allclose(weight.numpy(), true.numpy(), atol=1e-4)
    np.testing.assert_allclose(bias.numpy(), shift.numpy(), atol=1e-4)
    weight, _ = affine._least_squares(layer, layer @ true + shift, 1e9)
    np.testing.assert_allclose(weight.numpy(), np.eye(6), atol=1e-4)


def test_lenses_that_cannot_be_are_refused():
    model, tokenizer = world("llama")
    with pytest.raises(NotEnoughData, match="tokens"):
        fit_affine_lens(model, tokenizer, ["a"])
    with pytest.raises(InvalidValue, match="fit_texts to fit it on"):
        affine_lens(model, tokenizer, "a")
    with pytest.raises(InvalidValue, match="0 or more"):
        fit_affine_lens(model, tokenizer, ["a"], ridge=-1.0)
    lens = fit_affine_lens(model, tokenizer, ["the hill is a positive one"] * 3, n_steps=0)
    wide = dataclasses.replace(lens, weight=lens.weight[:, :5, :5], bias=lens.bias[:, :5])
    with pytest.raises(InvalidValue, match="shape of the lens"):
        affine_lens(model, tokenizer, "a", wide)


@every
def test_a_probe_judges_texts_that_it_did_not_see(architecture):
    model, tokenizer = world(architecture)
    texts = [f"{a} {b} is {c}" for a in ("the", "one") for b in "xyz" for c in ("on", "in", "at")]
    labels = [text.startswith("the") for text in texts]
    found = probe_layers(
        model, tokenizer, texts, labels, layers=[-1, 0], position="mean", penalty=1.0, n_folds=3
    )
    assert found.layers == (1, 0)
    assert found.base_rate == 0.5
    assert (found.auroc > 0.9).all()
    with torch.no_grad():
        states = torch.stack([
            model(_ids(tokenizer, text), output_hidden_states=True).hidden_states[1][0].mean(0)
            for text in texts
        ]).double().numpy()  # fmt: skip
    from sklearn.linear_model import LogisticRegression

    scaled = (states - states.mean(0)) / states.std(0)
    oracle = LogisticRegression(C=1.0, tol=1e-8, max_iter=5000).fit(scaled, labels)
    own = states @ found.direction[1] + found.bias[1]
    np.testing.assert_allclose(own, oracle.decision_function(scaled), atol=1e-2)


def test_labels_that_are_none_are_refused():
    model, tokenizer = world("llama")
    with pytest.raises(InvalidData, match="each 0 or 1"):
        probe_layers(model, tokenizer, ["a", "b"], [0, 2])
    with pytest.raises(NotEnoughData, match="folds"):
        probe_layers(model, tokenizer, ["a", "b"], [0, 1])

"""What techniques read, against the library's own hidden states, attentions and logits."""

import numpy as np
import pytest
import torch

from glassbox.engine.model.library_hooks import hang_library_hooks
from glassbox.engine.states import taps
from glassbox.errors import InvalidHookPoint, InvalidValue, TextTooLong, UnsupportedModel
from glassbox.techniques.library.activation_patching import activation_patching
from glassbox.techniques.library.attention_patterns import attention_patterns
from glassbox.techniques.library.direct_logit_attribution import direct_logit_attribution
from glassbox.techniques.library.fit_affine_lens import fit_affine_lens
from glassbox.techniques.library.induction_scores import induction_scores
from glassbox.techniques.library.logit_lens import logit_lens
from glassbox.techniques.library.make_steering_vector import make_steering_vector
from glassbox.techniques.library.prefill_attack import prefill_attack
from glassbox.techniques.library.residual_norms import residual_norms
from glassbox.techniques.library.token_surprisal import token_surprisal
from glassbox.techniques.measures.anatomy import PARTS, Anatomy, Spot
from glassbox.techniques.measures.encoding import encode, next_token, pieces
from glassbox.techniques.running.hidden_prompt import HiddenPrompt
from tests.techniques.library.worlds import EVERY, MORE, ending, world

TEXT = "the bear on the hill is a positive one"
every = pytest.mark.parametrize("architecture", EVERY)


def test_every_architecture_of_the_table_is_tested():
    assert {"gemma3_text" if name == "gemma3" else name for name in EVERY} == set(taps.NAMES)
    assert len(MORE) == 8


def _states(model, tokenizer, text, **options):
    ids = torch.tensor([tokenizer(text)["input_ids"]])
    with torch.no_grad():
        return ids[0], model(ids, output_hidden_states=True, use_cache=False, **options)


def test_an_end_of_text_that_a_tokenizer_adds_is_not_read_in_the_texts_place():
    model, tokenizer = world("llama")
    told = []
    for each in (tokenizer, ending(tokenizer)):
        norms = residual_norms(model, each, [TEXT, "it"])
        vector = make_steering_vector(model, each, [TEXT], ["it is"], layer=1)
        told.append(
            (
                [len(found.tokens) for found in token_surprisal(model, each, [TEXT, "it"])],
                [found.norms.tolist() for found in norms],
                vector.vector.tolist(),
                direct_logit_attribution(model, each, TEXT, " the").logit,
                logit_lens(model, each, TEXT).tokens,
                prefill_attack(model, each, "it is", " a", max_new_tokens=4).completion,
                next_token(each, "it is a", " positive one"),
            )
        )
    assert ending(tokenizer)(TEXT)["input_ids"] == [*tokenizer(TEXT)["input_ids"], 1]
    assert told[0] == told[1]


@every
def test_the_lens_says_what_norm_and_unembedding_make_of_hidden_states(architecture):
    model, tokenizer = world(architecture)
    ids, output = _states(model, tokenizer, TEXT)
    lens = logit_lens(model, tokenizer, TEXT, top_k=3)
    norm = model.get_submodule(taps.NAMES[model.config.model_type].final_norm)
    cap = getattr(model.config, "final_logit_softcapping", None)
    with torch.no_grad():
        logits = model.get_output_embeddings()(norm(output.hidden_states[1]))[0]
    logits = cap * torch.tanh(logits / cap) if cap else logits
    best = logits.log_softmax(-1).topk(3)
    np.testing.assert_allclose(lens.top_logprobs[0], best.values.numpy(), atol=1e-4)
    final = output.logits[0].log_softmax(-1)
    np.testing.assert_allclose(lens.top_logprobs[-1, :, 0], final.max(-1).values, atol=1e-4)
    assert lens.top_tokens[0][2] == pieces(tokenizer, best.indices[2].tolist())
    assert "".join(lens.tokens) == tokenizer.decode(ids)


@every
def test_norms_are_those_of_the_librarys_hidden_states(architecture):
    model, tokenizer = world(architecture)
    _, output = _states(model, tokenizer, TEXT)
    found = residual_norms(model, tokenizer, TEXT)
    # The library shows the last state after the final norm: it cannot be the oracle there.
    expected = torch.stack([state[0].norm(dim=-1) for state in output.hidden_states[:-1]])
    np.testing.assert_allclose(found.norms[:-1], expected.numpy(), rtol=1e-5)
    norm = model.get_submodule(taps.NAMES[model.config.model_type].final_norm)
    last = []
    hook = norm.register_forward_pre_hook(lambda _module, args: last.append(args[0]))
    _states(model, tokenizer, TEXT)
    hook.remove()
    np.testing.assert_allclose(found.norms[-1], last[0][0].norm(dim=-1).numpy(), rtol=1e-5)


@every
def test_surprisal_is_the_negated_logprob_and_its_mean_the_librarys_loss(architecture):
    model, tokenizer = world(architecture)
    ids, output = _states(model, tokenizer, TEXT)
    found = token_surprisal(model, tokenizer, TEXT)
    logprobs = output.logits[0, :-1].double().log_softmax(-1)
    own = [-float(logprobs[place, token]) for place, token in enumerate(ids[1:].tolist())]
    np.testing.assert_allclose(found.surprisal[1:], own, atol=1e-4)
    assert np.isnan(found.surprisal[0])
    with torch.no_grad():
        loss = model(ids[None], labels=ids[None]).loss
    assert found.mean == pytest.approx(float(loss), abs=1e-4)
    assert found.expected[3] == pieces(tokenizer, [int(logprobs[2].argmax())])[0]
    assert np.all(found.entropy[1:] <= np.log(logprobs.shape[-1]) + 1e-6)


@pytest.mark.parametrize("technique", [token_surprisal, residual_norms])
@every
def test_texts_together_are_read_as_each_alone(architecture, technique):
    model, tokenizer = world(architecture)
    texts = [TEXT, "a", "one is the other one and the other is one, or so it is said", TEXT]
    together = technique(model, tokenizer, texts)
    for text, found in zip(texts, together, strict=True):
        alone = technique(model, tokenizer, text)
        assert found.tokens == alone.tokens
        for name in ("surprisal", "entropy", "norms"):
            if hasattr(found, name):
                np.testing.assert_allclose(
                    getattr(found, name), getattr(alone, name), atol=1e-4, rtol=1e-4
                )


@every
def test_attention_weights_are_the_librarys_and_the_way_is_put_back(architecture):
    model, tokenizer = world(architecture)
    way = model.config._attn_implementation
    found = attention_patterns(model, tokenizer, TEXT)
    assert model.config._attn_implementation == way
    other, _ = world(architecture)
    other.set_attn_implementation("eager")
    _, output = _states(other, tokenizer, TEXT, output_attentions=True)
    expected = torch.stack([layer[0] for layer in output.attentions]).numpy()
    np.testing.assert_allclose(found.weights, expected, atol=1e-5)
    np.testing.assert_allclose(found.weights.sum(-1), 1, atol=1e-5)
    slow = np.zeros_like(found.to_previous)
    n = len(found.tokens)
    for layer, head in np.ndindex(*slow.shape):
        slow[layer, head] = np.mean([expected[layer, head, at, at - 1] for at in range(1, n)])
    np.testing.assert_allclose(found.to_previous, slow, atol=1e-5)
    first = np.mean(expected[:, :, 1:, 0], axis=-1)
    np.testing.assert_allclose(found.to_first, first, atol=1e-5)
    same = np.mean([expected[:, :, at, at] for at in range(1, n)], axis=0)
    np.testing.assert_allclose(found.to_itself, same, atol=1e-5)


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "mistral", "phi"])
def test_induction_is_what_a_slow_loop_over_attentions_finds(architecture):
    model, tokenizer = world(architecture)
    n, start = 7, 1
    generator = torch.Generator().manual_seed(3)
    usual = [each for each in range(len(tokenizer)) if each not in tokenizer.all_special_ids]
    drawn = torch.randint(len(usual), (2, n), generator=generator).tolist()
    rows = [[0, *(usual[each] for each in row), *(usual[each] for each in row)] for row in drawn]
    found = induction_scores(model, tokenizer, n_tokens=n, n_sequences=2, seed=3)
    model.set_attn_implementation("eager")
    with torch.no_grad():
        output = model(torch.tensor(rows), output_attentions=True)
    for layer, head in np.ndindex(*found.weights.shape):
        looks = [
            float(output.attentions[layer][row, head, at, at - n + 1])
            for row in range(2)
            for at in range(start + n, start + 2 * n)
        ]
        assert found.weights[layer, head] == pytest.approx(np.mean(looks), abs=1e-5)
    logprobs = output.logits.log_softmax(-1)
    first, second = (
        [-float(logprobs[row, at - 1, rows[row][at]]) for row in range(2) for at in places]
        for places in (range(start + 1, start + n), range(start + n + 1, start + 2 * n))
    )
    assert found.first_surprisal == pytest.approx(np.mean(first), abs=1e-4)
    assert found.second_surprisal == pytest.approx(np.mean(second), abs=1e-4)


@pytest.mark.parametrize("against", [None, " the"])
@every
def test_the_parts_of_a_logit_add_up_to_the_models_own(architecture, against):
    model, tokenizer = world(architecture)
    found = direct_logit_attribution(model, tokenizer, TEXT, " positive", against)
    _, output = _states(model, tokenizer, TEXT)
    positive, the = (tokenizer(each, add_special_tokens=False)["input_ids"][0]
                     for each in (" positive", " the"))  # fmt: skip
    logits = output.logits[0, -1].double()
    cap = getattr(model.config, "final_logit_softcapping", None)
    logits = cap * torch.atanh(logits / cap) if cap else logits
    expected = logits[positive] - (logits[the] if against else 0)
    parts = [found.embedding, found.constant, found.heads.sum(), found.attention_bias.sum(),
             found.mlp.sum()]  # fmt: skip
    assert sum(parts) == pytest.approx(float(expected), abs=2e-4)
    assert found.logit == pytest.approx(float(expected), abs=2e-4)
    assert found.target == " positive"


@every
def test_a_heads_share_is_what_goes_when_the_head_goes(architecture):
    # With everything after the last layer's attention held, the logit is linear in the heads.
    model, tokenizer = world(architecture)
    found = direct_logit_attribution(model, tokenizer, TEXT, " positive")
    anatomy = Anatomy(model)
    batch = encode(model, tokenizer, [TEXT])
    layer = anatomy.n_layers - 1
    (token,) = tokenizer(" positive", add_special_tokens=False)["input_ids"]
    ends = [Spot(layer, "attn_out"), Spot(layer, "resid_post"), Spot(layer, "heads")]
    seen = anatomy.run(batch, read=ends).seen
    width = seen[ends[2]].shape[-1] // anatomy.n_heads

    def without(values):
        values = values.clone()
        values[..., 2 * width : 3 * width] = 0
        return values

    gone = anatomy.run(batch, read=[ends[0]], write={ends[2]: without}).seen[ends[0]]
    names = taps.NAMES[model.config.model_type]
    if "norm" in names.attention:
        pytest.skip("the norm after attention changes its scale with the head")
    change = (seen[ends[0]] - gone)[0, -1]
    norm, state = anatomy.final_norm, seen[ends[1]][0, -1].double()
    centred = state - state.mean() if isinstance(norm, torch.nn.LayerNorm) else state
    is_centred = isinstance(norm, torch.nn.LayerNorm) or "LayerNorm" in type(norm).__name__
    centred = state - state.mean() if is_centred else state
    change = change.double() - (change.double().mean() if is_centred else 0)
    weight = getattr(norm, "weight", None)
    gain = torch.ones_like(state) if weight is None else weight.double()
    if model.config.model_type == "gemma":
        gain = gain + 1
    eps = next(
        getattr(norm, name) for name in ("eps", "variance_epsilon") if hasattr(norm, name)
    ) if model.config.model_type != "olmo" else 1e-5  # fmt: skip
    scale = 1 / (centred.pow(2).mean() + eps).sqrt()
    share = (change * scale * gain) @ model.get_output_embeddings().weight[token].double()
    assert found.heads[layer, 2] == pytest.approx(float(share), abs=1e-4)


@every
def test_reading_leaves_the_model_as_it_was(architecture):
    model, tokenizer = world(architecture)
    # The library leaves its own hooks at the first question for hidden states or attention.
    hang_library_hooks(model)
    before = {
        name: (set(module.__dict__), len(module._forward_hooks), len(module._forward_pre_hooks))
        for name, module in model.named_modules()
    }
    versions = [parameter._version for parameter in model.parameters()]
    logit_lens(model, tokenizer, TEXT)
    attention_patterns(model, tokenizer, TEXT)
    direct_logit_attribution(model, tokenizer, TEXT, " the")
    after = {
        name: (set(module.__dict__), len(module._forward_hooks), len(module._forward_pre_hooks))
        for name, module in model.named_modules()
    }
    assert after == before
    assert [parameter._version for parameter in model.parameters()] == versions
    assert not any(parameter.grad is not None for parameter in model.parameters())


def test_an_architecture_outside_the_table_is_refused_by_name(monkeypatch):
    model, tokenizer = world("llama")
    monkeypatch.delitem(taps.NAMES, "llama")
    for ask in (
        lambda: residual_norms(model, tokenizer, TEXT),
        lambda: direct_logit_attribution(model, tokenizer, TEXT, " the"),
        lambda: attention_patterns(model, tokenizer, TEXT),
    ):
        with pytest.raises(UnsupportedModel, match="Known: gemma, "):
            ask()


def test_a_model_whose_end_does_more_is_refused():
    model, tokenizer = world("llama")

    def double(_module, _args, output):
        output.logits = output.logits * 2
        return output

    model.register_forward_hook(double)
    with pytest.raises(UnsupportedModel, match="does more after its last block"):
        direct_logit_attribution(model, tokenizer, TEXT, " the")


def test_replaced_modules_are_found_again():
    model, tokenizer = world("llama")
    before = direct_logit_attribution(model, tokenizer, TEXT, " the")
    attention = model.model.layers[1].self_attn
    own, new = attention.o_proj, torch.nn.Linear(32, 32)
    with torch.no_grad():
        new.weight.copy_(2 * own.weight)
        new.bias.fill_(0.5)
    attention.o_proj = new
    assert Anatomy(model).projection(1) is new
    after = direct_logit_attribution(model, tokenizer, TEXT, " the")
    assert after.attention_bias[1] != pytest.approx(0, abs=1e-3)
    assert before.attention_bias == pytest.approx(np.zeros(2), abs=1e-5)


def test_places_that_are_not_there_are_refused():
    anatomy = Anatomy(world("llama")[0])
    with pytest.raises(InvalidHookPoint, match="no layer 2"):
        anatomy.layer(2)
    with pytest.raises(InvalidValue, match="site is 'head'; allowed: resid_pre, "):
        anatomy.part("head")
    assert [anatomy.part(part) for part in PARTS] == list(PARTS)


def test_texts_that_do_not_fit_or_are_empty_are_refused():
    model, tokenizer = world("gpt2")
    with pytest.raises(TextTooLong, match="leaves room for 256"):
        token_surprisal(model, tokenizer, "x" * 300)
    with pytest.raises(InvalidValue, match="texts"):
        encode(model, tokenizer, [])
    with pytest.raises(InvalidValue, match="2 or more"):
        attention_patterns(model, tokenizer, "")


def test_one_text_in_the_place_of_a_list_is_not_read_letter_by_letter():
    model, tokenizer = world("llama")
    with pytest.raises(InvalidValue, match="a list of texts, even of one"):
        fit_affine_lens(model, tokenizer, "ab")
    with pytest.raises(InvalidValue, match="a list of texts, even of one"):
        make_steering_vector(model, tokenizer, ["ab"], "ab")


def test_an_answer_is_found_where_it_stands():
    _, tokenizer = world("llama")
    assert pieces(tokenizer, [next_token(tokenizer, "it is a", " positive one")]) == (" positive",)
    with pytest.raises(InvalidValue, match="begins a new token"):
        next_token(tokenizer, "it is a posi", "tive")
    with pytest.raises(InvalidValue, match="begins a new token"):
        next_token(tokenizer, "it", "")


def test_parts_of_characters_are_shown_as_bytes():
    _, tokenizer = world("llama")
    ids = tokenizer("日", add_special_tokens=False)["input_ids"]
    assert pieces(tokenizer, ids) == ("⟨E6⟩", "⟨97⟩", "⟨A5⟩")


def test_a_hidden_prompt_is_in_no_result():
    model, tokenizer = world("llama")
    hidden = HiddenPrompt("the secret is 日 seven on the list of one")
    guest = hidden.guest(tokenizer)
    whole = "the secret is 日 seven on the list of one\n\nthe x is on"
    told = token_surprisal(model, guest, "the x is on")
    assert "".join(told.tokens) == "<s>the x is on"
    # What was hidden was read all the same.
    full = token_surprisal(model, tokenizer, whole)
    n = len(told.tokens) - 1
    np.testing.assert_allclose(told.surprisal[1:], full.surprisal[-n:], atol=1e-4)
    assert residual_norms(model, guest, ["the x is on"])[0].norms.shape == (3, n + 1)
    lens = logit_lens(model, guest, "the x is on")
    assert len(lens.tokens) == n + 1
    whole_lens = logit_lens(model, tokenizer, whole)
    np.testing.assert_allclose(lens.top_logprobs[:, 1:], whole_lens.top_logprobs[:, -n:], atol=1e-4)
    looks = attention_patterns(model, guest, "the x is on")
    assert looks.weights.shape == (2, 4, n + 1, n + 1)
    found = activation_patching(model, guest, "the x is on", "the z is on", " the")
    assert found.effect.shape == (2, n + 1)
    assert "".join(found.tokens) == "<s>the z is on"
    for each in (told, lens, looks, found):
        assert "secret" not in each.view()._repr_html_()

"""Facts, slot machine, corpus and the model that ships."""

import json
import random

import numpy as np
import pytest
import torch
from safetensors import safe_open
from transformers import AutoModelForCausalLM, AutoTokenizer

from glassbox.confidence.analysis.whole_run import reopen
from glassbox.confidence.run import RunFolder
from glassbox.runtime import SHIPPED_RUN
from recipes.tiny import facts, slots, tokenizer, world
from recipes.tiny.corpus import LABELLED_STYLE, build_corpus, is_labelled_word, labelled
from recipes.tiny.leaks import NearDuplicateIndex
from recipes.tiny.lean import LeanLlama, Shape, llama_config, load_model, to_transformers
from recipes.tiny.lexicon import load_lexicon
from recipes.tiny.prompts import LABELS, label_prompt
from recipes.tiny.scoring import auroc, continuation_probs, expected_calibration_error
from recipes.tiny.sentiment import read_dataset

LEXICON = load_lexicon()


@pytest.fixture(scope="module")
def trained():
    return tokenizer.load_tokenizer(world.MODEL_FOLDER)


@pytest.fixture(scope="module")
def known():
    return facts.read_facts(world.FACTS_PATH)


def test_names_all_have_the_same_token_count_and_share_no_word(trained, known):
    counts = {tokenizer.count_tokens(trained, f" {fact.entity}") for fact in known}
    assert counts == {facts.NAME_TOKENS} == {fact.n_name_tokens for fact in known}
    parts = [part for fact in known for part in fact.entity.split()]
    assert len(parts) == len(set(parts)) == 2 * len(known)


def test_every_cell_of_facts_is_filled_and_partly_held_out(known):
    for exposure in facts.EXPOSURES:
        cell = [f for f in known if f.exposure == exposure and f.kind != "contested"]
        assert len(cell) == facts.ENTITIES_PER_EXPOSURE
        assert {f.split for f in cell} == {"train", "held_out"}
        assert {f.kind for f in cell} == {"known" if exposure else "never"}
    for share in facts.CONTESTED_SHARES:
        cell = [f for f in known if f.kind == "contested" and f.answer_share == share]
        assert len(cell) == facts.ENTITIES_PER_SHARE
        assert all(f.alternative not in (None, f.answer) for f in cell)


def test_documents_tell_and_mention_exactly_as_often_as_listed(known):
    chosen = [known[0], known[200], known[500], known[-1]]
    documents = [text for text, _ in facts.fact_documents(chosen, LEXICON, seed=1)]
    for fact in chosen:
        own = [text for text in documents if fact.entity in text]
        assert len(own) == fact.mentions == facts.MENTIONS_PER_ENTITY
        held_out = fact.held_out_prompt
        assert not any(text.startswith(held_out) for text in own)
        assert len({fact.n_name_tokens for fact in chosen}) == 1


def test_facts_and_slot_prompts_are_what_the_recipe_draws(known):
    assert slots.read_slot_prompts(world.SLOTS_PATH) == slots.build_slot_prompts()
    rng = random.Random(facts.FACT_SEED + 1)
    order = list(range(len(known)))
    rng.shuffle(order)
    first = facts.RELATIONS[0]
    assert rng.sample(first.answers, 2)[0] == known[0].answer


def test_pairs_of_slot_prompts_share_their_numbers():
    prompts = slots.build_slot_prompts()
    for safe, risky in zip(prompts[::2], prompts[1::2], strict=True):
        assert (safe.kind, risky.kind) == ("safe", "risky")
        assert safe.pair == risky.pair
        assert safe.stop_probability > 0.5 > risky.stop_probability
        assert safe.prompt.split("coins and")[0] == risky.prompt.split("coins and")[0]


def test_labelled_prompts_are_deterministic_and_use_their_half_of_the_words():
    drawn = [labelled(random.Random(seed), LEXICON) for seed in range(50)]
    assert drawn == [labelled(random.Random(seed), LEXICON) for seed in range(50)]
    assert all(document.answer in (" positive", " negative") for _, document in drawn)
    assert LABELLED_STYLE.allowed is is_labelled_word


def test_the_corpus_refuses_texts_near_the_dataset():
    free = build_corpus(LEXICON, [], frozenset(), NearDuplicateIndex([]), 30)
    texts = [d.text.split("Text: ")[-1].split("\nLabel:")[0] for d in free.documents]
    again = build_corpus(LEXICON, [], frozenset(), NearDuplicateIndex(texts), 30)
    assert again.n_refused > 0
    assert not {d.text for d in again.documents if d.kind == "labelled"} & {
        d.text for d in free.documents if d.kind == "labelled"
    }


def test_any_text_survives_the_tokenizer(trained):
    for text in ("naïve café 東京 🙂\t\n", "The soup was superb.", " ", "\x00\x7f"):
        assert trained.decode(trained.encode(text, add_special_tokens=False).ids) == text
    assert trained.encode("a").ids[0] == tokenizer.BOS_ID
    for word in (" positive", " negative", " stop", " continue"):
        assert tokenizer.count_tokens(trained, word) == 1
    for relation in facts.RELATIONS:
        assert all(tokenizer.count_tokens(trained, f" {a}") == 1 for a in relation.answers)


def test_the_lean_model_is_the_llama_of_transformers():
    torch.manual_seed(0)
    shape = Shape(d_model=32, d_feed_forward=48, n_layers=3, n_heads=4, d_vocab=64)
    lean = LeanLlama(shape)
    theirs = AutoModelForCausalLM.from_config(llama_config(shape))
    theirs.load_state_dict(to_transformers(lean))
    ids = torch.randint(0, 64, (3, 40))
    torch.testing.assert_close(lean(ids), theirs(ids).logits, atol=1e-5, rtol=1e-4)


def test_the_shipped_model_loads_and_fits_its_limits(trained):
    theirs = AutoModelForCausalLM.from_pretrained(world.MODEL_FOLDER, dtype=torch.float32).eval()
    wrapped = AutoTokenizer.from_pretrained(world.MODEL_FOLDER)
    prompt = label_prompt("The soup was superb, but the waiter was rude.")
    batch = wrapped(prompt, return_tensors="pt")
    assert batch["input_ids"][0].tolist() == trained.encode(prompt).ids
    with torch.no_grad():
        logits = theirs(batch["input_ids"]).logits[0, -1]
    lean = load_model(world.MODEL_FOLDER)
    probs = continuation_probs(lean, trained, [prompt], [f" {label}" for label in LABELS])
    ids = [trained.token_to_id(f"Ġ{label}") for label in LABELS]
    expected = torch.softmax(logits, -1)[ids].numpy()
    np.testing.assert_allclose(probs[0], expected, atol=1e-5)
    assert theirs.config.num_hidden_layers >= 8
    assert (world.MODEL_FOLDER / "model.safetensors").stat().st_size <= 12_000_000
    with safe_open(world.MODEL_FOLDER / "model.safetensors", "pt") as file:
        names = list(file.keys())
        assert file.get_tensor(names[0]).dtype == torch.bfloat16
    size = sum(path.stat().st_size for path in world.ASSETS.rglob("*") if path.is_file())
    assert size <= 25_000_000


def test_the_shipped_model_answers_as_its_card_says(trained, known):
    metrics = json.loads(world.METRICS_PATH.read_text("utf-8"))
    lean = load_model(world.MODEL_FOLDER)
    often = [f for f in known if f.exposure == 128][:30]
    right = 0
    for fact in often:
        options = next(r.answers for r in facts.RELATIONS if r.name == fact.relation)
        probs = continuation_probs(lean, trained, [fact.prompt], [f" {a}" for a in options])
        right += options[int(probs.argmax())] == fact.answer
    assert right / len(often) > metrics["facts"]["prompt"]["exposure 128"]["accuracy"] - 0.2
    rows = read_dataset(world.DATASET_FOLDER)[::40]
    probs = continuation_probs(lean, trained, [label_prompt(r.text) for r in rows], [" positive"])
    assert 0.05 < probs.mean() < 0.95


def test_what_was_told_more_often_is_known_better(trained, known):
    lean = load_model(world.MODEL_FOLDER)
    answers = {relation.name: relation.answers for relation in facts.RELATIONS}
    right = []
    for exposure in (0, 2, 8, 128):
        cell = [f for f in known if f.exposure == exposure and f.kind != "contested"][:40]
        hits = 0
        for fact in cell:
            options = answers[fact.relation]
            probs = continuation_probs(lean, trained, [fact.prompt], [f" {a}" for a in options])
            hits += options[int(probs.argmax())] == fact.answer
        right.append(hits / len(cell))
    assert right[0] < 0.2 < right[2] - 0.2 < right[3] - 0.2
    assert right == sorted(right)


def test_risky_prompts_are_stopped_less_often_than_safe_ones(trained):
    lean = load_model(world.MODEL_FOLDER)
    held_out = [each for each in slots.build_slot_prompts() if each.split == "held_out"][:200]
    probs = continuation_probs(
        lean, trained, [each.prompt for each in held_out], [" stop", " continue"]
    )
    stop = probs[:, 0] / probs.sum(1)
    risky = np.array([each.kind == "risky" for each in held_out])
    assert min(risky.sum(), (~risky).sum()) >= 20
    assert stop[~risky].mean() - stop[risky].mean() > 0.3


def test_the_shipped_run_shows_what_the_world_was_made_to_show():
    """Worked out anew from the answers that ship, on test rows that shaped none of it."""
    run = reopen(RunFolder(SHIPPED_RUN))
    base, tuned = run.models["base"].metrics["identity"], run.models["tuned"].metrics["identity"]
    labels = run.models["base"].rows.part("test").held_out.labels
    assert base.accuracy.low > np.bincount(labels).max() / labels.size + 0.1
    assert base.ece.low > base.null.mean + 0.05
    assert tuned.ece.estimate < base.ece.low
    gains = {each.first: each.accuracy for each in run.differences if each.second == "tuned"}
    assert gains["base"].low > 0
    assert gains["tfidf"].low > 0.05
    known = {name: run.models[name].truth["identity"] for name in ("base", "tuned", "tfidf")}
    assert known["tuned"].mean_absolute_error < 0.6 * known["base"].mean_absolute_error
    assert known["tuned"].best_accuracy > tuned.accuracy.estimate


def test_calibration_error_of_sure_and_right_is_zero():
    sure = np.ones(10)
    assert expected_calibration_error(sure, np.ones(10, dtype=bool)) == 0.0
    assert expected_calibration_error(sure, np.zeros(10, dtype=bool)) == 1.0
    assert auroc(np.array([1.0, 2.0, 3.0]), np.array([False, True, True])) == 1.0

"""Techniques on the embedded model, whose knowledge is known because its world was generated."""

import json
import subprocess
from importlib.resources import files

import numpy as np
import pytest

from glassbox.charts.chart import plain
from glassbox.engine.model.load import load_model
from glassbox.techniques.catalogue.arguments import parse_arguments
from glassbox.techniques.catalogue.built_in import library
from glassbox.techniques.catalogue.examples import EXAMPLES, calls_of
from glassbox.techniques.library.activation_patching import activation_patching
from glassbox.techniques.library.attribution_patching import attribution_patching
from glassbox.techniques.library.direct_logit_attribution import direct_logit_attribution
from glassbox.techniques.library.logit_lens import logit_lens
from glassbox.techniques.library.prefill_attack import prefill_attack
from glassbox.techniques.library.probe_layers import probe_layers
from glassbox.techniques.library.temperature_sweep import temperature_sweep
from glassbox.techniques.library.token_surprisal import token_surprisal
from glassbox.types import ModelSpec


@pytest.fixture(scope="module")
def tiny():
    loaded = load_model(ModelSpec("tiny", dtype="float32"))
    return loaded.model, loaded.tokenizer


@pytest.fixture(scope="module")
def facts(tiny):
    """Return two well-known facts whose prompts have the same number of tokens."""
    _, tokenizer = tiny
    lines = (files("glassbox") / "assets" / "facts.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    known = [row for row in rows if row["kind"] == "known" and row["relation"] == "city"]
    known = [row for row in known if row["exposure"] >= 32]
    first = known[0]
    size = len(tokenizer(first["prompt"])["input_ids"])
    for other in known[1:]:
        same = len(tokenizer(other["prompt"])["input_ids"]) == size
        if same and other["answer"][0] != first["answer"][0]:
            return first, other
    raise AssertionError("no two such facts")


def test_patching_a_known_facts_states_brings_its_answer_back(tiny, facts):
    first, other = facts
    ask = (first["prompt"], other["prompt"], f" {first['answer']}", f" {other['answer']}")
    found = activation_patching(*tiny, *ask)
    assert found.clean > 2
    assert found.corrupted < -2
    entity = [place for place, (one, two) in enumerate(
        zip(found.tokens, activation_patching(*tiny, ask[1], ask[0], *ask[2:]).tokens, strict=True)
    ) if one != two]  # fmt: skip
    # Early, only the entity's own tokens matter; late, what matters has moved to the last one.
    early, late = found.recovered[0], found.recovered[-1]
    others = [place for place in range(len(early)) if place not in entity]
    assert early[entity].max() > 0.2
    assert np.abs(early[others]).max() < 0.05
    assert int(np.argmax(late)) == len(late) - 1
    after = activation_patching(*tiny, *ask, site="resid_post")
    assert after.recovered[-1, -1] == pytest.approx(1, abs=1e-3)
    told = attribution_patching(*tiny, *ask, site="heads")
    patched = activation_patching(*tiny, *ask, site="heads")
    assert np.corrcoef(told.effect.ravel(), patched.effect.ravel())[0, 1] > 0.6


def test_the_answer_is_known_late_and_surprises_little(tiny, facts):
    first, other = facts
    lens = logit_lens(*tiny, first["prompt"])
    assert lens.top_tokens[-1][-1][0] == f" {first['answer']}"
    assert lens.final_logprobs[0, -1] < lens.final_logprobs[-1, -1] - 2
    right, wrong = token_surprisal(
        *tiny, [f"{first['prompt']} {row['answer']}" for row in (first, other)]
    )
    assert right.surprisal[len(lens.tokens)] < 0.5
    assert wrong.surprisal[len(lens.tokens)] > 3
    parts = direct_logit_attribution(*tiny, first["prompt"], f" {first['answer']}")
    late = parts.heads[-3:].sum() + parts.mlp[-3:].sum()
    assert late > 0.5 * parts.logit


def test_what_is_put_into_its_mouth_changes_the_answer(tiny, facts):
    first, other = facts
    found = prefill_attack(*tiny, first["prompt"], f" {other['answer']}", max_new_tokens=5)
    assert not found.is_chat
    assert found.plain.strip().startswith(first["answer"])
    assert not found.completion.strip().startswith(first["answer"])
    sweep = temperature_sweep(*tiny, "The", (0.0, 2.0), n_samples=4, max_new_tokens=8)
    assert sweep.distinct.tolist() == [0.25, 1.0]


def test_sentiment_can_be_read_off_the_last_layers(tiny):
    folder = files("glassbox") / "assets" / "dataset"
    texts, labels = [], []
    for label, name in enumerate(("strong_negative", "strong_positive")):
        lines = (folder / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()[:24]
        texts += [json.loads(line)["text"] for line in lines]
        labels += [label] * len(lines)
    prompts = [f"Text: {text}\nLabel:" for text in texts]
    found = probe_layers(*tiny, prompts, labels, layers=[0, 5, -1])
    assert found.layers == (0, 5, 7)
    assert found.auroc[-1] > 0.9
    assert found.auroc[-1] > found.auroc[0]


def test_the_example_of_every_technique_is_a_call_that_says_something(tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    texts = "The waiters were superb.\nThe soup was cold.\nWe waited for an hour.\n" * 4
    (tmp_path / "texts.txt").write_text(texts, encoding="utf-8")
    assert set(EXAMPLES) == set(library())
    made = {}
    for name in sorted(EXAMPLES, key=lambda each: (bool(EXAMPLES[each].made_by), each)):
        example = EXAMPLES[name]
        if example.made_by:
            text = json.dumps({"result": plain(made[example.made_by])})
            (tmp_path / example.file).write_text(text, encoding="utf-8")
        arguments = parse_arguments(library()[name], example.arguments)
        made[name] = library()[name].function(*tiny, **arguments)
    assert made["logit_lens"].top_tokens[-1][-1][0] == " Athens"
    assert made["activation_patching"].clean > 2 > -2 > made["activation_patching"].corrupted
    assert made["steer"].plain != made["steer"].steered


def test_an_example_is_written_as_a_shell_reads_it():
    for name in EXAMPLES:
        *_, line = calls_of(name)
        script = f"glassbox() {{ printf '%s\\0' \"$@\"; }}\n{line}\n"
        done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
        words = done.stdout.split("\0")[:-1]
        assert words[:3] == ["technique", "run", name]
        assert tuple(words[4::2]) == EXAMPLES[name].arguments

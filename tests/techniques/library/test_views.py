"""Every technique's result as a picture, a page and a notebook's piece, with and without torch."""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from glassbox.errors import InvalidValue
from glassbox.techniques.catalogue.built_in import library
from glassbox.techniques.measures.views import View
from tests.techniques.library.test_index import WANTED
from tests.techniques.library.worlds import world

TEXTS = [f"the {letter} is on the list" for letter in "abcdefgh"]
PAIR = {"clean": "the x is on", "corrupted": "the z is on", "answer": " the"}

ARGUMENTS = {
    "activation_patching": PAIR,
    "affine_lens": {"text": "the hill", "fit_texts": TEXTS},
    "attention_patterns": {"text": "the hill\nis"},
    "attribution_patching": PAIR | {"site": "heads"},
    "direct_logit_attribution": {"prompt": "the hill", "answer": " the", "against": " a"},
    "fit_affine_lens": {"texts": TEXTS, "n_steps": 2},
    "induction_scores": {"n_tokens": 6, "n_sequences": 2},
    "logit_lens": {"text": "the hill\n is 日"},
    "make_steering_vector": {"positive": ["a positive one"], "negative": ["no", "none"]},
    "prefill_attack": {"user_prompt": "the", "prefill_text": " is", "max_new_tokens": 3},
    "probe_layers": {"texts": TEXTS, "labels": [0, 1] * 4, "n_folds": 2},
    "residual_norms": {"text": "the hill"},
    "steer": {"prompt": "the", "max_new_tokens": 3},
    "steering_sweep": {"prompt": "the", "target": " a", "max_new_tokens": 3},
    "temperature_sweep": {"prompt": "the", "max_new_tokens": 3},
    "token_surprisal": {"text": "the hill is 日\n"},
}


def all_results(model, tokenizer):
    made = {}
    for name, arguments in ARGUMENTS.items():
        more = {"vector": made["make_steering_vector"]} if "steer" in name[:5] else {}
        made[name] = library()[name].function(model, tokenizer, **arguments, **more)
    return made


@pytest.fixture(scope="module")
def results():
    return all_results(*world("llama"))


def test_every_technique_is_seen(results):
    assert set(results) == WANTED


def test_a_model_as_transformers_loads_it_whose_weights_take_gradients_gives_the_same(results):
    model, tokenizer = world("llama")
    assert not any(each.requires_grad for each in model.parameters())
    model.requires_grad_(True)
    for name, result in all_results(model, tokenizer).items():
        for field, value in vars(result).items():
            if isinstance(value, np.ndarray):
                known = getattr(results[name], field)
                np.testing.assert_allclose(value, known, atol=1e-5, err_msg=f"{name}.{field}")


@pytest.mark.parametrize("name", sorted(WANTED))
def test_a_result_is_plain_values_that_can_be_looked_at(name, results, tmp_path):
    result = results[name]
    view = result.view()
    assert isinstance(view, View)
    with Image.open(view.png(tmp_path / "a.png")) as image:
        assert image.width > 700
    page = view.html(tmp_path / "a.html").read_text(encoding="utf-8")
    assert view._repr_html_() in page
    for value in vars(result).values():
        assert isinstance(value, str | float | int | tuple | bool | np.ndarray | None)


def test_one_heads_pattern_is_a_view_of_its_own(results):
    patterns = results["attention_patterns"]
    view = patterns.view(-1, 2)
    assert view.title == "Attention of layer 1, head 2"
    assert np.isnan(view.panels[0].values[0, 1:]).all()
    with pytest.raises(InvalidValue, match="head is"):
        patterns.view(0, 9)


def test_a_file_of_another_kind_is_refused(results, tmp_path):
    with pytest.raises(InvalidValue, match=r"ends in \.png"):
        results["logit_lens"].view().png(tmp_path / "a.jpg")
    with pytest.raises(InvalidValue, match=r"ends in \.html"):
        results["logit_lens"].view().html(tmp_path / "a.png")


def test_results_are_made_and_seen_where_torch_is_absent():
    code = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "transformers", "peft"):
            raise ImportError(name)
sys.meta_path.insert(0, Absent())
import numpy as np
from glassbox.techniques.catalogue.built_in import library
from glassbox.techniques.library.token_surprisal import TokenSurprisal
assert len(library()) == 16
result = TokenSurprisal(("a", "b"), np.array([np.nan, 1.5]), np.array([np.nan, 1.0]), ("", "c"))
assert "1.50 nats" in result.view()._repr_html_()
assert "matplotlib" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)

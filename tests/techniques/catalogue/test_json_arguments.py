"""Arguments as agents write them: read in the types of the signature, or refused before a run."""

import numpy as np
import pytest

from glassbox.errors import InvalidValue
from glassbox.techniques.catalogue.built_in import library
from glassbox.techniques.catalogue.json_arguments import json_arguments
from glassbox.techniques.library.make_steering_vector import SteeringVector

VECTOR = {"layer": 4, "vector": [1, 2], "state_norm": 3.0, "positive": [1.0], "negative": [-1.0]}


def read(name, **given):
    return json_arguments(library()[name].function, given)


@pytest.mark.parametrize(
    ("name", "given", "meant"),
    [
        ("logit_lens", {"text": "a", "top_k": "3"}, {"text": "a", "top_k": 3}),
        ("logit_lens", {"top_k": 3.0}, {"top_k": 3}),
        ("steer", {"coefficient": 2}, {"coefficient": 2.0}),
        ("fit_affine_lens", {"texts": "one text"}, {"texts": ["one text"]}),
        ("fit_affine_lens", {"texts": '["a", "b"]'}, {"texts": ["a", "b"]}),
        ("fit_affine_lens", {"texts": "[1] is a note"}, {"texts": ["[1] is a note"]}),
        ("probe_layers", {"labels": [True, 0], "layers": 3}, {"labels": [1, 0], "layers": [3]}),
        ("probe_layers", {"labels": np.array([1, 0])}, {"labels": [1, 0]}),
        ("steering_sweep", {"coefficients": "[-1, 0.5]"}, {"coefficients": [-1.0, 0.5]}),
        ("steering_sweep", {"coefficients": "-1, 0.5"}, {"coefficients": [-1.0, 0.5]}),
        ("steering_sweep", {"target": None}, {"target": None}),
        ("residual_norms", {"text": ["a", "b"]}, {"text": ["a", "b"]}),
        ("residual_norms", {"text": "[1]"}, {"text": "[1]"}),
    ],
)
def test_what_was_meant_is_read_however_it_was_written(name, given, meant):
    found = read(name, **given)
    assert found == meant
    assert list(map(type, found.values())) == list(map(type, meant.values()))


@pytest.mark.parametrize(
    ("name", "given", "words"),
    [
        ("logit_lens", {"text": ["a"]}, "text is 'a list'; allowed: one text"),
        ("logit_lens", {"text": None}, "text is None"),
        ("logit_lens", {"top_k": 3.5}, "allowed: a whole number"),
        ("logit_lens", {"top_k": "many"}, "allowed: a whole number"),
        ("logit_lens", {"top_k": float("inf")}, "allowed: a whole number"),
        ("probe_layers", {"labels": ["good"]}, "labels is 'good'; allowed: a whole number"),
        ("probe_layers", {"layers": None}, "Leave it out"),
        ("steer", {"vector": "r3"}, "the whole result of a run, or JSON with layer, vector"),
        ("steer", {"vector": np.zeros(2)}, "vector is 'a tensor'"),
        ("steer", {"vector": {"layer": 4}}, "JSON with layer, vector"),
        ("steer", {"vector": VECTOR | {"vector": [[1], [1, 2]]}}, "vector.vector"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_what_is_allowed(name, given, words):
    with pytest.raises(InvalidValue, match=words):
        read(name, **given)


def test_a_result_is_given_as_its_json_or_as_it_is():
    made = read("steer", vector=VECTOR)["vector"]
    assert isinstance(made, SteeringVector)
    assert made.vector.tolist() == [1, 2]
    assert read("steer", vector=made)["vector"] is made


def test_no_text_opens_a_file(tmp_path):
    (tmp_path / "secret").write_text("secret")
    name = f"@{tmp_path}/secret"
    assert read("logit_lens", text=name) == {"text": name}
    assert read("fit_affine_lens", texts=name) == {"texts": [name]}
    with pytest.raises(InvalidValue, match="the whole result"):
        read("steer", vector=name)


def test_what_a_signature_leaves_open_stays_as_it_is():
    def technique(model, tokenizer, anything, either: int | str, tensor: np.ndarray, **more): ...

    given = {"anything": "3", "either": "3", "tensor": [[1]], "extra": [None]}
    assert json_arguments(technique, given) == given


def test_the_rows_of_a_tensor_stay_tensors_where_they_are_wanted():
    def technique(model, tokenizer, rows: list[np.ndarray], numbers: list[list[float]]): ...

    whole = np.arange(4.0).reshape(2, 2)
    found = json_arguments(technique, {"rows": whole, "numbers": whole})
    assert [type(each) for each in found["rows"]] == [np.ndarray, np.ndarray]
    assert found["numbers"] == [[0.0, 1.0], [2.0, 3.0]]

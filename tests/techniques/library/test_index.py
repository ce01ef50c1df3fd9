"""What the index says of the built-in techniques, and arguments as a command line gives them."""

import dataclasses
import inspect
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from glassbox.charts.chart import plain
from glassbox.errors import InvalidData, InvalidValue, UnknownName
from glassbox.techniques import library as package
from glassbox.techniques.catalogue.built_in import (
    built_in,
    described,
    library,
    parse_arguments,
    spelled,
)
from glassbox.techniques.library.make_steering_vector import SteeringVector, make_steering_vector
from glassbox.techniques.library.steer import steer
from glassbox.techniques.technique import technique
from tests.techniques.library.worlds import world

WANTED = {
    "activation_patching", "affine_lens", "attention_patterns", "attribution_patching",
    "direct_logit_attribution", "fit_affine_lens", "induction_scores", "logit_lens",
    "make_steering_vector", "prefill_attack", "probe_layers", "residual_norms", "steer",
    "steering_sweep", "temperature_sweep", "token_surprisal",
}  # fmt: skip


def test_every_technique_is_there_and_says_what_it_takes_and_gives():
    assert set(library()) == WANTED
    assert list(library()) == sorted(library())
    for name, each in library().items():
        assert each.name == name
        assert each.title, name
        assert each.paper, name
        assert each.doc.endswith("."), name
        assert dataclasses.is_dataclass(inspect.signature(each.function).return_annotation) or (
            each.batch == "text"
        )
        assert each.fields, name
        assert all(field.doc for field in each.fields), name
        assert list(inspect.signature(each.function).parameters)[:2] == ["model", "tokenizer"]
        assert each.shapes.count("\n") == len(each.fields) - 1


@pytest.mark.parametrize("path", sorted(Path(package.__file__).parent.glob("*.py")), ids=str)
def test_a_technique_fits_on_a_page(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 60


def test_shapes_and_types_are_spelled_for_people():
    lens = built_in("library:logit-lens")
    kinds = {field.name: field.type for field in lens.fields}
    assert kinds["top_logprobs"] == "Float[n_layers, n_pos, top_k]"
    assert kinds["tokens"] == "tuple[str, ...]"
    parameters = {each.name: each for each in lens.parameters}
    assert parameters["top_k"].type == "int"
    assert parameters["top_k"].default == 5
    assert not parameters["top_k"].is_required
    assert parameters["text"].is_required
    assert parameters["text"].doc == "Read token by token."
    assert spelled(str | None) == "str | None"
    assert spelled(Sequence[float]) == "Sequence[float]"
    assert spelled(Mapping[str, int]) == "Mapping[str, int]"
    with pytest.raises(UnknownName, match="Did you mean 'logit_lens'"):
        built_in("logit_lense")


def _mine(model, tokenizer, text: str, times: int = 2, *, loud: bool = False, **rest):
    """What it says.

    It says it at length.

    Args:
        text: What is said.
        times: How often,
            at least once.
        loud (bool): Whether loudly.

    Raises:
        KeyError: Never.
    """
    return text, times, loud, rest


def test_a_function_of_ones_own_is_described_too():
    found = described("mine", technique(title="Mine")(_mine))
    assert found.doc == "What it says.\n\nIt says it at length."
    assert [(each.name, each.doc) for each in found.parameters] == [
        ("text", "What is said."), ("times", "How often, at least once."),
        ("loud", "Whether loudly."),
    ]  # fmt: skip
    assert found.fields == ()


def test_arguments_get_the_types_of_the_signature(tmp_path):
    sweep = built_in("temperature_sweep")
    assert parse_arguments(
        sweep, ["prompt=a=b, c", "temperatures=0, 0.5,1", "n-samples=2", "seed=7"]
    ) == {"prompt": "a=b, c", "temperatures": [0.0, 0.5, 1.0], "n_samples": 2, "seed": 7}
    lines = tmp_path / "texts.txt"
    lines.write_text("one, or\u2028two\n\nthree\n", encoding="utf-8")
    found = parse_arguments(
        built_in("probe_layers"),
        [f"texts=@{lines}", "texts=four", "labels=[1, 0, true]", "penalty=3"],
    )
    assert found == {
        "texts": ["one, or\u2028two", "three", "four"], "labels": [1, 0, 1], "penalty": 3.0,
    }  # fmt: skip
    assert parse_arguments(_mine, ["text=a", "loud=yes", "other={\"a\": [1]}", "more=x"]) == {
        "text": "a", "loud": True, "other": {"a": [1]}, "more": "x",
    }  # fmt: skip
    texts = parse_arguments(built_in("token_surprisal"), ["text=one", "text=two"])
    assert texts == {"text": ["one", "two"]}
    assert parse_arguments(built_in("token_surprisal"), ["text=[one"]) == {"text": "[one"}
    attribution = built_in("direct_logit_attribution")
    found = parse_arguments(attribution, ["prompt=a", "answer= b", "against=none"])
    assert found == {"prompt": "a", "answer": " b", "against": None}


def test_the_result_of_one_technique_is_given_to_another_as_its_json(tmp_path):
    model, tokenizer = world("llama")
    vector = make_steering_vector(model, tokenizer, ["a positive one"], ["no"])
    path = tmp_path / "vector.json"
    path.write_text(json.dumps(plain(vector)), encoding="utf-8")
    given = parse_arguments(built_in("steer"), ["prompt=the", f"vector=@{path}", "coefficient=2"])
    assert isinstance(given["vector"], SteeringVector)
    np.testing.assert_array_equal(given["vector"].vector, vector.vector)
    assert steer(model, tokenizer, **given) == steer(model, tokenizer, "the", vector, 2.0)


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        (["text"], InvalidValue, "argument is 'text'; allowed: name=value"),
        (["text=a", "top_k=many"], InvalidValue, "top_k is 'many'; allowed: a whole number"),
        (["text=a", "top=3"], UnknownName, "Did you mean 'top_k'"),
        (["top_k=3"], InvalidValue, "text as well"),
        (["text=a", "text=b"], InvalidValue, "given once"),
        (["text=@nowhere.txt"], InvalidData, "could not be read from a file"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(given, error, message):
    with pytest.raises(error, match=message):
        parse_arguments(built_in("logit_lens"), given)


def test_values_that_do_not_fit_are_refused():
    with pytest.raises(InvalidValue, match="a number"):
        parse_arguments(built_in("temperature_sweep"), ["prompt=a", "temperatures=1,x"])
    with pytest.raises(InvalidValue, match="true or false"):
        parse_arguments(_mine, ["text=a", "loud=maybe"])
    with pytest.raises(InvalidValue, match="JSON"):
        parse_arguments(built_in("probe_layers"), ["texts=[1", "labels=1"])
    with pytest.raises(InvalidValue, match="JSON with layer, vector"):
        parse_arguments(built_in("steer"), ["prompt=a", "vector={}"])

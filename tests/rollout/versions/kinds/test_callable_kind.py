"""Functions as versions: found by import path or file, whatever they return or raise."""

import sys
from pathlib import Path

import numpy as np
import pytest

from glassbox.errors import (
    CorruptArtifact,
    IntegrityError,
    InvalidValue,
    NonFiniteOutput,
    QueueFull,
    UnknownName,
)
from glassbox.rollout.prediction import Prediction
from glassbox.rollout.versions.input_schema import FeatureRule, InputSchema
from glassbox.rollout.versions.kinds.callable_kind import (
    CallablePredictor,
    answer_of,
    file_function,
    import_function,
    loaded_function,
)


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "priced.py"
    path.write_text("limit = 3\ndef price(row):\n    return 2.0 * row['rooms']\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "priced", raising=False)
    return path


def test_a_function_answers_by_import_path_and_by_file(module: Path) -> None:
    function, digest = import_function("priced:price")
    assert CallablePredictor(function).predict([{"rooms": 3}])[0] == Prediction(6.0)
    assert CallablePredictor(file_function(module, "price")).predict([{"rooms": 1}]) == [
        Prediction(2.0)
    ]
    assert loaded_function("priced:price", digest) is function
    assert import_function("priced:price")[1] == digest


def test_a_changed_file_is_another_version(module: Path) -> None:
    _, digest = import_function("priced:price")
    module.write_text(module.read_text().replace("2.0", "3.0"))
    with pytest.raises(
        CorruptArtifact, match=r"changed since it was registered.*register it again"
    ):
        loaded_function("priced:price", digest)


@pytest.mark.parametrize(
    ("source", "error", "message"),
    [
        ("nowhere.at.all:f", UnknownName, "No module 'nowhere.at.all'"),
        ("priced:prize", UnknownName, "Did you mean 'price'"),
        ("priced:limit", InvalidValue, "something that can be called"),
        ("priced", InvalidValue, "MODULE:FUNCTION"),
        (":price", InvalidValue, "MODULE:FUNCTION"),
        ("priced:a.b", InvalidValue, "MODULE:FUNCTION"),
    ],
)
def test_what_is_not_there_is_named(
    module: Path, source: str, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        import_function(source)


def test_a_module_that_cannot_be_imported_is_an_error_of_ours(module: Path) -> None:
    module.write_text("raise RuntimeError('no licence')")
    with pytest.raises(InvalidValue, match="module is 'priced'"):
        import_function("priced:price")
    with pytest.raises(InvalidValue, match="RuntimeError: no licence"):
        file_function(module, "price")


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (2, Prediction(2.0)),
        (np.float32(0.5), Prediction(0.5)),
        (np.array(0.25), Prediction(0.25)),
        ({"prediction": 3}, Prediction(3.0)),
        ({"prediction": 0.7, "confidence": 0.9}, Prediction(0.7, 0.9)),
        (
            {"label_probs": {"no": 0.25, "yes": 0.75}},
            Prediction(0.25, 0.75, "yes", {"no": 0.25, "yes": 0.75}),
        ),
        ({"prediction": 1.0, "summaries": {"n": 2}}, Prediction(1.0, summaries={"n": 2.0})),
        (Prediction(4.0), Prediction(4.0)),
    ],
)
def test_what_a_function_may_return(told: object, expected: Prediction) -> None:
    assert answer_of(told) == expected


@pytest.mark.parametrize(
    ("told", "error", "message"),
    [
        (None, IntegrityError, "allowed: a number; or"),
        ("0.5", IntegrityError, "allowed: a number"),
        (True, IntegrityError, "'True'"),
        ([1.0], IntegrityError, "allowed"),
        ({}, IntegrityError, "allowed"),
        ({"score": 1.0}, IntegrityError, "allowed"),
        ({"confidence": 1.0}, IntegrityError, "prediction 'None'"),
        ({"prediction": 1.0, "confidence": 1.5}, IntegrityError, "a fraction in"),
        ({"label_probs": {"a": 0.9, "b": 0.2}}, IntegrityError, "sum to 1"),
        ({"label_probs": {"a": 1.2, "b": -0.2}}, IntegrityError, "sum to 1"),
        ({"label_probs": [0.5, 0.5]}, IntegrityError, "label: probability"),
        (float("nan"), NonFiniteOutput, "nan"),
        ({"label_probs": {"a": float("inf")}}, NonFiniteOutput, "inf"),
    ],
)
def test_what_it_may_not_return(told: object, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        answer_of(told)


def test_what_a_function_raises_is_an_error_of_ours() -> None:
    def fail(_row: object) -> float:
        raise KeyError("rooms")

    def refuse(_row: object) -> float:
        raise QueueFull(3, 1.0)

    with pytest.raises(IntegrityError, match="fail raised KeyError: 'rooms'"):
        CallablePredictor(fail).predict([{}])
    with pytest.raises(QueueFull, match="3 requests"):
        CallablePredictor(refuse).predict([{}])


def test_features_are_checked_before_the_function_sees_them() -> None:
    seen: list[object] = []
    predictor = CallablePredictor(
        lambda row: seen.append(row) or 1.0, InputSchema((FeatureRule("rooms"),))
    )
    with pytest.raises(UnknownName, match="No feature 'doors'"):
        predictor.predict([{"rooms": 1, "doors": 2}])
    with pytest.raises(InvalidValue, match="finite"):
        CallablePredictor(lambda row: seen.append(row) or 1.0).predict([{"rooms": float("nan")}])
    assert seen == []


def test_a_functions_own_close_is_called() -> None:
    class Held:
        closed = False

        def __call__(self, row: object) -> float:
            return 1.0

        def close(self) -> None:
            self.closed = True

    held = Held()
    CallablePredictor(held).close()
    assert held.closed

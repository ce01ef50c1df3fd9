"""scikit-learn models through skops: the same answers as the model itself, nothing unpickled."""

import json
import pickle
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import skops.io
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.ensemble import GradientBoostingClassifier, RandomForestRegressor
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
from sklearn.svm import LinearSVC

from glassbox.errors import (
    CorruptArtifact,
    IntegrityError,
    InvalidData,
    InvalidValue,
    NonFiniteOutput,
    UnknownName,
)
from glassbox.rollout.versions.input_schema import FeatureRule, InputSchema
from glassbox.rollout.versions.kinds.sklearn_kind import (
    SklearnPredictor,
    check_model,
    guessed_schema,
    load_skops,
    schema_for,
)


def saved(model: object, tmp_path: Path) -> Path:
    path = tmp_path / "model.skops"
    skops.io.dump(model, path)
    return path


def test_a_classifier_answers_as_the_model_does(tmp_path: Path) -> None:
    data, labels = load_iris(return_X_y=True)
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(data, labels)
    loaded = load_skops(saved(model, tmp_path))
    predictor = SklearnPredictor(loaded, guessed_schema(loaded))
    rows = [{f"x{place}": float(each) for place, each in enumerate(row)} for row in data]
    answers = predictor.predict(rows)
    told = np.array([list(each.label_probs.values()) for each in answers])
    np.testing.assert_array_equal(told, model.predict_proba(data))
    assert [each.label for each in answers] == [str(each) for each in model.predict(data)]
    assert predictor.labels == ["0", "1", "2"]
    assert all(each.prediction == each.label_probs["0"] for each in answers)
    assert all(each.confidence == max(each.label_probs.values()) for each in answers)
    assert predictor.predict([]) == []
    predictor.close()


def test_a_regression_on_named_columns_answers_with_a_number(tmp_path: Path) -> None:
    data, target = load_diabetes(return_X_y=True, as_frame=True)
    model = RandomForestRegressor(n_estimators=5, random_state=0).fit(data, target)
    path = saved(model, tmp_path)
    with pytest.raises(InvalidData, match=r"not trust: sklearn\.tree\._tree\.Tree\. Look"):
        load_skops(path)
    loaded = load_skops(path, ["sklearn.tree._tree.Tree"])
    schema = guessed_schema(loaded)
    assert schema.names == tuple(data.columns)
    rows = [dict(reversed(row.items())) for row in data.head(20).to_dict("records")]
    answers = SklearnPredictor(loaded, schema).predict(rows)
    assert [each.prediction for each in answers] == pytest.approx(model.predict(data.head(20)))
    assert {(each.label, each.confidence, each.label_probs) for each in answers} == {
        (None, None, None)
    }


def test_categories_go_through_a_given_schema(tmp_path: Path) -> None:
    frame = pd.DataFrame({"job": ["cook", "clerk"] * 20, "age": np.arange(40.0)})
    model = make_pipeline(
        make_column_transformer((OneHotEncoder(), ["job"]), remainder="passthrough"),
        LogisticRegression(),
    ).fit(frame, ["no", "yes"] * 20)
    given = {
        "features": [
            {"name": "job", "type": "category", "values": ["cook", "clerk"]},
            {"name": "age", "low": 0, "high": 120},
        ]
    }
    loaded = load_skops(saved(model, tmp_path))
    predictor = SklearnPredictor(loaded, schema_for(loaded, given))
    answer = predictor.predict([{"job": "clerk", "age": 3}])[0]
    assert answer.label == "yes"
    expected = model.predict_proba(pd.DataFrame({"job": ["clerk"], "age": [3]}))[0]
    assert list(answer.label_probs.values()) == pytest.approx(expected.tolist())
    with pytest.raises(InvalidValue, match="'job' is 'pilot'"):
        predictor.predict([{"job": "pilot", "age": 3}])
    with pytest.raises(UnknownName, match="No feature 'wage'"):
        predictor.predict([{"job": "cook", "age": 3, "wage": 1}])


def test_a_schema_must_fit_the_model() -> None:
    data, labels = load_breast_cancer(return_X_y=True, as_frame=True)
    model = GradientBoostingClassifier(n_estimators=2).fit(data, labels)
    with pytest.raises(InvalidData, match=r"fitted on mean radius, .*, in this order"):
        schema_for(model, {"features": [{"name": "radius"}]})
    unnamed = LogisticRegression().fit([[0.0, 1.0], [1.0, 0.0]], [0, 1])
    with pytest.raises(InvalidData, match="names 1 features; the model takes 2"):
        schema_for(unnamed, {"features": [{"name": "a"}]})
    assert guessed_schema(unnamed).names == ("x0", "x1")
    with pytest.raises(InvalidData, match=r"Is it fitted\?"):
        guessed_schema(LogisticRegression())


def test_what_cannot_tell_probabilities_is_refused() -> None:
    with pytest.raises(InvalidData, match=r"LinearSVC tells classes .*CalibratedClassifierCV"):
        check_model(LinearSVC().fit([[0.0], [1.0]], [0, 1]))
    with pytest.raises(InvalidData, match="StandardScaler has no predict"):
        check_model(StandardScaler())


def own_step(values: object) -> object:
    return values


def test_types_that_nobody_trusts_are_named_and_not_made(tmp_path: Path) -> None:
    model = make_pipeline(FunctionTransformer(own_step), LogisticRegression())
    path = saved(model.fit([[0.0], [1.0]], [0, 1]), tmp_path)
    with pytest.raises(InvalidData, match=r"not trust: .*own_step.*--trust TYPE"):
        load_skops(path)
    trusted = load_skops(path, [f"{own_step.__module__}.own_step"])
    assert trusted.predict([[0.0]]) == [0]


@pytest.mark.parametrize("damage", ["pickle", "empty", "cut", "flipped", "not a zip"])
def test_damaged_files_and_pickles_are_refused(tmp_path: Path, damage: str) -> None:
    path = saved(LogisticRegression().fit([[0.0], [1.0]], [0, 1]), tmp_path)
    content = bytearray(path.read_bytes())
    if damage == "flipped":
        place = content.find(b"schema.json") + 60
        content[place] ^= 255
    path.write_bytes(
        {
            "pickle": pickle.dumps(LogisticRegression()),
            "empty": b"",
            "cut": bytes(content[: len(content) // 2]),
            "flipped": bytes(content),
            "not a zip": json.dumps({"a": 1}).encode(),
        }[damage]
    )
    with pytest.raises(CorruptArtifact, match=r"model\.skops: (not a skops file|it cannot be)"):
        load_skops(path)


class Broken:
    n_features_in_ = 1

    def __init__(self, told: object) -> None:
        self.told = told

    def predict(self, _table: object) -> object:
        if isinstance(self.told, Exception):
            raise self.told
        return self.told


@pytest.mark.parametrize(
    ("told", "error", "message"),
    [
        (ValueError("bad"), IntegrityError, "Broken raised ValueError: bad"),
        ([float("nan")], NonFiniteOutput, "NaN"),
        ([1.0, 2.0], IntegrityError, "to 1 rows"),
        (["text"], IntegrityError, "Broken raised ValueError"),
    ],
)
def test_a_broken_model_is_an_error_of_ours(
    told: object, error: type[Exception], message: str
) -> None:
    predictor = SklearnPredictor(Broken(told), InputSchema((FeatureRule("a"),)))
    with pytest.raises(error, match=message):
        predictor.predict([{"a": 1}])


def test_real_houses_are_priced_as_by_the_model(data_dir: Path, tmp_path: Path) -> None:
    folder = data_dir / "drift" / "california-housing-nannyml"
    files = sorted(folder.rglob("*.csv")) + sorted(folder.rglob("*.parquet"))
    if not files:
        pytest.skip(f"no table in {folder}")
    frame = pd.read_csv(files[0]) if files[0].suffix == ".csv" else pd.read_parquet(files[0])
    numbers = frame.select_dtypes("number").dropna(axis=1).head(2000)
    names = [str(each) for each in numbers.columns][:6]
    target = numbers[numbers.columns[-1]] > numbers[numbers.columns[-1]].median()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = make_pipeline(StandardScaler(), LogisticRegression()).fit(numbers[names], target)
    loaded = load_skops(saved(model, tmp_path))
    answers = SklearnPredictor(loaded, guessed_schema(loaded)).predict(
        numbers[names].head(50).to_dict("records")
    )
    expected = model.predict_proba(numbers[names].head(50))
    np.testing.assert_allclose([each.prediction for each in answers], expected[:, 0], rtol=1e-12)

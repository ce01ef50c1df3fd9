"""Data sets of the Hugging Face hub."""

import sys
import types

import pytest

from glassbox.confidence.data.labelled import read_texts
from glassbox.errors import DependencyMissing, InvalidData, UnknownName
from tests.confidence.data.pairs import pairs


def test_hub_without_the_library(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(DependencyMissing, match=r"glassbox-llm\[hub\]"):
        read_texts("someone/reviews")


class FakeTable(list):
    features: dict
    column_names: list


def fake_hub(monkeypatch, tables=None, error=None):
    class ClassLabel:
        names = ("neg", "pos")

    def load_dataset(name, configuration):
        if error is not None:
            raise error
        calls.append((name, configuration))
        return tables

    calls = []
    for table in (tables or {}).values():
        table.features = {"text": object(), "label": ClassLabel()}
        table.column_names = ["text", "label"]
    module = types.SimpleNamespace(load_dataset=load_dataset, ClassLabel=ClassLabel)
    monkeypatch.setitem(sys.modules, "datasets", module)
    return calls


def test_hub(monkeypatch):
    rows = FakeTable([{"text": "one", "label": 1}, {"text": "two", "label": 0}])
    more = FakeTable([{"text": "three", "label": -1}])
    calls = fake_hub(monkeypatch, {"train": rows, "test": more})
    data = read_texts("someone/reviews:small")
    assert pairs(data) == [("one", "pos"), ("two", "neg")]
    assert "hub data set someone/reviews, small, split train" in data.format
    assert calls == [("someone/reviews", "small")]
    with pytest.raises(InvalidData, match=r"line 1: column 'label' holds no label"):
        read_texts("someone/reviews:small:test", data_format="hub")
    with pytest.raises(UnknownName, match=r"No split 'dev'. Known: test, train"):
        read_texts("someone/reviews:small:dev")


def test_hub_that_cannot_be_reached(monkeypatch):
    fake_hub(monkeypatch, error=ConnectionError("no route\nto the hub"))
    with pytest.raises(
        UnknownName, match=r"No data set 'someone/reviews'.*\(ConnectionError: no route\)"
    ):
        read_texts("someone/reviews")

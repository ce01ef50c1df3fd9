import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glassbox.confidence.labels import (
    LabelSet,
    default_instruction,
    default_labels,
    load_labels,
    split_template,
)
from glassbox.errors import CorruptArtifact, InvalidLabels, InvalidSetting, UnknownName


def write(folder: Path, content: str) -> Path:
    path = folder / "labels.toml"
    path.write_text(content, encoding="utf-8")
    return path


def test_default_labels_are_those_the_embedded_model_was_trained_with():
    labels = default_labels(["positive", "negative", "positive"])
    assert labels.classes == ("negative", "positive")
    assert labels.instruction == "Label the text as negative or positive."
    assert labels.template == "{instruction}\nText: {text}\nLabel:"
    assert labels.verbalisers[1] == (" positive", "positive", " Positive", "Positive")
    assert labels.chat is None


def test_default_instruction_lists_more_than_two():
    assert default_instruction({"b", "c", "a"}) == "Label the text as a, b or c."
    assert default_instruction("dbca") == "Label the text as a, b, c or d."


def test_defaults_of_numbers_have_no_capital_twin():
    assert default_labels(["0", "1"]).verbalisers == ((" 0", "0"), (" 1", "1"))


@pytest.mark.parametrize("names", [[], ["only"], ["same", "same"], ["a", " "]])
def test_too_few_classes(names):
    with pytest.raises(InvalidLabels, match=r"two different classes|empty"):
        default_labels(names)


def test_classes_that_differ_in_case_only_are_refused():
    merged = r"\[classes.'positive'\] with values = \['Positive'\]"
    with pytest.raises(InvalidLabels, match=f"differ in a capital alone.*{merged}"):
        default_labels(["positive", "Positive"])


def test_file_with_everything(tmp_path):
    path = write(
        tmp_path,
        """
        instruction = "Sport or work?"
        template = "Q: {instruction} {text}\\nA:"
        chat_message = "{text}\\n{instruction}"
        chat = false
        chat_prefill = 'So:'
        order = ["work", "sport"]

        [classes.sport]
        values = [1, "sports", 2.0]
        verbalisers = [" sport", " football", " sport"]

        [classes.work]
        values = ["0"]
        """,
    )
    labels = load_labels(path)
    assert labels.classes == ("work", "sport")
    assert labels.verbalisers == ((" work", "work", " Work", "Work"), (" sport", " football"))
    assert labels.values == (("0",), ("1", "sports", "2"))
    assert labels.chat is False
    assert labels.chat_prefill == "So:"
    assert LabelSet.from_json(labels.to_json()) == labels
    assert labels.instruction == "Sport or work?"
    assert [labels.class_of(each) for each in ("1", "sports", "2", "0", "work")] == [
        "sport", "sport", "sport", "work", "work",
    ]  # fmt: skip
    assert labels.index("sport") == 1
    with pytest.raises(
        UnknownName, match=r"No label 'spord'.*Did you mean 'sport'.*file x, line 3"
    ):
        labels.class_of("spord", where="file x, line 3")
    with pytest.raises(UnknownName, match="No label 'play'"):
        labels.index("play")


def test_file_defaults_sort_the_classes(tmp_path):
    labels = load_labels(write(tmp_path, "[classes.b]\n[classes.a]\n"))
    assert labels == default_labels(["a", "b"])


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        (
            "instructions = 'x'\n[classes.a]\n[classes.b]",
            InvalidSetting,
            "Did you mean 'instruction'",
        ),
        (
            "[classes.a]\nverbalizers = ['x']\n[classes.b]",
            InvalidSetting,
            "Did you mean 'verbalisers'",
        ),
        (
            "[labels.a]\n[labels.b]",
            InvalidSetting,
            "'labels' is not a known setting. Known: classes, instruction, template,",
        ),
        ("[classes.a]\nverbalisers = 'x'\n[classes.b]", InvalidSetting, "classes.a.verbalisers"),
        ("chat = 'yes'\n[classes.a]\n[classes.b]", InvalidSetting, "'chat' cannot be used"),
        ("instruction = 'x'", InvalidSetting, "'classes' cannot be used"),
        ("[classes.a]\n", InvalidLabels, r"names the classes \['a'\]; at least two .* every class"),
        ("[classes.a", InvalidLabels, "not valid TOML"),
        (f"order = {'9' * 5000}", InvalidLabels, "not valid TOML"),
        (f"order = {'[' * 5000}", InvalidLabels, "not valid TOML"),
        ("order = ['a']\n[classes.a]\n[classes.b]", InvalidLabels, "every class once"),
        ("order = ['a', 'c']\n[classes.a]\n[classes.b]", UnknownName, "No class 'c'"),
        ("[classes.a]\nverbalisers = []\n[classes.b]", InvalidLabels, "'a' has no verbaliser"),
        ("[classes.a]\nverbalisers = [' ']\n[classes.b]", InvalidLabels, "'a' has an empty"),
        (
            "[classes.a]\nvalues = [1]\n[classes.b]\nvalues = ['1']",
            InvalidLabels,
            "value '1' belongs",
        ),
        ("[classes.a]\nvalues = ['b']\n[classes.b]", InvalidLabels, "value 'b' belongs to both"),
        ("template = '{test}:'\n[classes.a]\n[classes.b]", UnknownName, "Did you mean 'text'"),
        ("template = 'A:'\n[classes.a]\n[classes.b]", InvalidLabels, "exactly once.*0 times"),
        ("template = '{text} A: '\n[classes.a]\n[classes.b]", InvalidLabels, "ends in a space"),
    ],
)
def test_files_that_cannot_be_used(tmp_path, content, error, message):
    with pytest.raises(error, match=message):
        load_labels(write(tmp_path, content))


def test_no_file(tmp_path):
    with pytest.raises(UnknownName, match=r"labels file .*labels\.toml"):
        load_labels(tmp_path / "labels.toml")
    path = tmp_path / "latin.toml"
    path.write_bytes(b"instruction = '\xe9'")
    with pytest.raises(InvalidLabels, match="not valid TOML"):
        load_labels(path)


names = st.lists(st.text("abcdef", min_size=1, max_size=5), min_size=2, max_size=5, unique=True)


@given(names)
def test_json_round_trip(classes):
    labels = default_labels(classes)
    again = LabelSet.from_json(json.loads(json.dumps(labels.to_json())))
    assert again == labels
    assert again.digest == labels.digest


def test_digest_counts_what_the_model_sees_and_nothing_else(tmp_path):
    plain = default_labels(["a", "b"])
    mapped = load_labels(write(tmp_path, "[classes.a]\nvalues = [1]\n[classes.b]\nvalues = [0]"))
    worded = load_labels(write(tmp_path, "instruction = 'x'\n[classes.a]\n[classes.b]"))
    assert plain.digest == mapped.digest != worded.digest


@pytest.mark.parametrize("change", [{"classes": None}, {"extra": 1}, {"verbalisers": 3}])
def test_damaged_json(change):
    content = {**default_labels(["a", "b"]).to_json(), **change}
    with pytest.raises(CorruptArtifact, match="not a label set"):
        LabelSet.from_json(content)


@given(st.text(), st.text())
def test_instruction_is_never_read_as_a_template(before, instruction):
    before = before.replace("{", "")
    sides = split_template(before + "{instruction}{text}!{x:y}{}", instruction)
    assert sides == (before + instruction, "!{x:y}{}")

"""Improbable things are added up in one line, nothing is lost; a stopped stream goes on."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glassbox.cli import main as shell
from glassbox.cli.confidence.ask import _decision, _n_shown, _show, _show_tokens, _together
from glassbox.confidence.asking.classify import Classification
from glassbox.confidence.asking.explain import (
    ClassSum,
    Explanation,
    NextTokens,
    TokenProb,
    VerbaliserProb,
)
from glassbox.errors import InvalidData
from glassbox.runtime import Runtime


def tokens(*probs: float) -> NextTokens:
    found = tuple(
        TokenProb(rank, f" word{rank}", rank, float(np.log(each)))
        for rank, each in enumerate(probs, start=1)
    )
    return NextTokens("The soup was", found, 1.0)


def test_a_file_that_cannot_be_read_is_refused_before_a_model_is_loaded(
    tmp_path, monkeypatch, capsys
):
    def load(self, run):
        raise AssertionError("the model was loaded")

    monkeypatch.setattr(Runtime, "labeller", load)
    table = tmp_path / "mail.csv"
    table.write_text("topic,remark\nHello,The soup was cold.\n")
    assert shell.main(["classify", "--file", str(table)]) == 2
    assert "No text column 'text'. Known: topic, remark" in capsys.readouterr().err


def test_logprobs_takes_a_text_as_classify_does(monkeypatch, capsys):
    asked: list[str] = []

    def load(self, run, model=None):
        return None

    def answer(labeller, text, *, top_k):
        asked.append(text)
        raise InvalidData("asked")

    monkeypatch.setattr(Runtime, "labeller", load)
    monkeypatch.setattr("glassbox.confidence.asking.explain.explain", answer)
    assert shell.main(["logprobs", "  The soup was cold. \n"]) == 2
    assert asked == ["The soup was cold."]
    for text, message in (("", "the text is empty"), (" \n", "is empty"), ("a\0b", "zero byte")):
        assert shell.main(["logprobs", text]) == 2
        assert message in capsys.readouterr().err
    assert len(asked) == 1


@given(st.lists(st.floats(0, 1), max_size=12).map(lambda each: sorted(each, reverse=True)))
def test_every_probability_is_shown_or_counted(probs):
    shown = _n_shown(probs, 2)
    rest = probs[shown:]
    assert len(rest) != 1
    assert all(round(100 * each, 2) == 0 for each in rest)
    assert [row[0] for row in _together(rest, 2)] == [f"{len(rest)} others, together"] * bool(rest)


@pytest.mark.parametrize(
    ("probs", "shown"),
    [([4e-5, 4e-5], "under 0.01 %"), ([1e-9] * 3, "under 0.01 %"), ([4e-5] * 4, "0.02 %")],
)
def test_the_sum_is_never_shown_as_nothing(probs, shown):
    assert _together(probs, 2)[0][-1] == shown


def test_improbable_tokens_are_one_line(capsys):
    _show_tokens(tokens(0.6, 0.3, 1e-6, 1e-7, 1e-8))
    printed = capsys.readouterr().out
    assert "3 others, together" in printed
    assert "' word2'" in printed
    assert "' word3'" not in printed
    assert " 0.00 %" not in printed


def test_a_single_improbable_token_keeps_its_name(capsys):
    _show_tokens(tokens(0.6, 0.3, 1e-6))
    assert "' word3'" in capsys.readouterr().out


def explained(confidence: float, threshold: float) -> Explanation:
    said = [VerbaliserProb("good", f" good{i}", 1, float(np.log(0.5) - 30 * i)) for i in range(4)]
    probs = {"good": confidence, "bad": 1 - confidence}
    return Explanation(
        text="The soup",
        next_tokens=tokens(0.6),
        verbalisers=tuple(said),
        classes=(ClassSum("good", 0.5, 0.9, 0.9), ClassSum("bad", 0.05, 0.1, 0.1)),
        label_mass=0.55,
        answer=Classification("good", confidence, probs, 0.9, 0.55, confidence >= threshold),
        threshold=threshold,
    )


@pytest.mark.parametrize(
    ("confidence", "threshold", "decision"),
    [
        (0.9, 0.8, "confidence 90.0 %. That reaches this run's threshold of 80.0 %"),
        (0.99961, 0.99982, "confidence 99.96 %. That is below this run's threshold of 99.98 %"),
        (0.8521, 0.8523, "confidence 85.21 %. That is below this run's threshold of 85.23 %"),
        (1.0, 0.99982, "confidence 100.00 %. That reaches this run's threshold of 99.98 %"),
    ],
)
def test_what_decides_can_be_seen(confidence, threshold, decision):
    assert decision in _decision(explained(confidence, threshold))


def test_improbable_ways_of_saying_a_class_are_one_line(capsys):
    _show(explained(0.9, 0.8))
    printed = capsys.readouterr().out
    assert "3 others, together" in printed
    assert "under 0.001 %" in printed


def test_a_stream_that_was_stopped_goes_on_where_it_ended(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    inbox = tmp_path / "inbox.csv"
    inbox.write_text('text\nA gem.\n"Two\nlines."\nSo dull.\nFine.\n', encoding="utf-8")
    words = ["classify", "--run", "shipped", "--file", str(inbox)]
    assert shell.main(words) == 0
    whole = _answers(capsys)
    assert [line for line, _, _ in whole] == [2, 3, 5, 6]
    for done in (1, 3, 4, 9):
        assert shell.main([*words, "--skip", str(done)]) == 0
        assert _answers(capsys) == whole[done:]


@pytest.mark.parametrize("content", ["", "text,label\n"])
def test_a_file_without_a_text_is_told(
    content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    inbox = tmp_path / "inbox.csv"
    inbox.write_text(content, encoding="utf-8")
    assert shell.main(["classify", "--run", "shipped", "--file", str(inbox)]) == 0
    out, err = capsys.readouterr()
    assert out == ""
    assert err.endswith("There was no text to label.\n")


def _answers(capsys: pytest.CaptureFixture[str]) -> list[tuple[int, str, float]]:
    """Return line, text and confidence; a batch's make-up moves the last digits of the latter."""
    rows = [json.loads(each) for each in capsys.readouterr().out.splitlines()]
    return [(row["line"], row["text"], round(row["confidence"], 3)) for row in rows]

import json

import pytest

from glassbox.errors import InvalidData, NotEnoughData, UnknownName
from glassbox.pathways.experiment.prompts import choose_pairs, prompts_path, read_pairs
from tests.pathways.experiment.worlds import write_pairs

GOOD = {"prompt": "a", "kind": "safe", "pair": 1}


def test_the_embedded_prompts_are_pairs():
    pairs = read_pairs(prompts_path("tiny"))
    assert len(pairs) == 240
    assert all(each.safe != each.risky for each in pairs)


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        ([GOOD, GOOD], "line 2: pair '1' has a second safe prompt"),
        ([GOOD], "pair '1' has no risky prompt"),
        ([GOOD, GOOD | {"kind": "risky"}], "both prompts of pair '1' are the same"),
        ([GOOD | {"kind": "brave"}], "line 1: 'kind' is 'brave'"),
        ([GOOD | {"prompt": ""}], "'prompt' is no text"),
        ([{"prompt": "a", "kind": "safe"}], "'pair' is no number or name"),
        ([GOOD | {"pair": True}], "'pair' is no number or name"),
        ([["prompt"]], "a JSON object is expected"),
        ([], "no prompts"),
    ],
)
def test_prompts_that_are_no_pairs_are_refused_with_their_line(tmp_path, rows, problem):
    path = tmp_path / "prompts.jsonl"
    path.write_text("".join(json.dumps(each) + "\n" for each in rows), encoding="utf-8")
    with pytest.raises(InvalidData, match=problem):
        read_pairs(path)


def test_broken_json_and_a_missing_file_are_named(tmp_path):
    path = tmp_path / "prompts.jsonl"
    path.write_text('{"prompt": "a"\n', encoding="utf-8")
    with pytest.raises(InvalidData, match="line 1: no JSON"):
        read_pairs(path)
    with pytest.raises(UnknownName, match="file of prompts"):
        read_pairs(tmp_path / "absent.jsonl")


def test_chosen_and_other_pairs_are_all_pairs_once_and_the_seed_decides(tmp_path):
    pairs = read_pairs(write_pairs(tmp_path / "p.jsonl", 9))
    chosen, others = choose_pairs(pairs, 4, seed=3)
    assert len(chosen) == 4
    assert sorted(each.pair for each in (*chosen, *others)) == sorted(e.pair for e in pairs)
    assert choose_pairs(pairs, 4, seed=3) == (chosen, others)
    assert choose_pairs(pairs, 4, seed=4)[0] != chosen
    with pytest.raises(NotEnoughData, match="at least 10 pairs; there are 9"):
        choose_pairs(pairs, 10, seed=0)

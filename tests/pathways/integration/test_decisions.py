import pytest

from glassbox.errors import InvalidData
from glassbox.pathways.integration.decisions import (
    LoggedPrompt,
    answer_tokens,
    read_decisions,
    spread,
)
from glassbox.pathways.study.log_records import LogRecord
from glassbox.stats.intervals import wilson


def record(feature, condition, trial, decision, prompt=None):
    text = f"{condition.split('_')[0]} prompt {trial % 3}" if prompt is None else prompt
    return LogRecord(feature, condition, "stop", text, trial, decision, "a.json", 0)


def test_rates_are_shares_of_readable_decisions_with_wilsons_interval():
    records = [
        record("L1-2", "safe_baseline", n, "stop" if n < 7 else "continue") for n in range(9)
    ]
    records += [record("L1-2", "safe_baseline", 9, None), record("L1-2", "risky_baseline", 0, None)]
    found = read_decisions(records)
    safe, risky = found.rates["L1-2"]
    assert (safe.condition, safe.n_trials, safe.n_stop) == ("safe_baseline", 9, 7)
    assert (safe.low, safe.high) == pytest.approx([float(each) for each in wilson(7, 9)])
    assert (risky.n_trials, risky.stop_share) == (0, None)
    assert found.n_unread == 2


def test_prompts_are_paired_by_trial_and_each_pair_is_kept_once():
    conditions = ("safe_baseline", "risky_baseline", "safe_amplification")
    records = [
        record(feature, condition, trial, "stop")
        for feature in ("L1-2", "L3-4")
        for trial in range(7)
        for condition in conditions
    ]
    found = read_decisions([*records, record("L1-2", "safe_baseline", 99, "stop", "alone")]).prompts
    assert [each.text for each in found] == [
        *(f"safe prompt {n}" for n in range(3)), *(f"risky prompt {n}" for n in range(3)),
    ]  # fmt: skip
    assert [each.pair for each in found] == [0, 1, 2, 0, 1, 2]


def test_a_few_pairs_are_spread_over_all():
    prompts = [
        LoggedPrompt(f"{kind} {n}", kind, n) for kind in ("safe", "risky") for n in range(11)
    ]
    assert [each.pair for each in spread(prompts, 3)] == [0, 5, 10, 0, 5, 10]
    assert spread(prompts, 99) == tuple(prompts)


class Letters:
    """Every character is its own token."""

    def encode(self, texts, *, special=True):
        return [(0, *map(ord, text)) for text in texts]


class Words:
    """Every word is its own token."""

    def encode(self, texts, *, special=True):
        return [(0, *(sum(map(ord, word)) for word in text.split(" "))) for text in texts]


def test_the_answers_tokens_are_the_first_that_differ():
    stop, go_on = answer_tokens(Words(), "Decision:")
    assert stop == sum(map(ord, "stop"))
    assert go_on == sum(map(ord, "continue"))


def test_answers_that_begin_with_the_same_token_cannot_be_told_apart():
    with pytest.raises(InvalidData, match="do not begin with different tokens"):
        answer_tokens(Letters(), "Decision:")

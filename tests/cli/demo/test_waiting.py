"""What a demo says while it waits: what for, and not the same again and again."""

import os
import re

import pytest

from glassbox.cli.demo import waiting
from glassbox.cli.demo.waiting import AGAIN_S, TELL_S, Teller, waited_for
from glassbox.wire.inference import Component, InferenceHealth
from glassbox.wire.rollouts import DecisionAnswered, GateAnswered, RolloutStatus


class Clock:
    def __init__(self):
        self.now_s = 0.0

    def __call__(self):
        return self.now_s


def status(*gates):
    return RolloutStatus(
        id="r",
        model="default",
        champion="base",
        challenger="tuned_v1",
        phase="Waiting",
        paused=False,
        weight=0.0,
        dry_run=False,
        started_s=0.0,
        updated_s=0.0,
        plan={},
        gates=list(gates),
        decision=DecisionAnswered(verdict="wait", reason="All gates pass, 1 of 2 looks in a row."),
        transitions=[],
        evidence_series=[],
    )


def gate(verdict, n):
    return GateAnswered(
        name="difference", value=None, low=None, high=None, limit=0.1, verdict=verdict, n=n,
        needed=200,
    )  # fmt: skip


def health(state=None, last_error=None):
    lanes = {"tuned_v1": {"state": state, "last_error": last_error}} if state else {}
    shadow = Component(status="ok", details={"challengers": lanes})
    return InferenceHealth(status="ok", components={"shadow": shadow})


@pytest.mark.parametrize(
    ("gates", "lane", "words"),
    [
        ([], health("loading"), "its process loads"),
        ([], health("broken", "no module m"), "its process failed .* no module m"),
        ([gate("not_enough_data", 0)], health("ready"), "no copy has been answered"),
        ([gate("not_enough_data", 40)], health("ready"), "40 requests compared so far"),
        ([gate("inconclusive", 240)], health("ready"), "in doubt: difference"),
        ([gate("pass", 240)], health("ready"), "1 of 2 looks"),
        ([], InferenceHealth(status="ok", components={}), "no copy has been answered"),
    ],
)
def test_what_is_waited_for_is_named(gates, lane, words):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "getloadavg", lambda: (0.1, 0.1, 0.1))
        said = waited_for(status(*gates), lane)
    assert re.search(words, said)


def test_a_busy_machine_is_named_as_the_reason(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    monkeypatch.setattr(os, "getloadavg", lambda: (8.6, 1.0, 1.0))
    assert waiting.busy_words() == " This machine is busy: 9 tasks want its 2 processors."
    monkeypatch.setattr(os, "getloadavg", lambda: (1.9, 9.0, 9.0))
    assert waiting.busy_words() == ""


def test_the_same_is_said_seldom_and_news_soon():
    clock, said = Clock(), []
    teller = Teller(said.append, clock)
    words = iter([f"… {n} compared" for n in range(100)])
    while clock.now_s < TELL_S + AGAIN_S:
        clock.now_s += 1.0
        teller.waits_for(lambda: next(words))
    assert len(said) == 2
    clock.now_s += TELL_S
    teller.waits_for(lambda: "… in doubt")
    assert said[-1] == "… in doubt"
    teller.news()
    teller.waits_for(lambda: "… something else")
    assert len(said) == 3

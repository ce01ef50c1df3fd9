import pytest

from glassbox.pathways.experiment.decisions import parse_decision


@pytest.mark.parametrize(
    ("response", "decision"),
    [
        (" stop", "stop"),
        (" Continue.", "continue"),
        ("I will STOP now and not continue", "stop"),
        ("(2) continue", "continue"),
        ("Stopping here", "stop"),
        ("", None),
        ("bet 20 coins", None),
        ("I will not stop", None),
        ("I don’t want to continue, so stop", None),
        ("unstoppable", None),
        ("I never gamble; stop", None),
        ("I never gamble on a weekday; stop", "stop"),
    ],
)
def test_the_first_clear_word_decides(response, decision):
    assert parse_decision(response) == decision

"""What went wrong, in words that tell an agent what to do next."""

from glassbox.errors import InvalidValue, QueueFull, TechniqueFailed
from glassbox.techniques.agents.mcp_problems import problem_of

TRACE = """

On the other side:
Traceback (most recent call last):
  File "<technique technique 4adb12e1>", line 2, in written_technique
  File "<technique technique 4adb12e1>", line 4, in technique
    return 1 / n
"""


def _ended(error, words):
    error.add_note("line 4 of the technique: return 1 / n")
    error.__cause__ = TechniqueFailed(words + TRACE)
    return problem_of(error)


def test_our_own_errors_are_their_words():
    error = InvalidValue("n", 0, "1 or more")
    told = _ended(error, f"glassbox.errors.InvalidValue: {error}")
    assert told["message"] == "n is 0; allowed: 1 or more."
    assert "trace" not in told


def test_lines_are_those_of_the_code_that_was_given():
    told = _ended(ZeroDivisionError("division by zero"), "builtins.ZeroDivisionError: no")
    assert told["message"] == "ZeroDivisionError: no"
    assert told["where"] == "line 3 of the technique: return 1 / n"
    assert "line 3, in technique" in told["trace"]


def test_a_run_that_was_cancelled_has_no_trace():
    told = problem_of(TechniqueFailed("The run was cancelled."))
    assert told == {"code": "technique-failed", "message": "The run was cancelled."}


def test_too_many_runs_can_be_ended():
    assert "cancel_run" in problem_of(QueueFull(8, 5.0))["message"]

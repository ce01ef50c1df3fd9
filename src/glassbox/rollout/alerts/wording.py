"""Messages in words, for people. Knows no way of sending them."""

from collections.abc import Sequence
from datetime import UTC, datetime

from glassbox.rollout.alerts.messages import AlertMessage


def title(message: AlertMessage) -> str:
    """Return a line that says what it is about, as in ``FIRING warn: challenger differs``."""
    return f"{message.state.upper()} {message.severity}: {message.rule}"


def titles(messages: Sequence[AlertMessage]) -> str:
    """Return one line for several messages."""
    first = title(messages[0])
    return first if len(messages) == 1 else f"{first} (and {len(messages) - 1} more)"


def body(message: AlertMessage) -> str:
    """Return what is known, in two lines."""
    since = _moment(message.since_s)
    lasted = ""
    if message.state == "resolved":
        lasted = f", over after {_lasting(message.time_s - message.since_s)}"
    return f"{message.summary}\nSince {since}{lasted}. Message {message.id}."


def bodies(messages: Sequence[AlertMessage]) -> str:
    """Return one text for several messages, each under its title where there are several."""
    if len(messages) == 1:
        return body(messages[0])
    return "\n\n".join(f"{title(each)}\n{body(each)}" for each in messages)


def _moment(time_s: float) -> str:
    return f"{datetime.fromtimestamp(time_s, UTC):%Y-%m-%d %H:%M:%S} UTC"


def _lasting(seconds: float) -> str:
    if seconds < 120:
        return f"{max(0.0, seconds):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"

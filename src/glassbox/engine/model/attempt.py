"""The border to code that is not ours: a listener's, a tokenizer's, the library's modules.

What it raises can be anything, and must end one request instead of the thread that serves all.
"""

from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def attempt(call: Callable[[], T]) -> T | Exception:
    """Call something; return what it returned, or what it raised.

    What is no ``Exception``, such as an interrupt from the keyboard, is passed on.
    """
    try:
        return call()
    except Exception as error:  # noqa: BLE001
        # Foreign code raises errors of its own kinds, which no list of ours could name.
        return error

"""What is kept of whoever changes something: who it was, and why."""

import getpass
from typing import Annotated

import typer

Reason = Annotated[str | None, typer.Option("--reason", help="Why; kept in the history.")]
"""The option with which a change says why."""


def actor() -> str:
    """Return the name of whoever is at the keyboard."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        # A container's user may have a number but no name.
        return "command line"

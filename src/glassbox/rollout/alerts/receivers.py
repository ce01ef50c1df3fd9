"""Who is told, as the rules' file says it, and the contract that every way of telling follows.

Addresses and passwords are secrets: they are shown nowhere, and a file can hold each of them alone.
Knows no network.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal, Protocol, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from glassbox.errors import InvalidSetting
from glassbox.rollout.alerts.messages import AlertMessage
from glassbox.rollout.alerts.rules import Words

TIMEOUT_S: Final = 10.0
"""Seconds that a receiver may take for one message."""


@dataclass(frozen=True)
class Outcome:
    """What came of telling a receiver something."""

    error: str = ""
    """What went wrong, without any secret; empty where it was taken."""
    is_refused: bool = False
    """Whether the receiver answered and refused this message; others may go through."""
    retry_after_s: float | None = None
    """Seconds after which it asks to be tried again, if it said so."""


TAKEN: Final = Outcome()
"""The receiver has it."""


class Receiver(Protocol):
    """A way of telling somebody."""

    @property
    def most(self) -> int:
        """Messages that it takes at a time."""
        ...

    def send(self, messages: Sequence[AlertMessage]) -> Outcome:
        """Tell it, and return what came of it; takes seconds at most."""
        ...


class _Written(BaseModel):
    """What the rules' file says of a receiver."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, hide_input_in_errors=True
    )


class _Addressed(_Written):
    url: SecretStr | None = None
    """Address; whoever has it can usually write there: better in a file, `url_file`."""
    url_file: Path | None = None
    """File that holds the address and nothing else."""

    @model_validator(mode="after")
    def _one_address(self) -> Self:
        if (self.url is None) == (self.url_file is None):
            raise ValueError("give one of 'url' and 'url_file'")
        return self

    def address(self) -> str:
        """Return the address.

        Raises:
            InvalidSetting: The file cannot be read.
        """
        return secret(self.url, self.url_file, "url_file")


class WebhookWritten(_Addressed):
    """A program that takes JSON, signed as Standard Webhooks says."""

    kind: Literal["webhook"]
    """What it is."""
    secret: SecretStr | None = None
    """What bodies are signed with: `whsec_` and base64, or any text; unset signs nothing."""
    secret_file: Path | None = None
    """File that holds it and nothing else."""


class SlackWritten(_Addressed):
    """A channel of Slack, or of what takes Slack's incoming webhooks, such as Mattermost."""

    kind: Literal["slack"]
    """What it is."""


class AppriseWritten(_Addressed):
    """Anything that Apprise knows: Teams, Discord, Telegram, PagerDuty, text messages and more."""

    kind: Literal["apprise"]
    """What it is."""


class EmailWritten(_Written):
    """Mail over SMTP."""

    kind: Literal["email"]
    """What it is."""
    host: Words
    """Mail server."""
    port: int = Field(default=587, ge=1, le=65535)
    """Its port."""
    security: Literal["starttls", "tls", "none"] = "starttls"
    """How the way there is encrypted; `none` is for this machine alone."""
    user: str = ""
    """Account; empty logs in nowhere."""
    password: SecretStr | None = None
    """Its password; better in a file, `password_file`."""
    password_file: Path | None = None
    """File that holds it and nothing else."""
    sender: Words
    """Address that it comes from."""
    to: Annotated[tuple[Words, ...], Field(min_length=1)]
    """Addresses that it goes to."""


ReceiverWritten = Annotated[
    WebhookWritten | SlackWritten | EmailWritten | AppriseWritten, Field(discriminator="kind")
]
"""A receiver in the rules' file."""


def secret(value: SecretStr | None, file: Path | None, key: str) -> str:
    """Return a secret that is written down or in a file of its own; empty where there is none.

    Raises:
        InvalidSetting: The file cannot be read.
    """
    if file is None:
        return "" if value is None else value.get_secret_value()
    try:
        return file.expanduser().read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise InvalidSetting(key, str(file), problem=f"cannot be read: {reason}") from error


def host_of(url: str) -> str:
    """Return the one part of an address that may be shown; the rest is often a password."""
    try:
        return urlsplit(url).hostname or "?"
    except ValueError:
        return "?"

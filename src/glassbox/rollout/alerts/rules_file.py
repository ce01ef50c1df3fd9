"""The TOML file with rules and receivers, read whole or refused with the place that is wrong.

What it holds of secrets is never part of a message.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from glassbox.errors import ConflictError, InvalidSetting, UnknownName
from glassbox.rollout.alerts.apprising import Apprise, check_apprise
from glassbox.rollout.alerts.mailing import Email
from glassbox.rollout.alerts.posting import Slack, Webhook, check_url
from glassbox.rollout.alerts.receivers import (
    AppriseWritten,
    EmailWritten,
    Receiver,
    ReceiverWritten,
    SlackWritten,
    WebhookWritten,
    secret,
)
from glassbox.rollout.alerts.rules import AlertRule, Words

KINDS: Final = ("webhook", "slack", "email", "apprise")
"""Kinds of receivers."""


class _Written(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    rules: tuple[AlertRule, ...] = ()
    receivers: dict[Words, ReceiverWritten] = Field(default_factory=dict)


@dataclass(frozen=True)
class AlertFile:
    """What is worth telling, and whom."""

    rules: tuple[AlertRule, ...] = ()
    """In the order of the file."""
    written: Mapping[str, ReceiverWritten] | None = None
    """The receivers as they are written."""

    def receivers(self) -> dict[str, Receiver]:
        """Return the receivers, ready to be told.

        Raises:
            InvalidSetting: An address is none, or the file of a secret cannot be read.
            DependencyMissing: Apprise is needed and not installed.
        """
        return {name: brought_to_life(name, each) for name, each in (self.written or {}).items()}


def read_alert_file(path: Path) -> AlertFile:
    """Return the rules and receivers of a file.

    Raises:
        InvalidSetting: The file is missing, no TOML, or something in it is not allowed.
        ConflictError: Two rules have one name.
        UnknownName: A rule names a receiver that there is not.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise InvalidSetting(path.name, "file", problem=f"is no valid TOML: {error}") from error
    except OSError as error:
        problem = f"cannot be read: {error.strerror}"
        raise InvalidSetting(str(path), "alerts.rules", problem=problem) from error
    try:
        written = _Written.model_validate(content)
    except ValidationError as error:
        # Without the cause: it holds what the file holds.
        raise _refused(error, content, path) from None
    names = [rule.name for rule in written.rules]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConflictError(f"{path}: two rules are called {twice[0]!r}; each needs its own name.")
    for rule in written.rules:
        for name in rule.receivers or ():
            if name not in written.receivers:
                raise UnknownName(f"receiver of rule {rule.name!r}", name, written.receivers)
    return AlertFile(written.rules, written.receivers)


def brought_to_life(name: str, written: ReceiverWritten) -> Receiver:
    """Return a receiver that can be told.

    Raises:
        InvalidSetting: Its address is none, or the file of a secret cannot be read.
        DependencyMissing: Apprise is needed and not installed.
    """
    match written:
        case WebhookWritten():
            key = secret(written.secret, written.secret_file, "secret_file")
            return Webhook(check_url(written.address(), name), key)
        case SlackWritten():
            return Slack(check_url(written.address(), name))
        case AppriseWritten():
            return Apprise(check_apprise(written.address(), name))
        case EmailWritten():
            return Email(
                host=written.host,
                port=written.port,
                sender=written.sender,
                to=written.to,
                security=written.security,
                user=written.user,
                password=secret(written.password, written.password_file, "password_file"),
            )


def _refused(error: ValidationError, content: Mapping[str, Any], path: Path) -> InvalidSetting:
    first = error.errors(include_input=False, include_context=False)[0]
    place: list[str] = []
    here: Any = content
    for part in first["loc"]:
        # The loc of a discriminated union also names the kind, which is no key of the file.
        if isinstance(part, str) and part in KINDS and place[:1] == ["receivers"]:
            continue
        here = _below(here, part)
        place.append(_label(here, part))
    message = first["msg"].removeprefix("Value error, ").rstrip(".")
    known: tuple[str, ...] = ()
    if first["type"] == "extra_forbidden":
        message = "is not a known key"
        known = _known(place)
    elif first["type"] == "union_tag_invalid":
        place.append("kind")
        message = f"is not allowed: give one of {', '.join(KINDS)}"
    else:
        message = f"is not allowed: {message[:1].lower()}{message[1:]}"
    return InvalidSetting(".".join(place), str(path), known, problem=message)


def _below(value: Any, part: str | int) -> Any:
    try:
        return value[part]
    except (KeyError, IndexError, TypeError):
        return None


def _label(value: Any, part: str | int) -> str:
    if isinstance(part, int):
        name = value.get("name") if isinstance(value, Mapping) else None
        return repr(name) if isinstance(name, str) else str(part + 1)
    return part


def _known(place: list[str]) -> tuple[str, ...]:
    models: tuple[type[BaseModel], ...] = (_Written,)
    if place[0] == "rules":
        models = (AlertRule,)
    elif place[0] == "receivers":
        models = (WebhookWritten, SlackWritten, EmailWritten, AppriseWritten)
    head = place[:-1]
    return tuple(".".join([*head, key]) for model in models for key in model.model_fields)

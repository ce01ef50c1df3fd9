"""Telling over HTTP: signed JSON for programs, a text for Slack.

Nothing is followed elsewhere, and no address is written to any log: it is a secret. Knows neither
rules nor when to try again.
"""

import base64
import binascii
import hashlib
import hmac
import http.client
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import orjson

from glassbox.errors import InvalidSetting
from glassbox.rollout.alerts.messages import AlertMessage
from glassbox.rollout.alerts.receivers import TAKEN, TIMEOUT_S, Outcome, host_of
from glassbox.rollout.alerts.wording import body, title

COME_BACK: Final = frozenset({408, 425, 429})
"""Refusals that are about the time and not the message. Source: RFC 9110, 8470, 6585."""

SECRET_START: Final = "whsec_"
"""What a secret in base64 begins with. Source: Standard Webhooks 1.0, signature scheme."""

MOST_ANSWER_BYTES: Final = 4096
"""How much of an answer is read."""


def signature(key: str, id: str, time_s: int, content: bytes) -> str:
    """Return what a receiver compares: ``v1,`` and the base64 of an HMAC-SHA256.

    Args:
        key: ``whsec_`` and base64, or any text.
        id: Header ``webhook-id``.
        time_s: Header ``webhook-timestamp``, Unix seconds.
        content: The body.

    Source: Standard Webhooks 1.0, signature scheme.
    """
    signed = b".".join((id.encode(), str(time_s).encode(), content))
    digest = hmac.new(_key_bytes(key), signed, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"


@dataclass(frozen=True, repr=False)
class Webhook:
    """Posts each message as JSON, signed where there is a secret."""

    url: str
    """Where to."""
    secret: str = ""
    """What bodies are signed with; empty signs nothing."""
    timeout_s: float = TIMEOUT_S
    """Seconds that connecting and each read may take."""
    clock: Callable[[], float] = time.time
    """Unix time in seconds."""

    @property
    def most(self) -> int:
        """Messages that it takes at a time: each has its own id."""
        return 1

    def send(self, messages: Sequence[AlertMessage]) -> Outcome:
        """Post a message and return what came of it."""
        for each in messages:
            content = orjson.dumps(payload(each))
            moment = int(self.clock())
            headers = {"webhook-id": each.id, "webhook-timestamp": str(moment)}
            if self.secret:
                headers["webhook-signature"] = signature(self.secret, each.id, moment, content)
            outcome = post(self.url, content, headers, self.timeout_s)
            if outcome.error:
                return outcome
        return TAKEN


@dataclass(frozen=True, repr=False)
class Slack:
    """Posts several messages as one text to an incoming webhook of Slack."""

    url: str
    """Where to."""
    timeout_s: float = TIMEOUT_S
    """Seconds that connecting and each read may take."""

    @property
    def most(self) -> int:
        """Messages that it takes at a time."""
        return 20

    def send(self, messages: Sequence[AlertMessage]) -> Outcome:
        """Post the messages and return what came of it."""
        lines = [f"*{_escaped(title(each))}*\n{_escaped(body(each))}" for each in messages]
        return post(self.url, orjson.dumps({"text": "\n\n".join(lines)}), {}, self.timeout_s)


def payload(message: AlertMessage) -> dict[str, Any]:
    """Return a message as the JSON that a program is sent."""
    values = asdict(message)
    del values["delivered"]
    return {"type": f"alert.{message.state}", **values}


def post(url: str, content: bytes, headers: dict[str, str], timeout_s: float) -> Outcome:
    """Post JSON and return what came of it; an answer of 2xx is taken."""
    sent = {"content-type": "application/json", "user-agent": "glassbox-alerts", **headers}
    request = urllib.request.Request(url, content, sent, method="POST")
    try:
        with _opener().open(request, timeout=timeout_s) as answer:
            answer.read(MOST_ANSWER_BYTES)
            status, after = answer.status, answer.headers.get("retry-after")
    except urllib.error.HTTPError as error:
        error.close()
        status, after = error.code, error.headers.get("retry-after")
    except urllib.error.URLError as error:
        return Outcome(f"{host_of(url)} cannot be reached: {_reason(error.reason)}")
    except (OSError, http.client.HTTPException) as error:
        return Outcome(f"{host_of(url)} did not answer: {_reason(error)}")
    if 200 <= status < 300:
        return TAKEN
    wait_s = float(after) if after and after.isascii() and after.isdigit() else None
    is_refused = 300 <= status < 500 and status not in COME_BACK
    return Outcome(f"{host_of(url)} answered {status}", is_refused, wait_s)


def check_url(url: str, receiver: str) -> str:
    """Return an address that can be posted to.

    Raises:
        InvalidSetting: It is none.
    """
    try:
        request = urllib.request.Request(url)
        is_good = request.type in ("http", "https") and host_of(url) != "?" and url.isprintable()
    except ValueError:
        is_good = False
    if not is_good or " " in url:
        problem = "has an address that is no http:// or https:// URL"
        raise InvalidSetting(f"receivers.{receiver}", "alert rules", problem=problem)
    return url


def _opener() -> urllib.request.OpenerDirector:
    """Return what opens HTTP alone, through the proxy of the environment, following nothing."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
    ):
        opener.add_handler(handler)
    return opener


def _reason(error: object) -> str:
    # The type and the system's words: what else an error quotes may hold the address.
    return (isinstance(error, OSError) and error.strerror) or type(error).__name__


def _key_bytes(key: str) -> bytes:
    if key.startswith(SECRET_START):
        try:
            return base64.b64decode(key.removeprefix(SECRET_START), validate=True)
        except binascii.Error:
            pass
    return key.encode()


def _escaped(text: str) -> str:
    # Source: Slack, "Formatting text for app surfaces", escaping text.
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")

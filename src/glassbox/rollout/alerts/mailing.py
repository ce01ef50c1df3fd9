"""Telling by mail, over SMTP. Knows neither rules nor when to try again."""

import smtplib
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime
from typing import Literal

from glassbox.rollout.alerts.messages import AlertMessage
from glassbox.rollout.alerts.receivers import TAKEN, TIMEOUT_S, Outcome
from glassbox.rollout.alerts.wording import bodies, titles


@dataclass(frozen=True, repr=False)
class Email:
    """Sends several messages as one mail."""

    host: str
    """Mail server."""
    port: int
    """Its port."""
    sender: str
    """Address that it comes from."""
    to: tuple[str, ...]
    """Addresses that it goes to."""
    security: Literal["starttls", "tls", "none"] = "starttls"
    """How the way there is encrypted."""
    user: str = ""
    """Account; empty logs in nowhere."""
    password: str = ""
    """Its password."""
    timeout_s: float = TIMEOUT_S
    """Seconds that each step may take."""

    @property
    def most(self) -> int:
        """Messages that it takes at a time."""
        return 20

    def send(self, messages: Sequence[AlertMessage]) -> Outcome:
        """Send a mail and return what came of it."""
        mail = self._mail(messages)
        try:
            with self._connected() as server:
                if self.user:
                    server.login(self.user, self.password)
                refused = server.send_message(mail)
        except smtplib.SMTPResponseException as error:
            # The server's words may quote the account; its number says enough.
            return Outcome(f"{self.host} answered {error.smtp_code}", error.smtp_code >= 500)
        except smtplib.SMTPRecipientsRefused:
            return Outcome(f"{self.host} refused all addresses", is_refused=True)
        except (OSError, smtplib.SMTPException) as error:
            reason = (isinstance(error, OSError) and error.strerror) or type(error).__name__
            return Outcome(f"{self.host} did not answer: {reason}")
        if refused:
            return Outcome(f"{self.host} refused {len(refused)} of the addresses", is_refused=True)
        return TAKEN

    def _connected(self) -> smtplib.SMTP:
        context = ssl.create_default_context()
        if self.security == "tls":
            return smtplib.SMTP_SSL(self.host, self.port, timeout=self.timeout_s, context=context)
        server = smtplib.SMTP(self.host, self.port, timeout=self.timeout_s)
        if self.security == "starttls":
            try:
                server.starttls(context=context)
            except (OSError, smtplib.SMTPException):
                server.close()
                raise
        return server

    def _mail(self, messages: Sequence[AlertMessage]) -> EmailMessage:
        mail = EmailMessage()
        mail["From"] = self.sender
        mail["To"] = ", ".join(self.to)
        mail["Subject"] = titles(messages)
        mail["Date"] = format_datetime(datetime.fromtimestamp(messages[0].time_s, UTC))
        # The same message again has the same name, so that mail programs show it once.
        mail["Message-ID"] = f"<{messages[0].id}@glassbox>"
        mail.set_content(bodies(messages) + "\n")
        return mail

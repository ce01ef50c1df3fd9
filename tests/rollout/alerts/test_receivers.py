"""Real receivers of this machine: HTTP, SMTP, Apprise; and no secret in any log."""

import email
import email.policy
import logging
import socket
import threading
import warnings
from collections.abc import Iterator

import orjson
import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult

from glassbox.errors import InvalidSetting
from glassbox.rollout.alerts.apprising import Apprise, check_apprise
from glassbox.rollout.alerts.mailing import Email
from glassbox.rollout.alerts.posting import Slack, Webhook, check_url, signature
from glassbox.rollout.alerts.receivers import TAKEN
from tests.rollout.alerts.worlds import START_S, Listener, listening, message

SECRET = "xoxb-very-secret"


@pytest.fixture
def hook() -> Iterator[Listener]:
    with listening() as listener:
        yield listener


@pytest.fixture
def closed_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def test_a_webhook_gets_signed_json_with_an_id_that_names_the_message(hook: Listener) -> None:
    sent = Webhook(f"{hook.url}/hook?token={SECRET}", "hush", clock=lambda: START_S + 0.9)
    assert sent.send([message()]) == TAKEN
    (path, headers, content) = hook.got[0]
    assert path == f"/hook?token={SECRET}"
    assert headers["content-type"] == "application/json"
    assert headers["webhook-id"] == "alert-1"
    assert headers["webhook-timestamp"] == str(int(START_S))
    assert headers["webhook-signature"] == signature("hush", "alert-1", int(START_S), content)
    assert orjson.loads(content) == {
        "type": "alert.firing",
        "id": "alert-1",
        "rule": "challenger differs",
        "signal": "summary.shadow_avg_diff",
        "state": "firing",
        "severity": "warn",
        "time_s": START_S,
        "since_s": START_S,
        "value": 0.12,
        "limit": 0.05,
        "summary": "The challenger differs: summary.shadow_avg_diff is 0.12, above 0.05.",
    }


def test_the_signature_is_that_of_standard_webhooks() -> None:
    # Source: Standard Webhooks' own libraries, their test of the signature.
    key = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    expected = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    content = b'{"test": 2432232314}'
    assert signature(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, content) == expected


def test_slack_gets_one_text_for_several_messages_with_nothing_to_click(hook: Listener) -> None:
    slack = Slack(f"{hook.url}/services/{SECRET}")
    first = message(summary="<!channel> & <http://evil>: 1 > 0")
    last = message(id="alert-2", state="resolved", time_s=START_S + 300)
    assert slack.send([first, last]) == TAKEN
    text = orjson.loads(hook.got[0][2])["text"]
    assert text.startswith("*FIRING warn: challenger differs*\n&lt;!channel&gt; &amp; ")
    assert "over after 5 min" in text
    assert "<" not in text
    assert len(hook.got) == 1


@pytest.mark.parametrize(
    ("status", "headers", "is_refused", "retry_after_s"),
    [
        (404, {}, True, None),
        (301, {"location": "http://127.0.0.1:1/"}, True, None),
        (429, {"retry-after": "7"}, False, 7.0),
        (503, {"retry-after": "Fri, 31 Dec 2027 23:59:59 GMT"}, False, None),
        (500, {}, False, None),
    ],
)
def test_a_receiver_that_does_not_take_it_is_told_apart_from_one_that_refuses(
    hook: Listener, status: int, headers: dict[str, str], is_refused: bool, retry_after_s: float
) -> None:
    hook.answers.append((status, headers))
    outcome = Webhook(hook.url).send([message()])
    assert outcome.error == f"127.0.0.1 answered {status}"
    assert (outcome.is_refused, outcome.retry_after_s) == (is_refused, retry_after_s)
    assert len(hook.got) == 1, "nothing is followed elsewhere"


def test_a_receiver_that_is_not_there_is_said_to_be_so(closed_port: int) -> None:
    url = f"http://127.0.0.1:{closed_port}/{SECRET}"
    outcome = Webhook(url).send([message()])
    assert outcome.error == "127.0.0.1 cannot be reached: Connection refused"
    assert not outcome.is_refused


def test_a_receiver_that_hangs_is_let_go_of() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        outcome = Webhook(url, timeout_s=0.2).send([message()])
    assert outcome.error == "127.0.0.1 did not answer: TimeoutError"
    assert not outcome.is_refused


def test_a_receiver_that_talks_nonsense_is_said_not_to_answer() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"220 mail ready\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        outcome = Webhook(f"http://127.0.0.1:{server.getsockname()[1]}/").send([message()])
        thread.join()
    assert outcome.error == "127.0.0.1 did not answer: BadStatusLine"


@pytest.mark.parametrize("url", ["ftp://x/y", "hooks.example", "http://", "file:///etc/passwd", ""])
def test_an_address_that_is_none_is_refused_without_being_repeated(url: str) -> None:
    with pytest.raises(InvalidSetting, match=r"receivers\.team.*no http:// or https:// URL") as why:
        check_url(url, "team")
    assert len(url) < 8 or url not in str(why.value)


class Mailbox:
    def __init__(self) -> None:
        self.envelopes: list[object] = []
        self.answer = "250 OK"

    async def handle_DATA(  # noqa: N802  named by aiosmtpd
        self, _server: object, _session: object, envelope: object
    ) -> str:
        if self.answer.startswith("250"):
            self.envelopes.append(envelope)
        return self.answer


@pytest.fixture
def mailbox() -> Iterator[tuple[Mailbox, int]]:
    def login(_server: object, _session: object, _envelope: object, _how: str, data: object):
        return AuthResult(success=data.password == SECRET.encode(), handled=False)

    box = Mailbox()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    controller = Controller(
        box, hostname="127.0.0.1", port=port, authenticator=login, auth_require_tls=False
    )
    controller.start()
    yield box, port
    controller.stop()


def mail_to(port: int, **values: object) -> Email:
    known = {
        "sender": "glassbox@here.example",
        "to": ("a@x.example", "b@x.example"),
        "security": "none",
    }
    return Email("127.0.0.1", port, **{**known, **values})  # type: ignore[arg-type]


def test_mail_arrives_with_a_name_of_its_own(mailbox: tuple[Mailbox, int]) -> None:
    box, port = mailbox
    outcome = mail_to(port, user="me", password=SECRET).send([message(), message(id="alert-2")])
    assert outcome == TAKEN
    (envelope,) = box.envelopes
    assert envelope.rcpt_tos == ["a@x.example", "b@x.example"]
    mail = email.message_from_bytes(envelope.content, policy=email.policy.default)
    assert mail["subject"] == "FIRING warn: challenger differs (and 1 more)"
    assert mail["message-id"] == "<alert-1@glassbox>"
    assert mail["to"] == "a@x.example, b@x.example"
    content = mail.get_content()
    assert "summary.shadow_avg_diff is 0.12, above 0.05." in content
    assert "Since 2027-01-15 08:00:00 UTC. Message alert-2." in content


def test_mail_with_a_wrong_password_is_refused_and_says_no_more(
    mailbox: tuple[Mailbox, int],
) -> None:
    _, port = mailbox
    outcome = mail_to(port, user="me", password="wrong-secret").send([message()])
    assert outcome.error == "127.0.0.1 answered 535"
    assert outcome.is_refused


def test_mail_is_never_sent_unencrypted_where_it_should_be(mailbox: tuple[Mailbox, int]) -> None:
    box, port = mailbox
    outcome = mail_to(port, security="starttls").send([message()])
    assert outcome.error == "127.0.0.1 did not answer: SMTPNotSupportedError"
    assert box.envelopes == []


@pytest.mark.parametrize(("answer", "is_refused"), [("451 later", False), ("554 no", True)])
def test_mail_that_is_not_taken_is_tried_again_or_refused(
    mailbox: tuple[Mailbox, int], answer: str, is_refused: bool
) -> None:
    box, port = mailbox
    box.answer = answer
    outcome = mail_to(port).send([message()])
    assert outcome.error == f"127.0.0.1 answered {answer[:3]}"
    assert outcome.is_refused is is_refused


def test_a_mail_server_that_is_not_there_is_said_to_be_so(closed_port: int) -> None:
    outcome = mail_to(closed_port).send([message()])
    assert outcome.error == "127.0.0.1 did not answer: Connection refused"


@pytest.fixture
def _apprise() -> None:
    """Apprise imports all it knows with its first address; one of these warns of its age."""
    apprise = pytest.importorskip("apprise")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        apprise.Apprise.instantiate("json://127.0.0.1")


@pytest.mark.usefixtures("_apprise")
def test_apprise_posts_where_its_address_says(hook: Listener) -> None:
    url = f"{hook.url.replace('http', 'json')}/{SECRET}"
    assert Apprise(check_apprise(url, "team")).send([message()]) == TAKEN
    path, _, content = hook.got[0]
    assert path.startswith(f"/{SECRET}")
    sent = orjson.loads(content)
    assert sent["title"] == "FIRING warn: challenger differs"
    assert sent["type"] == "warning"
    assert "above 0.05" in sent["message"]


@pytest.mark.usefixtures("_apprise")
def test_apprise_says_when_it_was_not_taken(hook: Listener) -> None:
    hook.answers.append((500, {}))
    outcome = Apprise(hook.url.replace("http", "json")).send([message(state="resolved")])
    assert outcome.error == "Apprise's json did not take it"
    assert not outcome.is_refused


@pytest.mark.usefixtures("_apprise")
def test_an_address_that_apprise_does_not_know_is_refused_without_being_repeated() -> None:
    with pytest.raises(InvalidSetting, match="Apprise does not know") as why:
        check_apprise(f"nothing://{SECRET}", "team")
    assert SECRET not in str(why.value)


@pytest.mark.usefixtures("_apprise")
def test_no_secret_is_in_any_log_whatever_happens(
    hook: Listener,
    mailbox: tuple[Mailbox, int],
    closed_port: int,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    for name in ("apprise", "urllib3.connectionpool", "urllib3.util.retry", "requests"):
        logging.getLogger(name).setLevel(logging.DEBUG)
    caplog.set_level(logging.DEBUG)
    _, port = mailbox
    hook.answers += [(500, {}), (404, {}), (200, {}), (500, {}), (200, {})]
    receivers = [
        Webhook(f"{hook.url}/{SECRET}", SECRET),
        Slack(f"{hook.url}/{SECRET}"),
        Slack(f"{hook.url}/{SECRET}"),
        Apprise(f"{hook.url.replace('http', 'json')}/{SECRET}"),
        Apprise(f"{hook.url.replace('http', 'json')}/{SECRET}"),
        Apprise(f"nothing://{SECRET}"),
        Webhook(f"http://127.0.0.1:{closed_port}/{SECRET}", SECRET),
        Apprise(f"json://127.0.0.1:{closed_port}/{SECRET}"),
        mail_to(port, user="me", password=SECRET),
        mail_to(closed_port, user="me", password=SECRET),
    ]
    said = [each.send([message()]).error for each in receivers]
    assert [bool(each) for each in said] == [
        True, True, False, True, False, True, True, True, False, True,
    ]  # fmt: skip
    out, err = capfd.readouterr()
    assert SECRET not in "".join([caplog.text, out, err, *said, *map(repr, receivers)])

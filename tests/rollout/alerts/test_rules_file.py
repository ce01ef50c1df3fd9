"""The rules' file: read whole, or refused by the place that is wrong, without its secrets."""

from pathlib import Path

import pytest

from glassbox.errors import ConflictError, InvalidSetting, UnknownName
from glassbox.rollout.alerts.mailing import Email
from glassbox.rollout.alerts.posting import Slack, Webhook
from glassbox.rollout.alerts.rules_file import AlertFile, read_alert_file

SECRET = "xoxb-very-secret"

GOOD = f"""
[receivers.oncall]
kind = "slack"
url_file = "{{folder}}/slack-url"

[receivers.pager]
kind = "webhook"
url = "https://pager.example/hook"
secret = "{SECRET}"

[receivers.mail]
kind = "email"
host = "mail.example"
sender = "glassbox@here.example"
to = ["team@here.example"]
user = "me"
password = "{SECRET}"

[[rules]]
name = "challenger differs"
signal = "summary.shadow_avg_diff"
above = 0.05
for_s = 60
severity = "error"
receivers = ["oncall"]
only_if = {{{{ signal = "summary.rolling_count", above = 100 }}}}

[[rules]]
name = "drift"
signal = "drift.features.*.drifted"
above = 0
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "alerts.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_file_gives_rules_and_receivers(tmp_path: Path) -> None:
    (tmp_path / "slack-url").write_text(f"https://hooks.example/{SECRET}\n")
    file = read_alert_file(written(tmp_path, GOOD.format(folder=tmp_path)))
    first, second = file.rules
    assert (first.limit, first.side, first.for_s, first.severity) == (0.05, "above", 60.0, "error")
    assert first.receivers == ("oncall",)
    assert second.receivers is None
    receivers = file.receivers()
    slack, pager, mail = (receivers[name] for name in ("oncall", "pager", "mail"))
    assert isinstance(slack, Slack)
    assert slack.url == f"https://hooks.example/{SECRET}"
    assert isinstance(pager, Webhook)
    assert pager.secret == SECRET
    assert isinstance(mail, Email)
    assert (mail.port, mail.security, mail.password) == (587, "starttls", SECRET)
    assert SECRET not in repr(file) + repr(receivers)


def test_no_file_is_no_rules() -> None:
    assert AlertFile().receivers() == {}
    assert AlertFile().rules == ()


RULE = '[[rules]]\nname = "r"\nsignal = "x"\n'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("rules = 3 3", "no valid TOML"),
        (f"rules = {'[' * 5000}", "no valid TOML"),
        (RULE, r"rules\.'r'.*give one of 'above' and 'below'"),
        (RULE + "above = 1\nbelow = 2", "give one of 'above' and 'below'"),
        (RULE + "above = nan", r"rules\.'r'\.above.*finite number"),
        (RULE + "abuve = 1", r"rules\.'r'\.abuve\" is not a known key.*Did you mean .*above"),
        (RULE + "above = 1\nfor_s = -5", r"rules\.'r'\.for_s.*greater than or equal to 0"),
        (RULE + 'above = 1\nseverity = "bad"', r"severity.*'info', 'warn' or 'error'"),
        (RULE.replace('"x"', '"x.*"') + 'above = 1\nmissing = "fire"', r"without '\*'"),
        (RULE + 'above = 1\nonly_if = { signal = "a.*", above = 1 }', "only_if.*may not contain"),
        ('[receivers.a]\nkind = "pigeon"', r"receivers\.a.*webhook.*slack.*email.*apprise"),
        ('[receivers.a]\nkind = "slack"', r"receivers\.a.*give one of 'url' and 'url_file'"),
        ('[receivers.a]\nkind = "slack"\nurl = "x"\nchannel = "y"', r"a\.channel' is not a known"),
        ('[reciever.a]\nkind = "slack"', r"'reciever' is not a known key.*receivers"),
    ],
)
def test_what_is_wrong_is_said_by_its_place(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(InvalidSetting, match=words):
        read_alert_file(written(tmp_path, text))


@pytest.mark.parametrize(
    "text",
    [
        f'[receivers.a]\nkind = "slack"\nurl = ["{SECRET}"]',
        f'[receivers.a]\nkind = "slack"\nurl = "{SECRET}"\nurl_file = "/x/{SECRET}"',
        f'[receivers.a]\nkind = "webhook"\nurl = "http://x"\nsecret = {{ x = "{SECRET}" }}',
    ],
)
def test_no_secret_is_in_a_refusal(tmp_path: Path, text: str) -> None:
    with pytest.raises(InvalidSetting, match="receivers") as why:
        read_alert_file(written(tmp_path, text))
    assert SECRET not in str(why.value)
    assert why.value.__cause__ is None


def test_an_address_that_is_none_is_refused_without_being_repeated(tmp_path: Path) -> None:
    file = read_alert_file(written(tmp_path, f'[receivers.a]\nkind = "slack"\nurl = "{SECRET}"'))
    with pytest.raises(InvalidSetting, match=r"receivers\.a.*no http") as why:
        file.receivers()
    assert SECRET not in str(why.value)


def test_a_secret_s_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    file = read_alert_file(written(tmp_path, GOOD.format(folder=tmp_path)))
    with pytest.raises(InvalidSetting, match=r"slack-url.*'url_file' cannot be read: No such file"):
        file.receivers()


def test_names_must_be_known_and_unique(tmp_path: Path) -> None:
    twice = (RULE + "above = 1\n") * 2
    with pytest.raises(ConflictError, match="two rules are called 'r'"):
        read_alert_file(written(tmp_path, twice))
    unknown = (
        RULE + 'above = 1\nreceivers = ["tem"]\n[receivers.team]\nkind="slack"\nurl="http://x"'
    )
    with pytest.raises(UnknownName, match=r"receiver of rule 'r' 'tem'.*Did you mean 'team'"):
        read_alert_file(written(tmp_path, unknown))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidSetting, match=r"absent.toml' cannot be read: No such file"):
        read_alert_file(tmp_path / "absent.toml")

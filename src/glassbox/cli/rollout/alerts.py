"""``glassbox alerts``: what fires, who was told, and whether rules and receivers are right.

Looks into the database; needs no running server.
"""

import secrets
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from glassbox.cli.arguments import options
from glassbox.cli.arguments.moments import to_second
from glassbox.cli.terminal.console import Column, note, print_json, print_table
from glassbox.cli.terminal.exit_codes import ExitCode
from glassbox.errors import InvalidSetting, UnknownName
from glassbox.runtime import Runtime

if TYPE_CHECKING:
    from glassbox.rollout.alerts.alert_store import AlertStore
    from glassbox.rollout.alerts.messages import AlertMessage, Delivery
    from glassbox.rollout.alerts.rules import AlertRule
    from glassbox.rollout.alerts.rules_file import AlertFile

ROOTS = ("summary", "health", "rollout", "drift", "models")
"""What the path of a signal begins with: the answers that it is a number of."""

app = typer.Typer(help="Who is told when something is wrong.", pretty_exceptions_enable=False)
"""The ``alerts`` group."""

RulesFile = Annotated[
    Path | None, typer.Option("--rules", help="TOML file; by default the setting alerts.rules.")
]


@app.callback()
def alerts() -> None:
    """Who is told when something is wrong."""


@app.command("list")
def list_alerts(json: options.AsJson = False) -> None:
    """Show what fires now, and what waits to be sent."""
    store = _store()
    with store.reading() as book:
        firing = sorted(book.firing().values(), key=lambda alert: -alert.since_s)
    waiting = store.waiting()
    if json:
        print_json({"firing": firing, "waiting": waiting})
        return
    if firing:
        print_table(
            [Column("since (UTC)", wraps=False), "severity", "rule", "what"],
            [(to_second(each.since_s), each.severity, each.rule, each.summary) for each in firing],
        )
    else:
        note("Nothing fires.")
    for name, n_messages in sorted(waiting.items()):
        note(f"{n_messages} message(s) wait for {name}. Why: glassbox alerts history")


@app.command()
def history(
    limit: Annotated[int, typer.Option("--limit", min=1, max=10_000, help="Most messages.")] = 20,
    json: options.AsJson = False,
) -> None:
    """Show the latest messages and whether they arrived, newest first."""
    found = _store().history(limit)
    if json:
        print_json(found)
        return
    if not found:
        note("No message yet.")
        return
    print_table(
        [Column("time (UTC)", wraps=False), Column("state", wraps=False), "what", "told"],
        [
            (
                to_second(each.time_s),
                each.state,
                each.summary,
                "\n".join(_told(one) for one in each.delivered) or "nobody",
            )
            for each in found
        ],
    )


@app.command()
def check(
    rules: Annotated[
        Path | None, typer.Argument(help="TOML file; by default the setting alerts.rules.")
    ] = None,
    json: options.AsJson = False,
) -> None:
    """Find out whether a file of rules is right; sends nothing."""
    file, path = _read(rules)
    receivers = file.receivers()
    odd = [rule for rule in file.rules if rule.signal.partition(".")[0] not in ROOTS]
    if json:
        print_json(
            {
                "rules": [rule.model_dump(mode="json", exclude_none=True) for rule in file.rules],
                "receivers": sorted(receivers),
                "unknown_signals": [rule.signal for rule in odd],
            }
        )
    else:
        print_table(
            ["rule", "signal", "fires", "severity", "tells"],
            [
                (
                    rule.name,
                    rule.signal,
                    _when(rule),
                    rule.severity,
                    ", ".join(receivers if rule.receivers is None else rule.receivers) or "nobody",
                )
                for rule in file.rules
            ],
        )
        note(f"{path}: {len(file.rules)} rule(s), {len(receivers)} receiver(s), well formed.")
    for rule in odd:
        note(
            f"Rule {rule.name!r}: {rule.signal!r} begins with none of {', '.join(ROOTS)}, so "
            "nothing will ever be reported under it."
        )
    if odd:
        raise typer.Exit(ExitCode.INCOMPLETE)


@app.command("test")
def try_receiver(
    receiver: Annotated[str, typer.Argument(help="Name of the receiver in the file.")],
    rules: RulesFile = None,
    json: options.AsJson = False,
) -> None:
    """Send a test message to one receiver now, and say what came of it."""
    from glassbox.rollout.alerts.rules_file import brought_to_life

    file, _ = _read(rules)
    written = dict(file.written or {})
    if receiver not in written:
        raise UnknownName("receiver", receiver, written)
    outcome = brought_to_life(receiver, written[receiver]).send([_example()])
    if json:
        print_json({"receiver": receiver, "delivered": not outcome.error, "error": outcome.error})
    elif outcome.error:
        note(f"{receiver} did not take it: {outcome.error}.")
    else:
        note(f"{receiver} took the test message.")
    if outcome.error:
        raise typer.Exit(ExitCode.INCOMPLETE)


def _store() -> "AlertStore":
    from glassbox.rollout.alerts.alert_store import AlertStore
    from glassbox.storage.database import open_database

    return AlertStore(open_database(Runtime.load().settings.storage.url))


def _read(given: Path | None) -> "tuple[AlertFile, Path]":
    from glassbox.rollout.alerts.rules_file import read_alert_file

    path = given or Runtime.load().settings.alerts.rules
    if path is None:
        problem = "is not set: name a file, or set it, as in GLASSBOX_ALERTS__RULES=alerts.toml"
        raise InvalidSetting("alerts.rules", "settings", problem=problem)
    return read_alert_file(path), path


def _when(rule: "AlertRule") -> str:
    condition = rule.only_if
    also = "" if condition is None else f", if {condition.signal} {condition.side} "
    return f"{rule.said}{also}{'' if condition is None else f'{condition.limit:g}'}"


def _told(delivery: "Delivery") -> str:
    if delivery.delivered_s is not None:
        return f"{delivery.receiver} {to_second(delivery.delivered_s)}"
    if delivery.gave_up_s is not None:
        return f"{delivery.receiver}: given up, {delivery.last_error}"
    if delivery.attempts:
        return f"{delivery.receiver}: {delivery.attempts} attempt(s), {delivery.last_error}"
    return f"{delivery.receiver}: waits"


def _example() -> "AlertMessage":
    from glassbox.rollout.alerts.messages import AlertMessage

    moment = time.time()
    return AlertMessage(
        id=f"alert-{secrets.token_hex(12)}",
        rule="test",
        signal="test",
        state="firing",
        severity="info",
        time_s=moment,
        since_s=moment,
        value=1.0,
        limit=0.0,
        summary="A test message of 'glassbox alerts test'; nothing is wrong.",
    )

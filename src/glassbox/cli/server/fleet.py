"""``glassbox fleet``: the servers that share the database, and where they differ.

Looks into the database; needs no running server.
"""

from typing import TYPE_CHECKING, Annotated

import typer

from glassbox.cli.arguments import options
from glassbox.cli.terminal.console import Column, note, print_json, print_table
from glassbox.cli.terminal.exit_codes import ExitCode
from glassbox.runtime import Runtime
from glassbox.wording import counted

if TYPE_CHECKING:
    from glassbox.wire.fleet import ReplicaAnswered


def fleet(
    json: options.AsJson = False,
    check: Annotated[
        bool,
        typer.Option(
            "--check",
            help="Exit with 3 where there is a warning, or no server takes requests.",
        ),
    ] = False,
) -> None:
    """Show every server of the database, who answers there, and where they differ."""
    from glassbox.server.fleet.view import fleet_shown

    store = Runtime.load().replica_store()
    try:
        found = fleet_shown(store.fleet(), "")
    finally:
        store.database.close()
    if json:
        print_json(found.model_dump(exclude={"answered_by"}))
    elif not found.replicas:
        note("No server has said anything here in a quarter of an hour. Start one: glassbox serve")
    else:
        print_table(
            [
                Column("server", wraps=False),
                "state",
                "host",
                "glassbox",
                "answers",
                Column("requests", align="right"),
                Column("a second", align="right"),
                Column("heard of", align="right", wraps=False),
            ],
            [_line(each) for each in found.replicas],
        )
        n_requests = sum(found.totals.requests.values())
        ready = counted(found.agreement.n_ready, "takes requests", "take requests")
        note(f"{ready}; {counted(n_requests, 'request')} in all.")
        for each in found.warnings:
            note(f"{each.kind}: {each.message}")
    if check and (found.warnings or not found.agreement.n_ready):
        raise typer.Exit(ExitCode.CONFLICT)


def _line(replica: "ReplicaAnswered") -> tuple[object, ...]:
    per_s = replica.load.requests_per_s
    is_over = replica.status in ("left", "failed", "lost")
    return (
        replica.id,
        replica.status,
        f"{replica.host} ({replica.pid})",
        replica.version,
        ", ".join(each.champion for each in replica.routings.values()),
        f"{sum(replica.counters.requests.values()):,}",
        None if is_over or per_s is None else f"{per_s:.1f}",
        f"{replica.silent_s:.0f} s ago",
    )

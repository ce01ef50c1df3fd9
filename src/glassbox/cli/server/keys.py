"""``glassbox keys``: who may use the server. Knows nothing of HTTP."""

from typing import Annotated

import typer

from glassbox.cli.arguments import options
from glassbox.cli.arguments.moments import to_hour, to_minute
from glassbox.cli.terminal.console import Column, note, print_json, print_table
from glassbox.runtime import Runtime

app = typer.Typer(help="API keys of the server.", pretty_exceptions_enable=False)
"""The ``keys`` group."""

Scopes = Annotated[
    list[str] | None,
    typer.Option(
        "--scope",
        help="What the key allows: predict, observe, admin or techniques; several with commas, or "
        "repeated. By default predict and observe.",
    ),
]


@app.callback()
def keys() -> None:
    """API keys of the server."""


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="Whose key it is.")],
    scope: Scopes = None,
    json: options.AsJson = False,
) -> None:
    """Make a key and show it, once: only its digest is kept.

    From the first key on, a server needs a key for everything but its pages and /livez, /readyz
    and /ping.
    """
    scopes = [part.strip() for each in scope or ("predict,observe",) for part in each.split(",")]
    key, secret = Runtime.load().key_store().create(name, scopes)
    if json:
        print_json({"id": key.id, "name": key.name, "scopes": key.scopes, "key": secret})
        return
    typer.echo(secret)
    note(f"Key {key.id} of {key.name!r} allows {', '.join(key.scopes)}. It is shown only now.")
    note("Send it as 'Authorization: Bearer <key>'; OpenAI's clients take it as api_key.")


@app.command("list")
def list_keys(json: options.AsJson = False) -> None:
    """List the keys, without their secrets."""
    found = Runtime.load().key_store().all()
    if json:
        print_json(found)
        return
    if not found:
        note("No keys: the server listens on this machine alone. Make one: glassbox keys create")
        return
    print_table(
        ["id", "key", "name", "scopes", "created", "last used", Column("state", wraps=False)],
        [
            (
                key.id,
                f"{key.prefix}…",
                key.name,
                ", ".join(key.scopes),
                to_minute(key.created_s),
                None if key.last_used_s is None else to_hour(key.last_used_s),
                "active" if key.revoked_s is None else f"revoked {to_minute(key.revoked_s)}",
            )
            for key in found
        ],
    )


@app.command()
def revoke(
    key: Annotated[str, typer.Argument(help="Id or first characters, as 'list' shows them.")],
    json: options.AsJson = False,
) -> None:
    """Refuse a key from now on; running servers follow within seconds."""
    revoked = Runtime.load().key_store().revoke(key.rstrip("…"))
    if json:
        print_json(revoked)
        return
    note(f"Key {revoked.id} of {revoked.name!r} is refused from now on.")

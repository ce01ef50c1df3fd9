"""``glassbox mcp``: the resident model as tools for an agent.

Over standard input and output for an agent of this machine, or over HTTP. Standard output belongs
to the protocol, so everything for people goes to standard error.
"""

import signal
from contextlib import ExitStack
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from glassbox.cli.arguments import options
from glassbox.cli.techniques.finding import Adapter, App, Backend, Gpu, open_client
from glassbox.cli.terminal.console import note
from glassbox.errors import InvalidValue
from glassbox.runtime import Runtime

if TYPE_CHECKING:
    from mcp.server.mcpserver import MCPServer

PORT = 8788
"""Beside the port of ``glassbox serve``."""

PATH = "/mcp"
"""Where the protocol is spoken over HTTP."""


def mcp(
    backend: Backend = "local",
    model: options.Model = None,
    adapter: Adapter = None,
    key: Annotated[
        str | None,
        typer.Option("--key", help="API key of the server that --backend names."),
    ] = None,
    gpu: Gpu = None,
    app_name: App = "agent",
    allow_code: Annotated[
        bool,
        typer.Option(
            "--allow-code",
            help="Let the agent bring functions of its own. That is code execution: with "
            "--backend local as you, on this machine.",
        ),
    ] = False,
    techniques: Annotated[
        list[Path] | None,
        typer.Option(
            "--techniques", help="Folder of your own techniques to offer as well; may be repeated."
        ),
    ] = None,
    http: Annotated[
        bool, typer.Option("--http", help="Listen on a port and not on standard input.")
    ] = False,
    host: Annotated[
        str | None,
        typer.Option("--host", help="Address to listen on; others than this machine's need a key."),
    ] = None,
    port: Annotated[
        int | None, typer.Option("--port", help="Port; 0 takes a free one.", min=0, max=65535)
    ] = None,
) -> None:
    """Give an agent the model: list, describe and run techniques, read results page by page.

    Speaks the Model Context Protocol on standard input and output; agents start it themselves.
    Over HTTP it asks for a key of 'glassbox keys' with the scope techniques or, as long as there
    is no key, for a secret in a file that only you may read.
    """
    if not http and (host is not None or port is not None):
        raise InvalidValue("--host" if host else "--port", host or port, "given with --http only")
    from glassbox.techniques.agents.mcp_server import Offer, build_server
    from glassbox.techniques.catalogue.entries import built_in, entries_of
    from glassbox.techniques.client.folders import load_techniques_from_dir

    entries = built_in()
    for folder in techniques or ():
        loaded = load_techniques_from_dir(folder)
        entries |= entries_of(loaded)
        for file, why in loaded.broken.items():
            note(f"{folder / file} could not be read: {why}")
    # Where the protocol has standard output, nothing else may write there.
    with open_client(backend, model, adapter, key, gpu, app_name, quiet=True) as client:
        server = build_server(Offer(client, entries, may_run_code=allow_code))
        if http:
            _listen(server, host or "127.0.0.1", PORT if port is None else port)
        else:
            server.run("stdio")


def _listen(server: "MCPServer", host: str, port: int) -> None:
    from glassbox.server.access.key_ring import KeyRing
    from glassbox.server.process.agents import serve_agents
    from glassbox.server.process.listening import address_of, bind, check_address
    from glassbox.techniques.remote.local_secret import local_secret, secret_path
    from glassbox.wire.addresses import is_loopback

    runtime = Runtime.load()
    keys = runtime.key_store()
    has_keys = keys.any_active()
    check_address(host, has_keys=has_keys)
    listener = bind(host, port)
    # On loopback the SDK refuses pages from elsewhere, which a name server could send here.
    app = server.streamable_http_app(streamable_http_path=PATH, host=host)
    url = address_of(listener) + PATH
    ring = KeyRing(keys, always=not is_loopback(host))
    with ExitStack() as at_end:
        secret = None
        if has_keys:
            note(f"Listening on {url} for whoever has a key with the scope techniques.")
        else:
            folder, bound = runtime.settings.techniques.folder, listener.getsockname()[1]
            secret = at_end.enter_context(local_secret(folder, bound))
            _tell(url, secret_path(folder, bound))
        note("Ctrl-C stops it.")
        at_end.callback(signal.signal, signal.SIGTERM, signal.signal(signal.SIGTERM, _interrupt))
        try:
            serve_agents(app, listener, ring, secret)
        except KeyboardInterrupt:
            note("Stopped.")


def _interrupt(_number: int, _frame: object) -> NoReturn:
    """End as Ctrl-C does, so that the secret goes with its server."""
    raise KeyboardInterrupt


def _tell(url: str, path: Path) -> None:
    """Say where the secret of a server without keys is, and how an agent gets it."""
    note(f"Listening on {url} for whoever has its secret, which only you can read:")
    note(f"  {path}")
    note("Agents send it as 'Authorization: Bearer <secret>'; for Claude Code:")
    note(
        f"  claude mcp add --transport http glassbox {url} "
        f'--header "Authorization: Bearer $(cat {quote(str(path))})"'
    )
    note("It is new after each start. A key that stays: glassbox keys create NAME --scope "
         "techniques")  # fmt: skip

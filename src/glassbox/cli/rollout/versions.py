"""``glassbox versions``: what there is, which one answers, and who decided that.

Works on the database and the folder of versions directly; a running server follows within a
second. Parses, makes one call, prints.
"""

import difflib
from pathlib import Path
from typing import Annotated, Any

import typer

from glassbox.cli.arguments import options
from glassbox.cli.rollout.acting import Reason, actor
from glassbox.cli.terminal.console import note, print_json, print_text, progress
from glassbox.errors import InvalidData, InvalidValue
from glassbox.rollout.version import (
    CHALLENGER,
    CHAMPION,
    DEFAULT_MODEL,
    PREVIOUS_CHAMPION,
    AliasMove,
    Version,
)
from glassbox.rollout.versions.registry import Registry
from glassbox.runtime import Runtime
from glassbox.wording import counted

app = typer.Typer(
    help="Register versions of a model, and say which one answers.",
    pretty_exceptions_enable=False,
    no_args_is_help=True,
)
"""The ``versions`` group."""

ModelOption = Annotated[
    str | None, typer.Option("--model", help="Registered model; by default the only one there is.")
]
What = Annotated[
    str, typer.Argument(help="Name, number, alias, or address as models:/default@champion.")
]
Expected = Annotated[
    str | None,
    typer.Option(
        "--expected",
        help="Version that the alias must name still, or 'none'; otherwise nothing is changed.",
    ),
]


@app.callback()
def versions() -> None:
    """Register versions of a model, and say which one answers."""


@app.command()
def register(
    source: Annotated[
        str,
        typer.Argument(
            help="A run of 'glassbox evaluate' (or 'shipped'), a .skops file, FILE.py:FUNCTION or "
            "MODULE:FUNCTION."
        ),
    ],
    model: Annotated[
        str, typer.Option("--model", help="Registered model that it becomes a version of.")
    ] = DEFAULT_MODEL,
    name: Annotated[
        str | None,
        typer.Option("--name", help="Unique name; by default as default_model_v2."),
    ] = None,
    alias: Annotated[
        str | None, typer.Option("--alias", help="Alias that is to name it, as 'challenger'.")
    ] = None,
    schema: Annotated[
        Path | None,
        typer.Option("--schema", help="JSON file: names, types and ranges of the features."),
    ] = None,
    trust: Annotated[
        list[str] | None,
        typer.Option("--trust", help="Type that a .skops file may make; may be repeated."),
    ] = None,
    example: Annotated[
        str | None,
        typer.Option("--example", help="Features as JSON, answered once before it is registered."),
    ] = None,
    unchecked: Annotated[
        bool, typer.Option("--unchecked", help="Do not load it first to see that it answers.")
    ] = False,
    reason: Reason = None,
    json: options.AsJson = False,
) -> None:
    """Register a version: its files are copied, checked, loaded once and never change.

    The same content is the same version, however often it is registered. Nothing answers
    differently until an alias says so.
    """
    from glassbox.cli.rollout.versions_showing import measured_of, summary_of, version_json
    from glassbox.rollout.versions.registering import Offer
    from glassbox.rollout.versions.seeding import seed

    runtime = Runtime.load()
    registry = runtime.registry(is_strict=False)
    offer = Offer(
        source=source,
        model=model,
        name=name,
        input_schema=_read_json(schema.read_bytes(), str(schema)) if schema else None,
        trusted_types=tuple(trust or ()),
        example=_read_json(example.encode(), "--example") if example else None,
    )
    with progress("Loading it once", quiet=json):
        loaders = None if unchecked else runtime.version_loaders()
        made = runtime.registrar(registry, loaders).register(offer, actor=actor())
    version = made.version
    seed(registry, runtime.settings.rollout, is_strict=False)
    now = registry.snapshot(is_fresh=True)
    if alias is not None and now.number_of(alias, model) != version.number:
        _point(registry, alias, version, reason or f"registered as {alias}")
    now = registry.snapshot(is_fresh=True)
    if json:
        print_json({**version_json(version, now), "is_new": made.is_new})
        return
    said = "Registered" if made.is_new else "Registered already, as"
    measured = measured_of(version)
    print_text(
        f"{said} {version.name} ({version.uri}): {summary_of(version)}"
        f"{f'; {measured}' if measured else ''}."
    )
    if aliases := now.aliases_of(version):
        note(f"It is {' and '.join(aliases)}.")
    else:
        see = f"glassbox versions alias challenger {version.name}"
        note(f"Nothing asks it yet. Let it see copies: {see}")


@app.command("list")
def list_versions(model: ModelOption = None, json: options.AsJson = False) -> None:
    """List the versions with their aliases."""
    from glassbox.cli.rollout.versions_showing import show_list, version_json
    from glassbox.rollout.versions.seeding import unheeded

    runtime = Runtime.load()
    registry = runtime.registry(is_strict=False)
    now = registry.snapshot()
    found = [each for each in now.versions if model in (None, each.model)]
    if json:
        rows = [version_json(each, now) for each in found]
        print_json({"revision": now.revision, "versions": rows, "aliases": now.aliases})
        return
    show_list(found, now)
    for words in unheeded(registry, runtime.settings.rollout):
        note(words)
    if not found:
        named = "" if model in (None, DEFAULT_MODEL) else f" --model {model}"
        note(f"No versions yet. Register a run: glassbox versions register RUN{named}")


@app.command()
def show(what: What, model: ModelOption = None, json: options.AsJson = False) -> None:
    """Show all that is known of a version, and whether its files are still what they were."""
    from glassbox.cli.rollout.versions_showing import show_version, version_json
    from glassbox.rollout.versions.store_of_versions import VersionStore

    runtime = Runtime.load()
    registry = runtime.registry(is_strict=False)
    version = registry.version(what, model)
    if json:
        print_json(version_json(version, registry.snapshot()))
    else:
        show_version(version, registry.snapshot())
    if version.kind != "callable" or version.metadata.get("is_file"):
        VersionStore(runtime.settings.paths.versions).checked(version)
        note("Its files are what was registered.")


@app.command()
def alias(
    name: Annotated[
        str, typer.Argument(help="champion, challenger, challenger-2, …, or a word of your own.")
    ],
    what: Annotated[
        str | None, typer.Argument(help="Version that it is to name; leave out with --remove.")
    ] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Take the alias away.")] = False,
    expected: Expected = None,
    reason: Reason = None,
    model: ModelOption = None,
    json: options.AsJson = False,
) -> None:
    """Set, move or remove an alias; setting 'champion' changes which version answers.

    A new champion is no challenger any more, and the old one becomes previous_champion. To bring
    in a version step by step, use 'glassbox rollout start' instead.
    """
    if (what is None) != remove:
        raise InvalidValue("version", what, "a version, or --remove")
    registry = Runtime.load().registry(is_strict=False)
    if what is not None:
        version = registry.version(what, model)
        line = _point(registry, name, version, reason or "set by hand", expected)
    else:
        model = model or _only_model(registry)
        line = registry.move_alias(
            model,
            name,
            None,
            expected=_expected(registry, model, name, expected),
            actor=actor(),
            reason=reason or "removed by hand",
        )
    _told(registry, line, json=json)


@app.command()
def rollback(
    expected: Expected = None,
    reason: Reason = None,
    model: ModelOption = None,
    json: options.AsJson = False,
) -> None:
    """Let the previous champion answer again, at once."""
    registry = Runtime.load().registry(is_strict=False)
    model = model or _only_model(registry)
    line = registry.rollback(
        model,
        expected_champion=_expected(registry, model, CHAMPION, expected),
        actor=actor(),
        reason=reason or "rolled back by hand",
    )
    _told(registry, line, json=json)


@app.command()
def history(
    model: ModelOption = None,
    alias: Annotated[str | None, typer.Option("--alias", help="Only of this alias.")] = None,
    limit: Annotated[int, typer.Option("--limit", help="Most lines.", min=1, max=1000)] = 50,
    json: options.AsJson = False,
) -> None:
    """Show who moved which alias, when and why; newest first."""
    from glassbox.cli.rollout.versions_showing import show_history

    registry = Runtime.load().registry(is_strict=False)
    lines = registry.history(model, limit, alias=alias)
    if json:
        print_json(lines)
        return
    show_history(lines)


@app.command("export-mlflow")
def export_mlflow(
    uri: Annotated[
        str, typer.Argument(help="MLflow's address, as https://HOST or sqlite:///mlflow.db.")
    ],
    model: ModelOption = None,
    json: options.AsJson = False,
) -> None:
    """Write versions, their evaluations and aliases to MLflow; again whenever you like.

    What is there already is left as it is; aliases are brought up to date.
    """
    from glassbox.rollout.versions.mlflow_export import export
    from glassbox.rollout.versions.store_of_versions import VersionStore

    runtime = Runtime.load()
    registry = runtime.registry(is_strict=False)
    with progress("Writing to MLflow", quiet=json):
        done = export(registry, VersionStore(runtime.settings.paths.versions), uri, model=model)
    if json:
        print_json(done)
        return
    n_aliases = sum(len(each) for each in done.aliases.values())
    print_text(
        f"{counted(done.n_new, 'version')} written to MLflow, "
        f"{counted(done.n_known, 'was there', 'were there')}; "
        f"{counted(n_aliases, 'alias is', 'aliases are')} as here."
    )


def _point(
    registry: Registry, alias: str, version: Version, reason: str, expected: str | None = None
) -> AliasMove:
    now = registry.snapshot(is_fresh=True)
    if alias.startswith(CHALLENGER) and now.aliased(CHAMPION, version.model) is None:
        remedy = f"{version.model!r} has none yet: glassbox versions alias champion VERSION"
        allowed = "a version to be compared with a champion"
        raise InvalidValue(alias, version.name, allowed, remedy=remedy)
    if expected is None and now.number_of(alias, version.model) == version.number:
        raise InvalidValue(alias, version.name, "another version: it is this one already")
    return registry.move_alias(
        version.model,
        alias,
        version.number,
        expected=_expected(registry, version.model, alias, expected),
        actor=actor(),
        reason=reason,
    )


def _expected(registry: Registry, model: str, alias: str, given: str | None) -> int | None:
    """Return the number that an alias must name: as given, or as it is now."""
    if given is None:
        return registry.snapshot(is_fresh=True).number_of(alias, model)
    return None if given == "none" else registry.version(given, model).number


def _told(registry: Registry, line: AliasMove, *, json: bool) -> None:
    from glassbox.cli.rollout.versions_showing import show_move

    if json:
        print_json(line)
        return
    now = registry.snapshot()
    after = None if line.after is None else now.numbered(line.after, line.model)
    before = None if line.before is None else now.numbered(line.before, line.model)
    show_move(line, after, before)
    if line.alias == CHAMPION:
        back = now.aliased(PREVIOUS_CHAMPION, line.model)
        words = f" Back to {back.name}: glassbox versions rollback" if back else ""
        note(f"Running servers follow within a second.{words}")
    elif meant := _meant(line.alias):
        note(f"Servers do nothing with an alias {line.alias!r}. Did you mean {meant!r}?")


def _meant(alias: str) -> str:
    """Return the alias that servers act on and of which another one is a slip of the keyboard."""
    known = (CHAMPION, CHALLENGER, PREVIOUS_CHAMPION)
    if alias in known or alias.startswith(f"{CHALLENGER}-"):
        return ""
    return next(iter(difflib.get_close_matches(alias, known, n=1, cutoff=0.8)), "")


def _only_model(registry: Registry) -> str:
    models = {each.model for each in registry.snapshot().versions}
    return models.pop() if len(models) == 1 else DEFAULT_MODEL


def _read_json(content: bytes, where: str) -> dict[str, Any]:
    import orjson

    try:
        value = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise InvalidData(f"not valid JSON ({error})", source=where) from error
    if not isinstance(value, dict):
        raise InvalidData("expected a JSON object", source=where)
    return value

"""``glassbox rollout``: let a challenger become champion step by step, or find out why it did not.

Works on the database directly; a running server carries a rollout on, and follows within seconds.
Parses, makes one call, prints.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from glassbox.cli.arguments import options
from glassbox.cli.rollout.acting import Reason, actor
from glassbox.cli.rollout.experiment import app as experiment
from glassbox.cli.terminal.console import note, print_json, print_text
from glassbox.errors import ConflictError, UnknownName
from glassbox.rollout.version import DEFAULT_MODEL, option_of
from glassbox.runtime import Runtime

if TYPE_CHECKING:
    from glassbox.rollout.decisions.controller import Controller
    from glassbox.rollout.decisions.status import RolloutStatus

app = typer.Typer(
    help="Let a challenger become champion step by step, or find out why it did not.",
    pretty_exceptions_enable=False,
    no_args_is_help=True,
)
"""The ``rollout`` group."""

Which = Annotated[
    str | None, typer.Argument(help="Rollout, as 'status --all' lists it; by default the latest.")
]
ModelOption = Annotated[str, typer.Option("--model", help="Registered model.")]


@app.callback()
def rollout() -> None:
    """Let a challenger become champion step by step, or find out why it did not."""


@app.command()
def start(
    challenger: Annotated[str, typer.Argument(help="Version: name, number, alias or address.")],
    plan: Annotated[
        Path | None,
        typer.Option("--plan", help="TOML file with steps, times and [limits]; see the docs."),
    ] = None,
    model: ModelOption = DEFAULT_MODEL,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only see copies, and say what would be done.")
    ] = False,
    confirm: Annotated[
        bool, typer.Option("--confirm", help="Wait for 'rollout promote' before the promotion.")
    ] = False,
    reason: Reason = None,
    json: options.AsJson = False,
) -> None:
    """Start a rollout: shadow, canary steps, promotion, bake.

    From now on the challenger sees a copy of every request. It answers a growing share once all
    gates pass, becomes champion if they still do, and is taken back as soon as one fails.
    """
    from dataclasses import replace

    from glassbox.rollout.decisions.plan import RolloutPlan, load_plan

    asked = RolloutPlan() if plan is None else load_plan(plan)
    if confirm:
        asked = replace(asked, confirm=True)
    status = _controller().start(
        challenger, asked, model=model, actor=actor(), reason=reason or "", dry_run=dry_run
    )
    _told(status, json=json)
    if not json:
        watch = f"glassbox rollout status{option_of(model)} --watch"
        note(f"A running server carries it on. Watch it: {watch}")


@app.command()
def status(
    rollout_id: Which = None,
    model: Annotated[
        str | None,
        typer.Option("--model", help=f"Registered model; {DEFAULT_MODEL!r}, or all with --all."),
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="List rollouts, the latest 50, newest first.")
    ] = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Print a line at each change until it ends.")
    ] = False,
    json: options.AsJson = False,
) -> None:
    """Show where a rollout stands, and what each gate says."""
    from glassbox.cli.rollout.rollouts_showing import follow, show_evidence, show_list, show_status

    controller = _controller()
    if every:
        found = controller.listed(model)
        if json:
            print_json(found)
        else:
            show_list(found)
        return
    now = _found(controller, rollout_id, model or DEFAULT_MODEL)
    if watch:
        now = follow(controller, now, note if json else print_text)
    if json:
        print_json(now)
    elif watch:
        show_evidence(now)
    else:
        show_status(now)


@app.command()
def why(
    rollout_id: Which = None, model: ModelOption = DEFAULT_MODEL, json: options.AsJson = False
) -> None:
    """Tell the whole story of a rollout: every step, and the gates it rested on."""
    from glassbox.cli.rollout.rollouts_showing import show_story

    found = _found(_controller(), rollout_id, model)
    if json:
        print_json(found.transitions)
    else:
        show_story(found)


@app.command()
def pause(
    rollout_id: Which = None,
    model: ModelOption = DEFAULT_MODEL,
    reason: Reason = None,
    json: options.AsJson = False,
) -> None:
    """Hold a rollout where it is; a gate that fails takes it back all the same."""
    _say(lambda it: it.pause, rollout_id, model, reason, json=json)


@app.command()
def resume(
    rollout_id: Which = None,
    model: ModelOption = DEFAULT_MODEL,
    reason: Reason = None,
    json: options.AsJson = False,
) -> None:
    """Let a held rollout go on."""
    _say(lambda it: it.resume, rollout_id, model, reason, json=json)


@app.command()
def promote(
    rollout_id: Which = None,
    model: ModelOption = DEFAULT_MODEL,
    force: Annotated[
        bool, typer.Option("--force", help="Although there is doubt; never although a gate fails.")
    ] = False,
    reason: Reason = None,
    json: options.AsJson = False,
) -> None:
    """Confirm a rollout that waits for it, or promote with --force."""
    _say(lambda it: partial(it.promote, force=force), rollout_id, model, reason, json=json)


@app.command()
def finish(
    rollout_id: Which = None,
    model: ModelOption = DEFAULT_MODEL,
    reason: Reason = None,
    json: options.AsJson = False,
) -> None:
    """End the bake now: the new champion stays."""
    _say(lambda it: it.finish, rollout_id, model, reason, json=json)


@app.command()
def abort(
    rollout_id: Which = None,
    model: ModelOption = DEFAULT_MODEL,
    reason: Reason = None,
    json: options.AsJson = False,
) -> None:
    """Roll back at once, wherever the rollout stands."""
    _say(lambda it: it.abort, rollout_id, model, reason, json=json)


@app.command()
def plan(
    path: Annotated[Path | None, typer.Argument(help="TOML file; none shows the default.")] = None,
    json: options.AsJson = False,
) -> None:
    """Show a plan with everything that it leaves to the defaults, as TOML; checks it, too."""
    from glassbox.cli.rollout.rollouts_showing import as_toml
    from glassbox.rollout.decisions.plan import RolloutPlan, load_plan

    found = RolloutPlan() if path is None else load_plan(path)
    if json:
        print_json(found.to_json())
    else:
        typer.echo(as_toml(found))


app.add_typer(experiment, name="experiment")


def _controller() -> "Controller":
    from glassbox.rollout.decisions.controller import Controller
    from glassbox.rollout.decisions.rollouts import RolloutStore

    runtime = Runtime.load()
    registry = runtime.registry(is_strict=False)
    store = runtime.inference_store()
    return Controller(registry, store, RolloutStore(store.database))


def _found(controller: "Controller", rollout_id: str | None, model: str) -> "RolloutStatus":
    if rollout_id is not None:
        return controller.status(rollout_id)
    latest = controller.listed(model, limit=1)
    if not latest:
        others = sorted({each.model for each in controller.listed()})
        remedy = f"Start one: glassbox rollout start CHALLENGER{option_of(model)}"
        if others:
            remedy = f"There are some of {', '.join(others)}: add --model {others[0]}"
        raise UnknownName("rollout of", model, remedy=remedy)
    return controller.status(latest[0].id)


def _say(
    verb: Callable[["Controller"], Callable[..., "RolloutStatus"]],
    rollout_id: str | None,
    model: str,
    reason: str | None,
    *,
    json: bool,
) -> None:
    """Say a verb to a rollout that is under way, and show what came of it."""
    controller = _controller()
    which = _under_way(controller, rollout_id, model)
    _told(verb(controller)(which, actor=actor(), reason=reason or ""), json=json)


def _under_way(controller: "Controller", rollout_id: str | None, model: str) -> str:
    if rollout_id is not None:
        return rollout_id
    now = controller.current(model)
    if now is None:
        raise ConflictError(
            f"No rollout of {model!r} is under way. "
            f"See the last one: glassbox rollout status{option_of(model)}"
        )
    return now.id


def _told(done: "RolloutStatus", *, json: bool) -> None:
    from glassbox.cli.rollout.rollouts_showing import show_line

    if json:
        print_json(done)
    else:
        show_line(done)

"""``glassbox audit``: the kept predictions, looked at, checked and removed.

Talks to the database that the settings name, whether a server runs or not. Knows no HTTP.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from glassbox.cli.arguments import options
from glassbox.cli.arguments.moments import Moment, parse_moment, to_second
from glassbox.cli.rollout.acting import actor
from glassbox.cli.rollout.audit_showing import entry, show_records, show_summary, verdict
from glassbox.cli.terminal.console import note, print_json, print_table
from glassbox.cli.terminal.exit_codes import ExitCode
from glassbox.errors import InvalidValue, UnknownName
from glassbox.runtime import Runtime
from glassbox.wording import counted

if TYPE_CHECKING:
    from glassbox.audit import Head, InferenceStore

app = typer.Typer(help="The kept predictions.", pretty_exceptions_enable=False)
"""The ``audit`` group."""

RequestId = Annotated[str, typer.Argument(help="Name of the request, as the answer carried it.")]


@app.callback()
def audit() -> None:
    """The kept predictions: look at them, check that nothing was changed, remove them."""


@app.command()
def summary(
    model: Annotated[str | None, typer.Option(help="Only this registered model.")] = None,
    json: options.AsJson = False,
) -> None:
    """Show the numbers of the window of the latest predictions."""
    from glassbox.audit import AuditRing

    with _store() as (store, runtime):
        ring = AuditRing(runtime.settings.audit.cap)
        ring.fill(store.recent(ring.cap, model=model))
        found, kept = ring.summary(model), store.counts()
        latest = () if found.rolling_count else store.recent(ring.cap)
        others = sorted({each.primary.model for each in latest})
    if json:
        print_json(found)
        return
    show_summary(found, kept)
    if others:
        note(f"None of {model!r}; the latest predictions are of {', '.join(others)}.")


@app.command()
def recent(
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="Most predictions.")] = 20,
    model: Annotated[
        str | None, typer.Option(help="Only those asked of this registered model.")
    ] = None,
    model_version: Annotated[
        str | None, typer.Option("--version", help="Only those that this version answered.")
    ] = None,
    status: Annotated[str | None, typer.Option(help="Only 'success' or 'error'.")] = None,
    label: Annotated[str | None, typer.Option(help="Only those answered with this class.")] = None,
    min_diff: Annotated[
        float | None, typer.Option(min=0.0, help="Least difference of a challenger.")
    ] = None,
    segment: Annotated[str | None, typer.Option(help="NAME=VALUE of a segment.")] = None,
    json: options.AsJson = False,
) -> None:
    """List the latest predictions, newest first."""
    from glassbox.audit.records import segment_of

    if status not in (None, "success", "error"):
        raise InvalidValue("--status", status, "success or error")
    with _store() as (store, _):
        found = store.recent(
            limit,
            model=model,
            model_version=model_version,
            status=status,  # type: ignore[arg-type]
            label=label,
            min_diff=min_diff,
            segment=None if segment is None else segment_of(segment),
        )
    if json:
        print_json([entry(each) for each in found])
        return
    show_records(found)


@app.command()
def show(request_id: RequestId, json: options.AsJson = False) -> None:
    """Show everything that is kept of one prediction."""
    with _store() as (store, _):
        found, places = store.find(request_id), store.places(request_id)
    if found is None and not places:
        raise UnknownName("prediction", request_id)
    if json:
        print_json({"record": found, "events": places})
        return
    if found is None:
        note("Its content was erased.")
    else:
        rows = [(name, value) for name, value in entry(found).items() if value not in (None, {})]
        print_table(["what", "value"], rows)
    print_table(
        ["event", "what happened", "when (UTC)", ""],
        [
            (each.sequence, each.kind, to_second(each.time_s), "erased" if each.is_erased else None)
            for each in places
        ],
    )


@app.command()
def verify(
    known: Annotated[
        str | None,
        typer.Option(help="SEQUENCE:HASH of an earlier end, kept elsewhere; it must still hold."),
    ] = None,
    known_actions: Annotated[
        str | None,
        typer.Option("--known-actions", help="The same of the log of actions."),
    ] = None,
    json: options.AsJson = False,
) -> None:
    """Check that no byte of the logs was changed, removed or put in between.

    Ends with code 5 where one was. Keep what it prints as the end somewhere else: an end that was
    cut off, or a log that was written anew as a whole, is only seen by comparing with it.
    """
    from glassbox.audit import AuditLog

    head, head_of_actions = _head("--known", known), _head("--known-actions", known_actions)
    with _store() as (store, _):
        predictions = store.verify(head)
        actions = AuditLog(store.database).verify(head_of_actions)
    if json:
        print_json({"predictions": predictions, "actions": actions})
    else:
        print_table(["log", "events", "erased", "removed", "end"], verdict(predictions, actions))
    for name, found in (("predictions", predictions), ("actions", actions)):
        if found.broken is not None:
            note(
                f"The log of {name} breaks at event {found.broken.sequence}: {found.broken.reason}."
            )
    if predictions.broken is not None or actions.broken is not None:
        raise typer.Exit(ExitCode.INTEGRITY)


@app.command()
def export(
    path: Annotated[Path, typer.Argument(help="Parquet file to write.")],
    since: Moment = None,
    until: Moment = None,
    model_version: Annotated[
        str | None, typer.Option("--version", help="Only those that this version answered.")
    ] = None,
    json: options.AsJson = False,
) -> None:
    """Write predictions to a Parquet file, one row each."""
    from glassbox.audit.parquet import export as write

    since_s, until_s = parse_moment("--since", since), parse_moment("--until", until)
    with _store() as (store, _):
        head = store.head()
        found = store.range(
            -1e300 if since_s is None else since_s,
            1e300 if until_s is None else until_s,
            model_version=model_version,
        )
        n_rows = write(found, path, head=head)
    if json:
        print_json({"file": path, "n_rows": n_rows, "head": head})
        return
    note(f"{counted(n_rows, 'prediction')} in {path}.")


@app.command()
def erase(
    request_id: RequestId,
    reason: Annotated[str, typer.Option(help="Why; kept in the log for good.")],
    json: options.AsJson = False,
) -> None:
    """Remove the content of one prediction for good; its place in the chain stays."""
    with _store() as (store, _):
        n_erased = store.erase(request_id, actor=actor(), reason=reason)
    if json:
        print_json({"request_id": request_id, "erased_events": n_erased})
        return
    note(f"The content of {counted(n_erased, 'event')} of {request_id} is gone.")


@app.command()
def retain(
    max_age_s: Annotated[
        float | None, typer.Option(min=0.0, help="Seconds; by default audit.retention_s.")
    ] = None,
    max_bytes: Annotated[
        int | None, typer.Option(min=0, help="Bytes; by default audit.retention_bytes.")
    ] = None,
    json: options.AsJson = False,
) -> None:
    """Remove the oldest predictions now, by age and by size."""
    with _store() as (store, runtime):
        audit_settings = runtime.settings.audit
        if max_age_s is None and max_bytes is None:
            max_age_s, max_bytes = audit_settings.retention_s, audit_settings.retention_bytes
        if max_age_s is None and max_bytes is None:
            allowed = "at least one of --max-age-s and --max-bytes, or the settings of that name"
            raise InvalidValue("retention", None, allowed)
        done, kept = store.retain(max_age_s=max_age_s, max_bytes=max_bytes), store.counts()
    if json:
        print_json({"n_removed": done.n_removed, "last_sequence": done.last_sequence, "kept": kept})
        return
    remain = counted(kept.n_events, "is kept", "are kept")
    note(f"{counted(done.n_removed, 'event')} removed, {remain}.")


@app.command()
def labels(
    path: Annotated[Path, typer.Argument(help='JSON Lines: {"request_id": …, "label": …}.')],
    json: options.AsJson = False,
) -> None:
    """Tell what was true, for predictions of which it has become known."""
    from glassbox.audit.label_file import read_labels, record_labels

    told = read_labels(path)
    with _store() as (store, _):
        unknown = record_labels(store, told, actor=actor())
    if json:
        print_json({"accepted": len(told) - len(unknown), "unknown": unknown})
    else:
        note(f"{len(told) - len(unknown):,} of {counted(len(told), 'label')} taken.")
        if unknown:
            shown = ", ".join(unknown[:5]) + ("…" if len(unknown) > 5 else "")
            note(f"No prediction of the name: {shown}")
    if unknown:
        raise typer.Exit(ExitCode.INCOMPLETE)


@contextmanager
def _store() -> Iterator[tuple["InferenceStore", Runtime]]:
    runtime = Runtime.load()
    store = runtime.inference_store()
    try:
        yield store, runtime
    finally:
        store.close()
        store.database.close()


def _head(option: str, known: str | None) -> "Head | None":
    from glassbox.audit import Head

    if known is None:
        return None
    sequence, _, digest = known.partition(":")
    if not sequence.isdigit() or len(digest) != 64:
        raise InvalidValue(option, known, "SEQUENCE:HASH as verify prints it")
    return Head(int(sequence), digest)

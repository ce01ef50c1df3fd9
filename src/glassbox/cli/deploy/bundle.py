"""``glassbox bundle``: everything that is served as one described, hashed folder or archive."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import orjson
import typer

from glassbox.cli.arguments import options
from glassbox.cli.arguments.named import named_folders, named_runs, named_values
from glassbox.cli.terminal.console import Column, note, print_json, print_table, progress
from glassbox.cli.terminal.exit_codes import ExitCode
from glassbox.runtime import Runtime
from glassbox.wording import files_of

if TYPE_CHECKING:
    from glassbox.deploy.bundle import Bundle
    from glassbox.deploy.bundle.description import Value

app = typer.Typer(
    help="Pack a model reference, adapters, probes, classifiers and settings for every target.",
    pretty_exceptions_enable=False,
    no_args_is_help=True,
)

Place = Annotated[Path, typer.Argument(help="Folder or archive that 'bundle make' wrote.")]


@app.command()
def make(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder, or the archive's file.")],
    base: Annotated[
        str | None,
        typer.Option(
            "--base",
            "-m",
            help="Folder, hub name, s3:// address or 'tiny'; by default the model of the settings.",
        ),
    ] = None,
    revision: Annotated[
        str | None,
        typer.Option("--revision", help="Commit, tag or branch of a hub model; a commit is kept."),
    ] = None,
    name: options.ServedName = None,
    adapter: options.Adapters = None,
    classifier: options.Classifiers = None,
    probe: options.Probes = None,
    verifier: Annotated[
        Path | None, typer.Option("--verifier", help="Folder of a trained verifier.")
    ] = None,
    setting: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="KEY=VALUE of an engine or server setting, as engine.dtype=float16; a "
            "target's own settings win; may be repeated.",
        ),
    ] = None,
    archive: Annotated[
        bool | None,
        typer.Option(
            "--archive/--folder",
            help="One .tar.gz, the same bytes for the same content; by default by --out's name.",
        ),
    ] = None,
    with_weights: Annotated[
        bool | None,
        typer.Option(
            "--with-weights/--without-weights",
            help="Pack the base model's files; by default those of a folder only.",
        ),
    ] = None,
    replaces: Annotated[
        bool, typer.Option("--replace", help="Put it in the place of another bundle.")
    ] = False,
    json: options.AsJson = False,
) -> None:
    """Make a bundle: checked as a server would, hashed file by file, whole or not at all."""
    from glassbox.deploy.bundle import Contents, make_bundle

    contents = Contents(
        base=base,
        revision=revision,
        name=name,
        adapters={key: Path(value) for key, value in named_folders("--adapter", adapter).items()},
        classifiers=named_runs("--classifier", classifier),
        probes=tuple(probe or ()),
        verifier=verifier,
        settings={
            key: _value(value)
            for key, value in named_values("--set", setting, allowed="KEY=VALUE").items()
        },
    )
    packs = out.name.endswith((".tar.gz", ".tgz")) if archive is None else archive
    with progress("Packing bytes", quiet=json) as report:
        bundle = make_bundle(
            Runtime.load(),
            contents,
            out,
            archive=packs,
            with_weights=with_weights,
            replaces=replaces,
            report=report,
        )
    if json:
        print_json({"path": str(out), **bundle.to_json()})
        return
    _show(bundle)
    note(f"Wrote {out}. Serve it: glassbox serve --bundle {out}")


@app.command()
def inspect(path: Place, json: options.AsJson = False) -> None:
    """Show what a bundle says of itself; its files are not looked at."""
    from glassbox.deploy.bundle import read_bundle

    bundle = read_bundle(path)
    if json:
        print_json(bundle.to_json())
        return
    _show(bundle)


@app.command()
def verify(path: Place, json: options.AsJson = False) -> None:
    """Hash every file of a bundle and list every fault; exit code 5 if there is one."""
    from glassbox.deploy.bundle import verify_bundle

    with progress("Hashing bytes", quiet=json) as report:
        found = verify_bundle(path, report=report)
    if json:
        print_json(
            {
                "digest": found.bundle.digest,
                "whole": found.is_whole,
                "files": found.n_files,
                "n_bytes": found.n_bytes,
                "faults": [{"path": each.path, "reason": each.reason} for each in found.faults],
            }
        )
    elif found.is_whole:
        note(
            f"Whole: {files_of(found.n_files, found.n_bytes)}, every hash as described. "
            f"Digest {found.bundle.digest}"
        )
    else:
        print_table(
            ["file or part", "what is wrong"], [(each.path, each.reason) for each in found.faults]
        )
        note(f"{path} is not what it says it is: fetch it again, or make it again.")
    if not found.is_whole:
        raise typer.Exit(ExitCode.INTEGRITY)


def _show(bundle: "Bundle") -> None:
    base = bundle.base
    where = {
        "embedded": "comes with Glassbox",
        "folder": "a folder of the target",
        "hub": f"the hub, commit {base.revision}",
        "s3": "an object store",
    }[base.kind]
    rows: list[tuple[str, str, str, str]] = [
        (
            "base model",
            base.reference,
            base.digest[:12] or "not at hand",
            "its files are packed" if base.has_weights else where,
        )
    ]
    for kind, parts in (
        ("adapter", bundle.adapters),
        ("classifier", bundle.classifiers),
        ("probe", bundle.probes),
        ("verifier", {} if bundle.verifier is None else {"verifier": bundle.verifier}),
    ):
        rows += [(kind, name, part.digest[:12], part.path) for name, part in parts.items()]
    rows += [("setting", key, "", str(value)) for key, value in bundle.settings.items()]
    columns: list[Column | str] = ["part", "name", Column("digest", wraps=False), "where"]
    print_table(
        columns,
        rows,
        title=f"{bundle.name}: {files_of(len(bundle.files), bundle.n_bytes)}, made by "
        f"Glassbox {bundle.glassbox}",
    )
    note(f"Digest {bundle.digest}")


def _value(text: str) -> "Value":
    """Return a setting's value: JSON's numbers and truths as such, all else as text."""
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return text
    return value if isinstance(value, str | int | float | bool) or value is None else text

"""``glassbox sae``: look at sparse autoencoders, and train some.

Parses, makes one call, prints. Knows nothing of formats or training.
"""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from glassbox.cli.arguments import options
from glassbox.cli.pathways.sae_texts import read_plain_texts
from glassbox.cli.terminal.console import Column, note, print_json, print_table, progress
from glassbox.errors import InvalidData, InvalidValue, UnknownName
from glassbox.runtime import Runtime
from glassbox.wording import percent

if TYPE_CHECKING:
    from glassbox.pathways.saes.inspecting import Inspection
    from glassbox.pathways.saes.readers.reader import SaeReader
    from glassbox.pathways.saes.training.metrics import SaeMetrics
    from glassbox.pathways.saes.training.recipe import SaeKind

app = typer.Typer(
    help="Sparse autoencoders: look at those of any format, and train some.",
    pretty_exceptions_enable=False,
    no_args_is_help=True,
)
"""The ``sae`` group."""

Texts = Annotated[
    str | None,
    typer.Option(
        "--texts",
        help="What the model reads: a text a line, JSON Lines with 'text' or 'prompt', or 'tiny'.",
    ),
]


@app.callback()
def sae() -> None:
    """Sparse autoencoders: look at those of any format, and train some."""


@app.command()
def inspect(
    path: Annotated[
        Path, typer.Argument(metavar="PATH", help="An SAE, or a folder that holds one a layer.")
    ],
    model: options.Model = None,
    texts: Texts = None,
    n_tokens: Annotated[
        int, typer.Option("--tokens", help="Positions that are measured on.", min=64)
    ] = 4096,
    layer: Annotated[
        int | None,
        typer.Option("--layer", help="Block, 0-based, where a file does not say it.", min=0),
    ] = None,
    convention: Annotated[
        str,
        typer.Option("--convention", help="How Llama Scope is read: 'openmoss' or 'saelens'."),
    ] = "openmoss",
    json: options.AsJson = False,
) -> None:
    """Show what SAE files hold; with a model, measure L0 and explained variance on its residuals.

    Refuses what cannot be: then the command fails and says what is wrong.
    """
    from glassbox.pathways.saes.readers.opening import find_saes, open_sae

    if texts is not None and model is None:
        raise InvalidValue("--model", None, "a model, where there are --texts for it to read")
    folders = list(find_saes(path)) or [path] if path.is_dir() else [path]
    with progress("Reading SAEs", quiet=json) as told:
        readers = []
        rows = []
        for done, each in enumerate(folders, start=1):
            readers.append(open_sae(each, layer=layer, convention=convention))
            rows.append(_described(readers[-1]))
            told(done, len(folders))
    found = None if model is None else _measured(readers, model, texts, n_tokens, quiet=json)
    if found is not None:
        for row, one in zip(sorted(rows, key=lambda row: row["layer"]), found, strict=True):
            row["measured"] = one.to_json()
    if json:
        print_json({"saes": rows})
    else:
        _show_files(rows)
        if found is not None:
            _show_measured(found)
    problems = [f"layer {one.report.layer}: {said}" for one in found or () for said in one.problems]
    if problems:
        raise InvalidData(
            f"implausible: {'; '.join(problems)}. The SAEs may be for another model or layer, or "
            "be read in the wrong convention",
            source=str(path),
        )


@app.command()
def train(
    texts: Annotated[
        str,
        typer.Option(
            "--texts",
            help="What the model reads: a text a line, JSON Lines with 'text' or 'prompt', or "
            "'tiny'.",
        ),
    ],
    out: Annotated[
        Path,
        typer.Option("--out", "-o", help="Folder of the SAEs; the same one goes on after a kill."),
    ],
    layers: Annotated[
        str, typer.Option("--layers", help="'all', or blocks such as 0,4,7.")
    ] = "all",
    latents: Annotated[int, typer.Option("--latents", help="Latents of each SAE.", min=2)] = 512,
    k: Annotated[int, typer.Option("--k", help="Latents active a token.", min=1)] = 16,
    kind: Annotated[
        str,
        typer.Option(
            "--kind",
            help="'batchtopk' (k on average, written as JumpReLU) or 'topk' (k of every token).",
        ),
    ] = "batchtopk",
    n_tokens: Annotated[
        int, typer.Option("--tokens", help="Tokens seen, repetitions included.", min=1)
    ] = 2_000_000,
    batch_tokens: Annotated[int, typer.Option("--batch", help="Tokens to a step.", min=2)] = 1024,
    learning_rate: options.LearningRate = 2e-3,
    model: options.Model = None,
    seed: options.Seed = None,
    json: options.AsJson = False,
) -> None:
    """Train one SAE for each layer's output, and measure them on texts that they have not seen.

    A killed training goes on when the same command is given again, with the same result.
    """
    from glassbox.pathways.saes.training.recipe import SaeRecipe
    from glassbox.pathways.saes.training.train import train_saes

    recipe = SaeRecipe(
        d_sae=latents, k=k, kind=_kind(kind), n_tokens=n_tokens, batch_tokens=batch_tokens,
        learning_rate=learning_rate, seed=seed or 0,
    )  # fmt: skip
    wanted = _layers(layers)
    read = read_plain_texts(texts)
    runtime = Runtime.load()
    engine = runtime.open_engine(runtime.model_spec(model))
    try:
        documents = engine.codec.encode(read)
        with progress("Training SAEs", quiet=json) as told:
            trained = train_saes(
                engine, documents, out, recipe, layers=wanted,
                progress=lambda _point, step, n_steps: told(step, n_steps),
            )  # fmt: skip
    finally:
        engine.close()
    metrics = [asdict(each) | {"recovered": each.recovered} for each in trained.metrics]
    if json:
        print_json({"folder": str(out), "seconds": trained.seconds, "metrics": metrics})
        return
    _show_trained(trained.metrics)
    note(f"In {out}, one folder a layer, in SAELens' format; {trained.seconds:.0f} s.")


def _kind(kind: str) -> "SaeKind":
    if kind not in ("batchtopk", "topk"):
        raise UnknownName("kind of SAE", kind, ("batchtopk", "topk"))
    return "topk" if kind == "topk" else "batchtopk"


def _layers(layers: str) -> tuple[int, ...]:
    """Return the blocks that were named; none of them means all."""
    if layers == "all":
        return ()
    try:
        return tuple(int(each) for each in layers.split(","))
    except ValueError as error:
        raise InvalidValue("--layers", layers, "'all', or blocks such as 0,4,7") from error


def _show_trained(metrics: "Sequence[SaeMetrics]") -> None:
    columns = [
        Column("layer", "right"), Column("L0", "right"), Column("explained variance", "right"),
        Column("dead", "right"), Column("loss, nats", "right"), Column("untouched", "right"),
        Column("recovered", "right"),
    ]  # fmt: skip
    rows = [
        (
            each.layer, f"{each.l0:.1f}", f"{each.explained_variance:.3f}",
            percent(each.dead_share, 1), f"{each.cross_entropy:.3f}",
            f"{each.cross_entropy_clean:.3f}", percent(each.recovered, 1),
        )
        for each in metrics
    ]  # fmt: skip
    print_table(columns, rows)
    note(
        f"On {metrics[0].n_tokens:,} tokens of texts left out of training. Loss: of the next "
        "token, with the layer's output replaced by its reconstruction; recovered: the share of "
        "what its replacement by a constant costs that the SAE avoids."
    )


def _described(reader: "SaeReader") -> dict[str, Any]:
    norms = reader.decoder_norms()
    source = reader.source
    return {
        "layer": reader.layer if reader.knows_layer else None,
        "d_in": reader.d_in,
        "d_out": reader.d_out,
        "d_sae": reader.d_sae,
        "k": reader.k,
        "input_norm": reader.input_norm,
        **asdict(source),
        "decoder_norm_mean": float(norms.mean()),
        "decoder_norm_min": float(norms.min()),
        "decoder_norm_max": float(norms.max()),
    }


def _measured(
    readers: "list[SaeReader]", model: str, texts: str | None, n_tokens: int, *, quiet: bool
) -> "list[Inspection]":
    from glassbox.pathways.saes.dictionaries import Dictionaries
    from glassbox.pathways.saes.inspecting import inspect_dictionaries

    dictionaries = Dictionaries(readers)
    if texts is None and model != "tiny":
        raise InvalidValue("--texts", None, "a file of texts for the model to read")
    read = read_plain_texts(texts or "tiny")
    runtime = Runtime.load()
    engine = runtime.open_engine(runtime.model_spec(model))
    try:
        with progress("Measuring SAEs", quiet=quiet) as told:
            return inspect_dictionaries(
                engine, dictionaries, read, n_tokens=n_tokens, progress=told
            )
    finally:
        engine.close()


def _show_files(rows: list[dict[str, Any]]) -> None:
    columns = [
        Column("layer", "right"), Column("format"), Column("reading"), Column("kind"),
        Column("latents", "right"), Column("width", "right"), Column("k", "right"),
        Column("numbers"), Column("decoder norm", "right"), Column("reads"),
    ]  # fmt: skip
    print_table(
        columns,
        [
            (
                row["layer"], row["format"], row["convention"], row["architecture"],
                f"{row['d_sae']:,}", row["d_in"], row["k"], row["dtype"],
                _norms(row), _place(row),
            )
            for row in rows
        ],
    )  # fmt: skip
    for path in sorted({str(Path(row["path"]).parent) for row in rows}):
        note(f"In {path}")


def _place(row: dict[str, Any]) -> str:
    """Return where an SAE reads, in few words where it is what its layer says already."""
    if row["hook_out"]:
        return f"{row['hook']} → {row['hook_out']}"
    return "block's output" if row["hook"].endswith("hook_resid_post") else row["hook"] or "unsaid"


def _norms(row: dict[str, Any]) -> str:
    low, mean, high = (row[f"decoder_norm_{each}"] for each in ("min", "mean", "max"))
    return f"{mean:.2f}" if high - low < 0.01 else f"{mean:.2f} ({low:.2f} to {high:.2f})"


def _show_measured(found: "list[Inspection]") -> None:
    columns = [
        Column("layer", "right"), Column("L0", "right"), Column("L0 at beginnings", "right"),
        Column("explained variance", "right"), Column("silent", "right"),
        Column("dense", "right"), Column("tokens", "right"), Column("verdict"),
    ]  # fmt: skip
    rows = []
    for one in found:
        report = one.report
        special = report.l0_excluded
        rows.append(
            (
                report.layer, f"{report.l0:.1f} ± {report.l0_sd:.1f}",
                None if special is None else f"{special:.1f}", f"{report.explained_variance:.3f}",
                percent(report.dead_share, 1), percent(report.dense_share, 1),
                f"{report.n_tokens:,}", "; ".join(one.problems) or "plausible",
            )
        )  # fmt: skip
    print_table(columns, rows)
    note(
        "Beginnings of texts and special tokens are left out of L0 and explained variance. Silent: "
        "latents that fired on none of these tokens; dense: on more than a tenth of them."
    )

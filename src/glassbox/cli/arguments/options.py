"""Options that several commands share, each described once."""

from pathlib import Path
from typing import Annotated

import typer

from glassbox import types


def _fraction(value: float | None) -> float | None:
    """Refuse what is no fraction by the name of its option, not by that of its setting."""
    if value is not None and not 0.0 < value < 1.0:
        hint = f": {value:g} % is {value / 100:g}" if 1 <= value < 100 else ""
        raise typer.BadParameter(f"{value:g} is not between 0 and 1{hint}")
    return value


Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        help="Folder or hub name (NAME, or NAME@REVISION) of a causal language model; 'tiny' is "
        "embedded.",
    ),
]
Data = Annotated[
    str,
    typer.Option(
        "--data",
        "-d",
        help="Labelled texts: CSV, TSV, JSON Lines, Parquet, 'label text' lines, a folder with a "
        "file per class, a hub name, or 'tiny'.",
    ),
]
Out = Annotated[
    Path | None,
    typer.Option("--out", "-o", help="Run folder; by default a name made from model and data."),
]
TextColumn = Annotated[
    str | None, typer.Option("--text-column", help="Column of the texts, where it is not obvious.")
]
LabelColumn = Annotated[
    str | None,
    typer.Option("--label-column", help="Column of the labels, where it is not obvious."),
]
DataFormat = Annotated[
    str | None,
    typer.Option(
        "--data-format",
        help="Read the data as 'csv', 'tsv', 'jsonl', 'parquet', 'lines', 'label-tab-text' and the "
        "like, where suffix and content mislead.",
    ),
]
StreamFormat = Annotated[
    str | None,
    typer.Option(
        "--data-format",
        help="Read the input as 'text', 'jsonl', 'csv' or 'tsv', where its suffix misleads.",
    ),
]
Encoding = Annotated[
    str | None, typer.Option("--encoding", help="Encoding of the data, as cp1252; else detected.")
]
BadRows = Annotated[
    types.BadRows,
    typer.Option("--bad-rows", help="Rows that cannot be used: an error, or left out and counted."),
]
LabelsFile = Annotated[
    Path | None,
    typer.Option("--labels", help="labels.toml: classes, verbalisers, instruction, template."),
]
Overlong = Annotated[
    types.OverlongPolicy,
    typer.Option("--overlong", help="What happens to texts over the model's context."),
]
Seed = Annotated[
    int | None,
    typer.Option("--seed", help="Decides split, bootstrap and order of training.", min=0),
]
Epochs = Annotated[int, typer.Option("--epochs", help="Passes over the training rows.", min=1)]
Rank = Annotated[
    int | None,
    typer.Option(
        "--rank", help="Rank of the LoRA updates; by default about 2 % are trained.", min=1
    ),
]
LearningRate = Annotated[
    float, typer.Option("--learning-rate", help="Peak of the learning rate.", min=0.0)
]
Quantization = Annotated[
    types.Quantization | None,
    typer.Option("--quantization", help="Weights of so many bits by bitsandbytes; CUDA only."),
]
MaxError = Annotated[
    float | None,
    typer.Option(
        "--max-error",
        help="Largest error rate among automated rows, in (0, 1); that of the settings if not "
        "given: 0.05.",
        callback=_fraction,
    ),
]
DemoMaxError = Annotated[
    float,
    typer.Option(
        "--max-error",
        help="Largest error rate among automated rows, in (0, 1).",
        callback=_fraction,
    ),
]
ConfidenceLevel = Annotated[
    float | None,
    typer.Option(
        "--confidence",
        help="Probability with which that promise must hold; that of the settings if not given: "
        "0.9.",
        callback=_fraction,
    ),
]
CostsFile = Annotated[
    Path | None,
    typer.Option("--costs", help="costs.toml: wrong_automated, human_review, automated."),
]
Run = Annotated[
    str | None,
    typer.Option(
        "--run", help="Run folder or name; by default the demo's run, else the one that ships."
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Server = Annotated[
    str | None,
    typer.Option(
        "--server", help="Ask a running server at this address, as http://127.0.0.1:8787."
    ),
]
Key = Annotated[str | None, typer.Option("--key", help="API key of that server.")]
ServedName = Annotated[
    str | None, typer.Option("--name", help="Name that requests give as their model.")
]
Adapters = Annotated[
    list[str] | None,
    typer.Option("--adapter", help="NAME=PATH of a LoRA adapter; may be repeated."),
]
Classifiers = Annotated[
    list[str] | None,
    typer.Option(
        "--classifier",
        help="Run, or NAME=RUN, whose classifier is served with its calibrator and threshold; may "
        "be repeated.",
    ),
]
Probes = Annotated[
    list[Path] | None, typer.Option("--probe", help="Folder of a trained probe; may be repeated.")
]

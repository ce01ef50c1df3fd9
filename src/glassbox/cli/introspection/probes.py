"""``glassbox probes``: train linear probes on hidden states, and look at them.

Parses, makes one call, prints. Knows nothing of states or fitting.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from glassbox.cli.arguments import options
from glassbox.cli.terminal.console import Column, note, print_json, print_table, print_text
from glassbox.cli.terminal.console import progress as progress_bar
from glassbox.errors import InvalidValue, UnknownName
from glassbox.runtime import Runtime
from glassbox.types import SCOPES
from glassbox.wording import with_interval

if TYPE_CHECKING:
    from glassbox.introspection.probes.figures import Detection, DomainFigures
    from glassbox.introspection.probes.training import TrainedProbe
    from glassbox.stats.intervals import Interval

app = typer.Typer(
    help="Linear probes: what a model's hidden states say about a text or an answer.",
    pretty_exceptions_enable=False,
)
"""The ``probes`` group."""

POOLINGS: Final = ("last", "mean")

Rows = Annotated[
    Path,
    typer.Option(
        "--data",
        "-d",
        help="JSON Lines or CSV of texts, or of prompts with responses, each with a target; or a "
        "folder of such files, one for each domain.",
    ),
]
Target = Annotated[str, typer.Option("--target", help="Column of what is to be found: 0 or 1.")]
Positive = Annotated[
    str | None,
    typer.Option("--positive", help="Value of the target that counts as found, if it has names."),
]
TextColumn = Annotated[str, typer.Option("--text-column", help="Column of texts.")]
Group = Annotated[
    str | None,
    typer.Option("--group", help="Column of what must not be divided, such as the entity."),
]
Domain = Annotated[
    str | None, typer.Option("--domain", help="Column of what a row is about, for figures by it.")
]
Adapter = Annotated[
    Path | None, typer.Option("--adapter", help="Folder of a LoRA adapter that runs.")
]


@app.callback()
def probes() -> None:
    """Linear probes: what a model's hidden states say about a text or an answer."""


@app.command()
def train(
    data: Rows,
    target: Target = "target",
    layers: Annotated[
        str, typer.Option("--layers", help="'all', or blocks such as 0,4,-1.")
    ] = "all",
    pooling: Annotated[str, typer.Option("--pooling", help="last, mean or both.")] = "last,mean",
    scope: Annotated[
        str | None,
        typer.Option(
            "--scope",
            help="Positions read: prompt, generated (the response) or all; by default "
            "the response, or the text where there is none.",
        ),
    ] = None,
    positive: Positive = None,
    text_column: TextColumn = "text",
    group: Group = None,
    domain: Domain = None,
    baseline: Annotated[
        list[str] | None,
        typer.Option("--baseline", help="Column of numbers that a probe has to beat; repeat."),
    ] = None,
    name: Annotated[str, typer.Option("--name", help="Key of the probe's readings.")] = "probe",
    max_fpr: Annotated[
        float, typer.Option("--max-fpr", help="False alarms that the threshold keeps, in (0, 1).")
    ] = 0.01,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Probe's folder; by default a name below runs/probes."),
    ] = None,
    model: options.Model = None,
    adapter: Adapter = None,
    seed: options.Seed = None,
    json: options.AsJson = False,
) -> None:
    """Fit a probe on every layer and pooling, and keep the one that folds of the data prefer.

    States are captured once and kept, so that a second target costs no second reading; an
    interrupted command goes on where it stopped.
    """
    from glassbox.introspection.probes.drawing import write_probe_charts
    from glassbox.introspection.probes.file import save_probe
    from glassbox.introspection.probes.rows import ProbeColumns, read_probe_rows
    from glassbox.introspection.probes.training import ProbeJob, figures_json, train_probe

    runtime = Runtime.load()
    columns = ProbeColumns(
        target=target, text=text_column, group=group, domain=domain,
        baselines=tuple(baseline or ()), positive=positive,
    )  # fmt: skip
    rows = read_probe_rows(data, columns)
    job = ProbeJob(
        name=name,
        layers=_layers(layers),
        pooling=_among("pooling", pooling.split(","), POOLINGS),
        scope=None if scope is None else _among("scope", [scope], SCOPES)[0],
        adapter=None if adapter is None else str(adapter),
        max_fpr=max_fpr,
        seed=runtime.settings.confidence.seed if seed is None else seed,
    )
    folder = out or runtime.settings.paths.runs / "probes" / name
    engine = runtime.open_engine(runtime.model_spec(model, adapter=adapter))
    states = runtime.settings.paths.runs / "states"
    trained = train_probe(engine, rows, job, states, lambda stage: progress_bar(stage))
    engine.close()
    save_probe(trained.probe, folder)
    charts = write_probe_charts(trained, folder / "charts")
    if json:
        print_json({"probe": folder, "charts": [each.png for each in charts]} | _plain(trained))
        return
    _show_training(trained, figures_json(trained))
    print_text(f"Probe: {folder}. Charts: {charts[0].png.parent}.")


@app.command()
def evaluate(
    probe: Annotated[Path, typer.Argument(help="Folder of a probe.")],
    data: Rows,
    target: Target = "target",
    positive: Positive = None,
    text_column: TextColumn = "text",
    group: Group = None,
    domain: Domain = None,
    model: options.Model = None,
    adapter: Adapter = None,
    json: options.AsJson = False,
) -> None:
    """Measure a probe on other rows; those that fitted it are left out and counted."""
    from glassbox.charts.chart import plain
    from glassbox.introspection.probes.evaluation import evaluate_probe
    from glassbox.introspection.probes.file import load_probe
    from glassbox.introspection.probes.rows import ProbeColumns, read_probe_rows

    runtime = Runtime.load()
    columns = ProbeColumns(
        target=target, text=text_column, group=group, domain=domain, positive=positive
    )
    rows = read_probe_rows(data, columns)
    loaded = load_probe(probe)
    engine = runtime.open_engine(runtime.model_spec(model, adapter=adapter))
    with progress_bar("Reading") as report:
        found = evaluate_probe(
            engine, loaded, rows, adapter=None if adapter is None else str(adapter),
            progress=report,
        )  # fmt: skip
    engine.close()
    if json:
        print_json(plain(found))
        return
    print_text(
        f"{found.probe!r}, trained to find {found.target}, looking for {found.found_target}: "
        f"{found.figures.n_rows} rows that it never saw; {found.n_seen} left out because their "
        "group fitted it."
    )
    _show_detection(found.figures, "These rows")
    _show_domains(found.domains)


@app.command("list")
def list_probes(
    folder: Annotated[
        Path | None, typer.Argument(help="Where to look; by default the runs folder.")
    ] = None,
    json: options.AsJson = False,
) -> None:
    """List the probes in a folder and below it."""
    from glassbox.introspection.probes.file import describe_probe, find_probes

    where = folder or Runtime.load().settings.paths.runs
    if folder is not None and not folder.is_dir():
        raise UnknownName("folder", str(folder))
    found = [(each, describe_probe(each)) for each in find_probes(where)]
    if json:
        print_json([{"folder": each, **fields} for each, fields in found])
        return
    if not found:
        print_text(f"No probes in {where}. Make one with 'glassbox probes train'.")
        return
    print_table(
        ["folder", "name", "finds", "model", "reads", Column("test AUROC", "right")],
        [
            (
                each,
                fields["name"],
                fields["target"],
                f"{fields['model']['name']} ({fields['model']['digest'][:8]})",
                _place(fields),
                _json_interval(fields["figures"].get("test", {}).get("auroc")),
            )
            for each, fields in found
        ],
    )


@app.command()
def show(
    probe: Annotated[Path, typer.Argument(help="Folder of a probe.")],
    json: options.AsJson = False,
) -> None:
    """Show what a probe is and what was measured about it; needs no model."""
    from glassbox.introspection.probes.file import describe_probe

    fields = describe_probe(probe)
    if json:
        print_json(fields)
        return
    model, figures = fields["model"], fields["figures"]
    limit = fields["threshold_logit"]
    rows: list[tuple[str, object]] = [
        ("name", fields["name"]),
        ("finds", fields["target"]),
        ("model", f"{model['name']}, digest {model['digest']}"),
        ("adapter", model["adapter_digest"] or "none: the base model"),
        ("reads", _place(fields)),
        ("kind", fields["kind"]),
        ("flags from", "no threshold: too few negative rows" if limit is None else
         f"logit {limit:.3f}, for at most {100 * fields['max_fpr']:g} % false alarms"),
        ("made from", fields["made_from"]),
    ]  # fmt: skip
    print_table(["", "value"], rows)
    if figures:
        _show_choice(figures)
        _show_baselines(figures)


def _layers(text: str) -> tuple[int, ...] | None:
    if text.strip() == "all":
        return None
    try:
        return tuple(int(each) for each in text.split(","))
    except ValueError as error:
        raise InvalidValue("layers", text, "'all', or whole numbers such as 0,4,-1") from error


def _among(what: str, given: list[str], known: tuple[str, ...]) -> Any:
    for each in given:
        if each.strip() not in known:
            raise UnknownName(what, each.strip(), known)
    return tuple(each.strip() for each in given)


def _plain(trained: "TrainedProbe") -> dict[str, Any]:
    from glassbox.charts.chart import plain

    probe = trained.probe
    found = {
        "name": probe.name, "target": probe.target, "point": probe.point, "kind": probe.kind,
        "pooling": probe.pooling, "scope": probe.scope, "threshold": probe.threshold,
        "figures": probe.figures,
    }  # fmt: skip
    return dict(plain(found))


def _show_training(trained: "TrainedProbe", figures: dict[str, Any]) -> None:
    probe, parts = trained.probe, trained.parts
    sizes = ", ".join(f"{name} {n} ({m} positive)" for name, (n, m) in parts.items())
    print_text(f"Finding {probe.target}. Rows: {sizes}; no group is in two parts.")
    _show_choice(figures)
    _show_detection(trained.test, "Test part")
    _show_baselines(figures)
    _show_domains(trained.domains)
    best = trained.baselines[0]
    if best.probe_gain.low <= 0:
        worse = "is worse than" if best.probe_gain.high < 0 else "has not been shown to beat"
        print_text(f"The probe {worse} the trivial reading {best.name!r} on these rows.")
    if probe.threshold is None:
        note(
            f"No threshold: {trained.negatives_needed:,} negative rows of different groups in the "
            f"calibrator part would do for {100 * (probe.max_fpr or 0):g} % false alarms. Bring "
            "more rows or raise --max-fpr."
        )


def _show_choice(figures: dict[str, Any]) -> None:
    choice = figures["choice"]
    chosen = choice["chosen"]
    penalty = "" if chosen["penalty"] is None else f", L2 penalty {chosen['penalty']:g}"
    print_text(
        f"Chosen on {choice['n_folds']} folds of the training part: layer "
        f"{chosen['place']['layer']}, {chosen['place']['pooling']}, {chosen['kind']}{penalty}. "
        f"AUROC there {chosen['auroc']:.3f}, the best of {choice['n_tried']} tried; corrected for "
        f"that choice {choice['corrected_auroc']:.3f}."
    )


def _show_detection(found: "Detection", title: str) -> None:
    rows: list[tuple[object, ...]] = [
        ("AUROC", _interval(found.auroc), "0.5 is chance"),
        (
            "found at 1 % false alarms",
            _interval(found.tpr_at_1_percent_fpr),
            "threshold found on these rows",
        ),
        (
            "ECE of the probability",
            _interval(found.ece),
            f"perfect calibration would show {found.null.mean:.3f}",
        ),
    ]
    if found.operating is not None:
        at = found.operating
        rows += [
            (
                "found at its threshold",
                _interval(at.true_positive_rate),
                f"prob {at.threshold:.3f}",
            ),
            ("false alarms at it", _interval(at.false_positive_rate), "of the negative rows"),
        ]
    print_table(
        ["figure", Column("value (95 % interval)", wraps=False), "to compare"],
        rows,
        title=f"{title}: {found.n_rows} rows, {found.n_positive} positive, {found.n_groups} groups",
    )


def _show_baselines(figures: dict[str, Any]) -> None:
    probe = figures["test"]["auroc"]
    print_table(
        ["reading", Column("test AUROC", wraps=False), Column("probe is better by", wraps=False)],
        [
            ("the probe", _json_interval(probe), None),
            *(
                (each["name"], _json_interval(each["auroc"]), _json_interval(each["probe_gain"]))
                for each in figures["baselines"]
            ),
        ],
        title="Beside trivial readings of the same rows",
    )


def _show_domains(found: "tuple[DomainFigures, ...]") -> None:
    if not found:
        return
    print_table(
        [
            "domain",
            Column("rows", "right"),
            Column("AUROC, seen in training", wraps=False),
            Column("AUROC, left out", wraps=False),
        ],
        [
            (each.name, each.n_rows, _interval(each.inside),
             "–" if each.outside is None else _interval(each.outside))
            for each in found
        ],
        title="In domain and out of domain",
    )  # fmt: skip


def _place(fields: dict[str, Any]) -> str:
    return f"layer {fields['point']['layer']}, {fields['pooling']} of {fields['scope']}"


def _interval(value: "Interval") -> str:
    return with_interval(value.estimate, value.low, value.high)


def _json_interval(value: dict[str, float] | None) -> str:
    if value is None:
        return "–"
    return with_interval(value["estimate"], value["low"], value["high"])

"""``evaluate``, ``tune`` and ``demo``: the main job from the command line."""

import re
import shlex
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from glassbox.cli.arguments import options
from glassbox.cli.confidence.results import draw_charts, print_outcome, print_results_table
from glassbox.cli.terminal.console import note, print_json, print_text, progress
from glassbox.runtime import DEMO, Runtime
from glassbox.types import TINY, Quantization

if TYPE_CHECKING:
    from glassbox.confidence.job import DataChoice, Job

Retune = Annotated[
    bool, typer.Option("--retune", help="Fit LoRA weights even if the run folder has some.")
]

DEMO_MAX_ERROR = 0.1
"""What the demo promises: its labels were drawn, so even a reader who knows all errs in 12 %."""


def evaluate(
    data: options.Data,
    model: options.Model = None,
    text_column: options.TextColumn = None,
    label_column: options.LabelColumn = None,
    data_format: options.DataFormat = None,
    encoding: options.Encoding = None,
    bad_rows: options.BadRows = "error",
    labels: options.LabelsFile = None,
    adapter: Annotated[
        Path | None, typer.Option("--adapter", help="Evaluate with this LoRA adapter as well.")
    ] = None,
    tune: Annotated[
        bool, typer.Option("--tune", help="Fit LoRA weights unless the run folder has them.")
    ] = False,
    retune: Retune = False,
    epochs: options.Epochs = 3,
    rank: options.Rank = None,
    learning_rate: options.LearningRate = 1e-3,
    sample: Annotated[
        int | None, typer.Option("--sample", help="Evaluate only so many held-out rows.", min=1)
    ] = None,
    max_error: options.MaxError = None,
    confidence: options.ConfidenceLevel = None,
    costs: options.CostsFile = None,
    overlong: options.Overlong = "error",
    label_bias: Annotated[
        bool,
        typer.Option("--label-bias", help="Take off class offsets, frozen on calibrator rows."),
    ] = False,
    samples: Annotated[
        int, typer.Option("--samples", help="Consistency samples a text (0: none).", min=0)
    ] = 10,
    paraphrases: Annotated[
        bool, typer.Option("--paraphrases", help="Also ask reworded and reordered prompts.")
    ] = False,
    quantization: options.Quantization = None,
    skip_charts: Annotated[bool, typer.Option("--skip-charts", help="Draw no charts.")] = False,
    seed: options.Seed = None,
    out: options.Out = None,
    json: options.AsJson = False,
) -> None:
    """Find out how far a model's labels can be trusted, and which can be automated.

    Splits the texts, asks the model, optionally tunes it, calibrates, chooses a threshold that
    keeps its promise, draws charts and writes a report. Start it again after an interruption and
    it goes on where it stopped.
    """
    from glassbox.confidence.analysis.costs import load_costs
    from glassbox.confidence.job import DataChoice
    from glassbox.engine.protocol import AdapterRecipe

    runtime = Runtime.load(_overrides(seed, max_error, confidence))
    choice = DataChoice(
        data,
        text_column=text_column,
        label_column=label_column,
        data_format=data_format,
        encoding=encoding,
        bad_rows=bad_rows,
        labels_file=labels,
        sample=sample,
    )
    job = replace(
        _job(runtime, model, choice, out, adapter, quantization),
        tuning="again" if retune else "missing" if tune else "no",
        recipe=AdapterRecipe(epochs=epochs, learning_rate=learning_rate),
        rank=rank,
        overlong=overlong,
        costs=None if costs is None else load_costs(costs),
        label_bias=label_bias,
        samples=samples,
        paraphrases=paraphrases,
        charts=not skip_charts,
    )
    _evaluate(runtime, job, as_json=json)
    if not json:
        run = shlex.quote(str(job.out))
        _try_next(
            f'classify --run {run} "A text of yours."',
            f"serve --model {shlex.quote(job.model.model)} --classifier {run}",
        )


def tune(
    data: options.Data,
    model: options.Model = None,
    text_column: options.TextColumn = None,
    label_column: options.LabelColumn = None,
    data_format: options.DataFormat = None,
    encoding: options.Encoding = None,
    bad_rows: options.BadRows = "error",
    labels: options.LabelsFile = None,
    retune: Retune = False,
    epochs: options.Epochs = 3,
    rank: options.Rank = None,
    learning_rate: options.LearningRate = 1e-3,
    overlong: options.Overlong = "error",
    quantization: options.Quantization = None,
    seed: options.Seed = None,
    out: options.Out = None,
    json: options.AsJson = False,
) -> None:
    """Fit LoRA weights to labelled texts; 'evaluate' on the same run folder uses them."""
    from glassbox.confidence.job import DataChoice
    from glassbox.confidence.pipeline import MainJob
    from glassbox.engine.protocol import AdapterRecipe

    runtime = Runtime.load(_overrides(seed, None, None))
    choice = DataChoice(
        data,
        text_column=text_column,
        label_column=label_column,
        data_format=data_format,
        encoding=encoding,
        bad_rows=bad_rows,
        labels_file=labels,
    )
    job = replace(
        _job(runtime, model, choice, out, None, quantization),
        tuning="again" if retune else "missing",
        recipe=AdapterRecipe(epochs=epochs, learning_rate=learning_rate),
        rank=rank,
        overlong=overlong,
    )
    fit = MainJob(job, runtime.open_engine, progress, note).tune()
    if json:
        print_json({"adapter": str(fit.folder), "digest": fit.digest, "best_step": fit.best_step})
        return
    print_text(f"Adapter written to {fit.folder}.")
    print_text(f"Next: glassbox evaluate --model {job.model.model} --data {data} --out {job.out}")


def show_main_job(max_error: float | None, out: Path | None) -> None:
    """Run the main job on the embedded model and dataset."""
    from glassbox.confidence.job import DataChoice

    runtime = Runtime.load(_overrides(None, max_error, None))
    folder = out or runtime.settings.paths.runs / DEMO
    job = replace(_job(runtime, TINY, DataChoice(TINY), folder), tuning="missing")
    _evaluate(runtime, job, as_json=False)
    _try_next(
        'classify "The room was not clean."',
        'logprobs "The food was great, but the waiter was rude."',
        f"threshold {folder} --max-error 0.12",
    )


def _try_next(*commands: str) -> None:
    print_text("\n  ".join(["Try next:", *(f"{_own_command()} {each}" for each in commands)]))


def _own_command() -> str:
    """Return how this program is called from here: after 'make demo' it is on nobody's path."""
    if shutil.which("glassbox"):
        return "glassbox"
    called = Path(sys.argv[0])
    return "python -m glassbox" if called.name == "__main__.py" else str(called)


def _evaluate(runtime: Runtime, job: "Job", *, as_json: bool) -> None:
    from glassbox.confidence.analysis.whole_run import summary
    from glassbox.confidence.run import RunFolder

    outcome = runtime.evaluate(job, progress, note)
    folder = RunFolder(job.out)
    if job.charts:
        draw_charts(outcome.analysis, folder)
    if as_json:
        print_json({"run": str(job.out), **summary(outcome.analysis)})
        return
    print_results_table(outcome.analysis)
    print_outcome(outcome.analysis, folder, is_drawn=job.charts)


def _job(
    runtime: Runtime,
    model: str | None,
    data: "DataChoice",
    out: Path | None,
    adapter: Path | None = None,
    quantization: Quantization | None = None,
) -> "Job":
    """Return a job as the settings have it: whoever asks replaces what its options say."""
    from glassbox.confidence.job import Job, Promise

    chosen = runtime.settings.confidence
    spec = runtime.model_spec(model, adapter=adapter, quantization=quantization)
    return Job(
        model=spec,
        data=data,
        out=out or runtime.settings.paths.runs / _run_name(spec.model, data.source),
        promise=Promise(chosen.max_error, chosen.confidence_level),
        seed=chosen.seed,
    )


def _run_name(model: str, data: str) -> str:
    stems = (re.sub(r"[^\w.-]+", "-", Path(each).name or each) for each in (model, data))
    return "-".join(stems)


def _overrides(
    seed: int | None, max_error: float | None, confidence: float | None
) -> dict[str, object]:
    return {
        "confidence.seed": seed,
        "confidence.max_error": max_error,
        "confidence.confidence_level": confidence,
    }

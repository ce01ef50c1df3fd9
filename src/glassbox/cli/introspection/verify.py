"""``verify``: is this answer right? And ``verify train``: teach the verifier on graded answers.

``verify`` is a group whose default command judges, so that a prompt can follow it directly.
"""

import math
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from glassbox.cli.arguments import options
from glassbox.cli.terminal.command_help import ReadableGroup
from glassbox.cli.terminal.console import (
    Column,
    note,
    output,
    print_json,
    print_table,
    print_text,
    visible,
)
from glassbox.cli.terminal.console import progress as progress_bar
from glassbox.cli.terminal.token_colours import PROBABILITY, coloured, legend
from glassbox.runtime import Runtime
from glassbox.wording import counted, listed

if TYPE_CHECKING:
    from glassbox.introspection.training.figures import Figures
    from glassbox.introspection.training.verifier import Trained
    from glassbox.introspection.verdict import Check, Verdict

DEFAULT = "judge"
"""Command that runs where the first word names none."""

VerifierFolder = Annotated[
    Path | None,
    typer.Option(
        "--verifier",
        help="Folder of a trained verifier; by default the one that ships, for its model.",
    ),
]


class DefaultGroup(ReadableGroup):
    """A group whose default command takes what is not the name of another."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the default command's name in front where the first word names none."""
        if args and args[0] not in (*self.commands, *ctx.help_option_names):
            args = [DEFAULT, *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=DefaultGroup,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Find out whether an answer can be believed: glassbox verify PROMPT [--response ANSWER]. "
    "All its options: glassbox verify judge --help.",
)
"""The group."""


@app.command(DEFAULT)
def judge(
    prompt: Annotated[str, typer.Argument(help="What was asked.")],
    response: Annotated[
        str | None,
        typer.Option(
            "--response", "-r", help="What was answered; without it the model writes an answer."
        ),
    ] = None,
    verifier: VerifierFolder = None,
    k: Annotated[
        int | None,
        typer.Option("--k", help="Times the model is asked again; 0 does not ask.", min=0),
    ] = None,
    paraphrase: Annotated[
        list[str] | None,
        typer.Option(
            "--paraphrase", help="Another wording of the prompt; may be repeated. By rule if none."
        ),
    ] = None,
    model: options.Model = None,
    json: options.AsJson = False,
) -> None:
    """Judge one response: how sure is an open model that it is right, and why?

    A prompt that is the name of a command goes after 'judge'.
    """
    if verifier is not None:
        from glassbox.introspection.verifier.file import VerifierManifest

        # What is not there is told before a model is loaded for it.
        VerifierManifest.load(verifier)
    runtime = Runtime.load()
    engine = runtime.open_engine(runtime.model_spec(model))
    try:
        judged = runtime.verifier(engine, verifier).verify(
            prompt, response, k=k, paraphrases=paraphrase or None
        )
    finally:
        engine.close()
    if json:
        print_json(asdict(judged) | {"confidence": judged.confidence})
    else:
        _show(judged)


@app.command("train")
def train(
    data: Annotated[
        Path,
        typer.Option(
            "--data",
            "-d",
            help="Graded responses, JSON Lines or CSV: prompt, response, correct; optional group, "
            "stratum, origin (given or written), part (test).",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the verifier.")],
    model: options.Model = None,
    k: Annotated[int, typer.Option("--k", help="Times the model is asked again.", min=0)] = 10,
    probe: Annotated[
        list[Path] | None, typer.Option("--probe", help="Folder of a probe; may be repeated.")
    ] = None,
    equivalence: Annotated[
        str,
        typer.Option(
            "--equivalence", help="When two answers are the same: 'exact' or 'normalised'."
        ),
    ] = "normalised",
    frame: Annotated[
        str | None,
        typer.Option("--frame", help="What stands around each prompt, with {prompt} in its midst."),
    ] = None,
    max_error: options.MaxError = None,
    confidence: options.ConfidenceLevel = None,
    seed: options.Seed = None,
    report: Annotated[
        bool, typer.Option("--report/--no-report", help="Draw charts and an HTML report.")
    ] = True,
    json: options.AsJson = False,
) -> None:
    """Fit fusion, calibrator and threshold on graded responses, and say what they reach.

    Killed anywhere, the same command goes on where it was.
    """
    from glassbox.introspection.evidence.witness import Plan, Witness, plain_encode
    from glassbox.introspection.probes.file import load_probe
    from glassbox.introspection.training.fusions import Recipe
    from glassbox.introspection.training.graded import read_graded
    from glassbox.introspection.training.verifier import train_verifier

    rows = read_graded(data)
    runtime = Runtime.load()
    settings = runtime.settings.confidence
    recipe = Recipe(
        max_error=settings.max_error if max_error is None else max_error,
        confidence_level=settings.confidence_level if confidence is None else confidence,
        seed=settings.seed if seed is None else seed,
    )
    probes = [load_probe(each) for each in probe or []]
    plan = Plan(k=k, equivalence=equivalence, frame=(frame or "{prompt}").replace("\\n", "\n"))
    engine = runtime.open_engine(runtime.model_spec(model))
    try:
        for each in probes:
            each.check(engine.info)
        witness = Witness(engine, plain_encode(engine.codec), plan)
        with progress_bar("Reading responses") as told:
            trained = train_verifier(witness, rows, out, recipe, probes=probes, progress=told)
    finally:
        engine.close()
    if report:
        from glassbox.introspection.training.report import write_report

        note(f"Report: {write_report(trained, out)}")
    if json:
        print_json(trained.manifest.figures)
    else:
        _show_training(trained, out)


def _show(verdict: "Verdict") -> None:
    console = output()
    shown = Text(visible(verdict.prompt), style="dim")
    shown.append("" if verdict.tokens[0].text[:1].isspace() else " ")
    probs = [math.exp(token.logprob) for token in verdict.tokens]
    shown.append_text(coloured([token.text for token in verdict.tokens], probs, PROBABILITY))
    console.print(shown, soft_wrap=True)
    if console.is_terminal:
        console.print(legend("probability", PROBABILITY))
    console.print()
    console.print(_headline(verdict))
    for span in verdict.spans:
        print_text(
            f"Surprising: {span.text!r} (characters {span.start} to {span.end}), least probable "
            f"token {100 * math.exp(span.logprob):.2g} %."
        )
    if verdict.samples:
        print_text(_own_answers(verdict))
    print_table(
        [
            "Check",
            Column("Value", "right"),
            "Speaks",
            Column("Weight", "right"),
            Column("Tokens", "right"),
            "What it reads",
        ],
        [_row(check) for check in verdict.checks],
    )
    print_text(f"{counted(verdict.n_tokens, 'token')}, {verdict.seconds:.2f} s.")
    for each in verdict.notes:
        note(f"Note: {each}")


def _headline(verdict: "Verdict") -> Text:
    accepted = verdict.decision == "accept"
    text = Text()
    text.append(" ACCEPT " if accepted else " REVIEW ", "bold white on #1b7837" if accepted
                else "bold white on #a63603")  # fmt: skip
    text.append(f"  uncertainty {100 * verdict.uncertainty:.1f} %", "bold")
    if verdict.threshold is not None:
        text.append(f"; accepted up to {100 * verdict.threshold:.1f} %")
    elif verdict.validated:
        text.append("; no level keeps the promise, so a person decides")
    whose = "the model's own answer" if verdict.origin == "written" else "the given answer"
    text.append(f" ({whose})")
    return text


def _own_answers(verdict: "Verdict") -> str:
    counts = Counter(sample.text for sample in verdict.samples)
    shown = listed([f"{text!r} {n}" for text, n in counts.most_common()], 5)
    agree = sum(sample.agrees for sample in verdict.samples)
    ways = len({sample.prompt for sample in verdict.samples})
    return (
        f"Asked {counted(len(verdict.samples), 'time')} in {counted(ways, 'wording')}, the model "
        f"answers {shown}: {agree} agree."
    )


def _row(check: "Check") -> tuple[object, ...]:
    speaks: str = "–"
    if check.weight > 0.005:
        speaks = "for it" if check.contribution > 0 else "against"
    return (
        check.name,
        # Adding zero takes the sign off a rounded -0.
        "–" if check.value is None else f"{round(check.value, 2) + 0.0:.2f}",
        speaks,
        f"{100 * check.weight:.0f} %" if check.weight else "",
        f"{check.n_tokens:,}" if check.n_tokens else "",
        f"Not read: {check.note}." if check.value is None else check.meaning,
    )


def _show_training(trained: "Trained", out: Path) -> None:
    figures: Figures = trained.figures
    ordered = sorted(figures.separation.items(), key=lambda pair: -pair[1].auroc.estimate)
    print_table(
        ["Reading", Column("AUROC", "right"), "95 % interval", "Fusion minus it"],
        [
            (
                name,
                f"{each.auroc.estimate:.3f}",
                f"{each.auroc.low:.3f} to {each.auroc.high:.3f}",
                "" if name == "fusion" else f"{each.behind.estimate:+.3f} ({each.behind.low:+.3f} "
                f"to {each.behind.high:+.3f})",
            )
            for name, each in ordered
        ],
        title=f"Right from wrong, on {figures.n_rows:,} test responses",
    )  # fmt: skip
    print_text(
        f"Calibration error {figures.ece.estimate:.3f}; a perfectly calibrated one would show "
        f"{figures.null.mean:.3f} with so many rows."
    )
    if figures.strata:
        print_table(
            ["Stratum", "Responses", Column("Wrong", "right"), Column("Mean uncertainty", "right")],
            [
                (
                    each.stratum,
                    each.origin,
                    f"{100 * each.error_rate:.1f} %",
                    f"{100 * each.mean_uncertainty:.1f} %",
                )
                for each in figures.strata
            ],
            title="Is the uncertainty honest?",
        )
    for fusion in trained.manifest.fusions:
        n_checks = counted(len(fusion.checks), "check")
        print_text(f"{fusion.origin.capitalize()}, {n_checks}. {fusion.promise}")
    print_text(
        f"On the test part {figures.n_accepted:,} of {figures.n_rows:,} responses are accepted, "
        f"{figures.n_accepted_wrong} of them wrong.\nVerifier: {out}"
    )

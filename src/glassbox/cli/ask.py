"""``classify`` and ``logprobs``: ask a finished classifier, or look into one answer."""

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from glassbox.cli import options
from glassbox.cli.console import Column, note, print_json, print_json_line, print_table, print_text
from glassbox.cli.console import progress as progress_bar
from glassbox.cli.exit_codes import ExitCode
from glassbox.errors import GlassboxError, InvalidValue
from glassbox.runtime import Runtime

if TYPE_CHECKING:
    from glassbox.confidence.classify import Labeller
    from glassbox.confidence.explain import Explanation, NextTokens


def classify(
    texts: Annotated[
        list[str] | None,
        typer.Argument(help="Texts; '-' reads standard input.", metavar="[TEXT]..."),
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option("--file", "-f", help="Texts, one a line, or CSV, TSV, JSON Lines."),
    ] = None,
    text_column: options.TextColumn = None,
    run: options.Run = None,
) -> None:
    """Answer texts with a label and a calibrated confidence, as JSON Lines in the same order.

    Reads and answers in constant memory. A line that cannot be used is answered with its error
    and its number, and the rest goes on; the exit code says if there was any.
    """
    from glassbox.confidence.classify import classify_stream

    given = texts or []
    if bool(given) == (file is not None):
        found = "texts and a file" if given else "nothing"
        raise InvalidValue("input", found, "texts, '-' or --file FILE, one of them")
    runtime = Runtime.load()
    labeller = runtime.labeller(runtime.run_folder(run))
    lines = _lines(given, file, text_column)
    n_bad = 0
    with progress_bar("Classifying", quiet=file is None) as report:
        for done, answered in enumerate(classify_stream(labeller, lines), start=1):
            n_bad += answered.error is not None
            print_json_line(answered.to_json())
            report(done, 0)
    if n_bad:
        note(f"{n_bad} lines could not be answered; their records say why.")
        raise typer.Exit(ExitCode.INCOMPLETE)


def _lines(
    given: list[str], file: Path | None, text_column: str | None
) -> Iterable[tuple[int, str | GlassboxError]]:
    from glassbox.confidence.unlabelled import stream_texts

    if file is not None:
        return stream_texts(file, text_column=text_column)
    if given == ["-"]:
        return stream_texts(sys.stdin.buffer, text_column=text_column)
    return _numbered(given)


def _numbered(texts: list[str]) -> Iterator[tuple[int, str]]:
    yield from enumerate(texts, start=1)


def logprobs(
    text: Annotated[str, typer.Argument(help="The text, or the prompt with --raw-prompt.")],
    model: Annotated[
        str | None,
        typer.Option(
            "--model", "-m", help="'tuned' (default) or 'base' of the run, or a model's folder."
        ),
    ] = None,
    top_k: Annotated[int, typer.Option("--top-k", help="Next tokens to show.", min=1)] = 10,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Print the label and its confidence only.")
    ] = False,
    raw_prompt: Annotated[
        bool, typer.Option("--raw-prompt", help="Give the text to the model as it is.")
    ] = False,
    run: options.Run = None,
    json: options.AsJson = False,
) -> None:
    """See how one confidence comes about: every log-probability behind it, step by step."""
    if raw_prompt:
        _show_next(_next_tokens(text, model, top_k, run), quiet=quiet, json=json)
        return
    from glassbox.confidence.explain import explain

    explanation = explain(_labeller(model, run), text, top_k=top_k)
    if json:
        print_json(explanation)
    elif quiet:
        print_text(f"{explanation.answer.label} {explanation.answer.confidence:.4f}")
    else:
        _show(explanation)


def _labeller(model: str | None, run: str | None) -> "Labeller":
    runtime = Runtime.load()
    return runtime.labeller(runtime.run_folder(run), model=model)


def _next_tokens(prompt: str, model: str | None, top_k: int, run: str | None) -> "NextTokens":
    from glassbox.confidence.explain import next_tokens

    if model not in (None, "base", "tuned"):
        runtime = Runtime.load()
        return next_tokens(runtime.open_engine(runtime.model_spec(model)), prompt, top_k=top_k)
    asked = _labeller(model, run).model
    return next_tokens(asked.engine, prompt, top_k=top_k, adapter=asked.adapter)


def _show_next(found: "NextTokens", *, quiet: bool, json: bool) -> None:
    if json:
        print_json(found)
    elif quiet:
        print_text(found.tokens[0].text)
    else:
        print_text(f"A language model predicts what comes next. After\n\n    {found.prompt}\n")
        _show_tokens(found)
        print_text(
            "log-prob is what the model computes; probability is e to its power. "
            f"Entropy {found.entropy:.2f} nats: 0 would be certainty."
        )


def _show_tokens(found: "NextTokens") -> None:
    print_table(
        [
            Column("Rank", "right"),
            "Next token",
            Column("log-prob", "right"),
            Column("Probability", "right"),
        ],
        [
            (each.rank, repr(each.text), f"{each.logprob:.3f}", f"{100 * each.prob:.2f} %")
            for each in found.tokens
        ],
        title="Most probable next tokens",
    )


def _show(found: "Explanation") -> None:
    print_text(f"1. The model reads this prompt:\n\n{found.next_tokens.prompt}\n")
    print_text("2. It gives every possible next token a probability:")
    _show_tokens(found.next_tokens)
    print_table(
        ["Says", "Counts for", Column("log-prob", "right"), Column("Probability", "right")],
        [
            (repr(each.text), each.label, f"{each.logprob:.3f}", f"{100 * each.prob:.3f} %")
            for each in found.verbalisers
        ],
        title="3. Ways of saying each class",
    )
    print_table(
        [
            "Class",
            Column("Total", "right"),
            Column("Share", "right"),
            Column("Calibrated", "right"),
        ],
        [
            (each.label, *(f"{100 * x:.2f} %" for x in (each.total, each.share, each.calibrated)))
            for each in found.classes
        ],
        title="4. Added up, shared out, calibrated",
    )
    print_text(
        f"Together the classes have {100 * found.label_mass:.1f} % of all probability (label "
        "mass); a low value means that the model wanted to say something else.\n"
    )
    print_text(f"5. {_decision(found)}")


def _decision(found: "Explanation") -> str:
    answer = found.answer
    sure = f"{answer.label}, confidence {100 * answer.confidence:.1f} %"
    if found.threshold is None:
        return f"Answer: {sure}. There is no threshold here, so a person decides."
    limit = f"{100 * found.threshold:.1f} %"
    if answer.automate:
        return f"Answer: {sure}. That reaches this run's threshold of {limit}: automate it."
    return f"Answer: {sure}. That is below this run's threshold of {limit}: give it to a person."

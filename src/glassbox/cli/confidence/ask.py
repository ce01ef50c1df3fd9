"""``classify`` and ``logprobs``: ask a finished classifier, or look into one answer."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from glassbox.cli.arguments import options
from glassbox.cli.confidence.ask_server import classified_by_server
from glassbox.cli.terminal.console import (
    Column,
    note,
    print_json,
    print_json_line,
    print_table,
    print_text,
)
from glassbox.cli.terminal.console import progress as progress_bar
from glassbox.cli.terminal.exit_codes import ExitCode
from glassbox.errors import GlassboxError, InvalidValue
from glassbox.runtime import Runtime
from glassbox.wording import counted

if TYPE_CHECKING:
    from glassbox.confidence.asking.classify import Labeller
    from glassbox.confidence.asking.explain import Explanation, NextTokens


def classify(
    texts: Annotated[
        list[str] | None,
        typer.Argument(help="Texts; '-' reads standard input.", metavar="TEXT"),
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option("--file", "-f", help="Texts, one a line, or CSV, TSV, JSON Lines."),
    ] = None,
    text_column: options.TextColumn = None,
    data_format: options.StreamFormat = None,
    encoding: options.Encoding = None,
    skip: Annotated[
        int,
        typer.Option(
            "--skip", help="Pass over so many lines, which have their answers already.", min=0
        ),
    ] = 0,
    run: options.Run = None,
    server: options.Server = None,
    key: options.Key = None,
) -> None:
    """Answer texts with a label and a calibrated confidence, as JSON Lines in the same order.

    Reads and answers in constant memory. A line that cannot be used is answered with its error
    and its number, and the rest goes on; the exit code says if there was any.
    """
    from glassbox.confidence.data.unlabelled import given_texts, stream_texts

    given = texts or []
    if bool(given) == (file is not None):
        found = "texts and a file" if given else "nothing"
        raise InvalidValue("input", found, "texts, '-' or --file FILE, one of them")
    lines: Iterable[tuple[int, str | GlassboxError]] = given_texts(given)
    if file is not None or given == ["-"]:
        lines = stream_texts(
            file or sys.stdin.buffer,
            data_format=data_format,
            text_column=text_column,
            encoding=encoding,
            say=note,
        )
    lines = islice(lines, skip, None)
    if server is None:
        records = _classified_here(lines, run)
    else:
        records = classified_by_server(lines, server, key, run)
    done = n_bad = n_cut = 0
    with progress_bar("Classifying", quiet=file is None) as report:
        for done, record in enumerate(records, start=1):
            n_bad += "error" in record
            n_cut += "truncated" in record
            print_json_line(record)
            report(done, 0)
    if not done:
        note("There was no text to label.")
    if n_cut:
        note(f"Cut at their end to fit the model's context: {n_cut}. Their records say so.")
    if n_bad:
        note(f"Not answered: {n_bad}. Their records say why.")
        raise typer.Exit(ExitCode.INCOMPLETE)


def _classified_here(
    lines: Iterable[tuple[int, str | GlassboxError]], run: str | None
) -> Iterator[dict[str, Any]]:
    from glassbox.confidence.asking.classify import classify_stream

    # A file that cannot be read is refused before the model is loaded for it.
    first = list(islice(lines, 1))
    labeller = Runtime.load().labeller(run)
    for answered in classify_stream(labeller, chain(first, lines)):
        yield answered.to_json()


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
    from glassbox.confidence.asking.explain import explain
    from glassbox.confidence.data.unlabelled import given_texts

    # The text as 'classify' would take it.
    ((_, read),) = given_texts([text])
    if not isinstance(read, str):
        raise read
    explanation = explain(_labeller(model, run), read, top_k=top_k)
    if json:
        print_json(explanation)
    elif quiet:
        print_text(f"{explanation.answer.label} {explanation.answer.confidence:.4f}")
    else:
        _show(explanation)


def _labeller(model: str | None, run: str | None) -> "Labeller":
    return Runtime.load().labeller(run, model=model)


def _next_tokens(prompt: str, model: str | None, top_k: int, run: str | None) -> "NextTokens":
    from glassbox.confidence.asking.explain import next_tokens

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
    n_shown = _n_shown([each.prob for each in found.tokens], 2)
    print_table(
        [
            Column("Rank", "right"),
            "Next token",
            Column("log-prob", "right"),
            Column("Probability", "right"),
        ],
        [
            *(
                (each.rank, repr(each.text), f"{each.logprob:.3f}", f"{100 * each.prob:.2f} %")
                for each in found.tokens[:n_shown]
            ),
            *(("", *row) for row in _together([each.prob for each in found.tokens[n_shown:]], 2)),
        ],
        title="Most probable next tokens",
    )


def _n_shown(probs: Sequence[float], decimals: int) -> int:
    """How many of the probabilities, largest first, do not print as 0 %; a single one stays."""
    n_shown = sum(round(100 * each, decimals) > 0 for each in probs)
    return n_shown if len(probs) - n_shown > 1 else len(probs)


def _together(probs: Sequence[float], decimals: int) -> list[tuple[str, ...]]:
    """One line for all that would print as 0 %: how many, and their sum."""
    if not probs:
        return []
    total, least = 100 * sum(probs), 10.0**-decimals
    shown = f"{total:.{decimals}f} %" if total >= least else f"under {least:g} %"
    return [(f"{counted(len(probs), 'other')}, together", "", shown)]


def _show(found: "Explanation") -> None:
    print_text(f"1. The model reads this prompt:\n\n{found.next_tokens.prompt}\n")
    if found.answer.truncated:
        print_text("The end of the text was cut to fit the model's context.\n")
    print_text("2. It gives every possible next token a probability:")
    _show_tokens(found.next_tokens)
    n_said = _n_shown([each.prob for each in found.verbalisers], 3)
    rare = [each.prob for each in found.verbalisers[n_said:]]
    print_table(
        ["Says", "Counts for", Column("log-prob", "right"), Column("Probability", "right")],
        [
            *(
                (repr(each.text), each.label, f"{each.logprob:.3f}", f"{100 * each.prob:.3f} %")
                for each in found.verbalisers[:n_said]
            ),
            *((name, "", *rest) for name, *rest in _together(rare, 3)),
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
    from glassbox.wording import decimals_apart

    answer, confidence = found.answer, 100 * found.answer.confidence
    if found.threshold is None:
        return (
            f"Answer: {answer.label}, confidence {confidence:.1f} %. There is no threshold here, "
            "so a person decides."
        )
    limit = 100 * found.threshold
    decimals = max(decimals_apart(confidence, limit, 1), decimals_apart(limit, 100, 1))
    sure = f"{answer.label}, confidence {confidence:.{decimals}f} %"
    reached = f"this run's threshold of {limit:.{decimals}f} %"
    if answer.automate:
        return f"Answer: {sure}. That reaches {reached}: automate it."
    return f"Answer: {sure}. That is below {reached}: give it to a person."

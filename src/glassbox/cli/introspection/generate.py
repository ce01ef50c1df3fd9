"""``generate``: write a text and show what the model thought at each token."""

import re
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
from rich.text import Text

from glassbox.cli.arguments import options
from glassbox.cli.terminal.console import Column, output, print_json, print_table, progress, visible
from glassbox.cli.terminal.token_colours import CERTAINTY, PROBABILITY, coloured, legend
from glassbox.errors import ConflictError, InvalidValue
from glassbox.types import SCOPES, Pooling

if TYPE_CHECKING:
    from glassbox.client.calls import GenerateOptions
    from glassbox.client.results import Generated
    from glassbox.server.translation.probing import Probe
    from glassbox.wire.extension import CaptureAsked

POOLINGS: tuple[Pooling, ...] = ("mean", "last", "norm")
"""Forms that the command can show; every position's vector is for files, not for terminals."""

COLOURS = ("probability", "entropy", "none")
"""What the tokens' colours may mean."""


ENDS: dict[str, str] = {
    "stop": "the end of the text or a stop text",
    "length": "the limit of tokens",
    "context": "the end of the context",
    "deadline": "the deadline",
    "cancelled": "a cancellation",
    "given": "",
}
"""Why a text ended, as a reader would say it."""


def generate(
    prompt: Annotated[str, typer.Argument(help="The text to continue.")],
    model: options.Model = None,
    adapter: Annotated[
        str | None,
        typer.Option("--adapter", help="LoRA adapter: a folder, or with --server its name."),
    ] = None,
    max_tokens: Annotated[
        int, typer.Option("--max-tokens", help="Most tokens to write.", min=1)
    ] = 256,
    temperature: Annotated[
        float, typer.Option("--temperature", help="0 is greedy.", min=0.0)
    ] = 0.7,
    top_p: Annotated[
        float, typer.Option("--top-p", help="Sample from the most probable tokens up to this.")
    ] = 1.0,
    seed: Annotated[
        int | None, typer.Option("--seed", help="The same seed gives the same text.", min=0)
    ] = None,
    stop: Annotated[
        list[str] | None, typer.Option("--stop", help="Text that ends the answer; repeatable.")
    ] = None,
    capture: Annotated[
        str | None,
        typer.Option("--capture", help="Layers whose states to show: '-1,-4', '0-5' or 'all'."),
    ] = None,
    pooling: Annotated[
        str, typer.Option("--pooling", help="Forms of the states: mean, last, norm.")
    ] = "mean,last,norm",
    scope: Annotated[
        str, typer.Option("--scope", help="Positions covered: prompt, generated or all.")
    ] = "prompt",
    probe: Annotated[
        list[str] | None,
        typer.Option("--probe", help="Folder of a probe, or with --server its name; repeatable."),
    ] = None,
    colour: Annotated[
        str, typer.Option("--colour", help="Colour tokens by probability, entropy or none.")
    ] = "probability",
    server: options.Server = None,
    key: options.Key = None,
    json: options.AsJson = False,
) -> None:
    """Write a text and see how sure the model was of every token.

    Hidden states and probe readings come from the same pass. A server gives the same answer.
    """
    if not prompt:
        raise InvalidValue("prompt", prompt, "a text of at least one character")
    if colour not in COLOURS:
        raise InvalidValue("--colour", colour, ", ".join(COLOURS))
    wanted: GenerateOptions = {
        "max_tokens": max_tokens,
        "temperature": temperature,
        "top_p": top_p,
        "stop": stop or [],
        "top_logprobs": 1,
    }
    if seed is not None:
        wanted["seed"] = seed
    if capture is not None:
        wanted["capture"] = _capture(capture, pooling, scope)
    if probe:
        wanted["probes"] = probe
    with progress("Writing", quiet=json):
        if server is None:
            answer = _by_own_model(prompt, model, adapter, wanted)
        else:
            if model and adapter:
                raise InvalidValue("--model", model, "one of --model and --adapter, with --server")
            if model or adapter:
                wanted["model"] = model or adapter or ""
            answer = _by_server(server, key, prompt, wanted)
    if json:
        print_json(_record(prompt, answer))
    else:
        _show(prompt, answer, colour)


def _by_own_model(
    prompt: str, model: str | None, adapter: str | None, wanted: "GenerateOptions"
) -> "Generated":
    from pydantic import ValidationError

    from glassbox.client import calls
    from glassbox.client.results import generated
    from glassbox.runtime import Runtime
    from glassbox.server.translation.readings import usage_of
    from glassbox.server.translation.speech import Speaker, Terms
    from glassbox.wire.openai_completions import CompletionAsked

    runtime = Runtime.load()
    spec = runtime.model_spec(model, adapter=None if adapter is None else Path(adapter))
    probes = _load_probes(wanted.get("probes", ()))
    wanted["probes"] = list(probes)
    with closing(runtime.open_engine(spec)) as engine:
        speaker = Speaker(engine, spec.model, probes=probes)
        body = dict(calls.generate(prompt, wanted).body or {}) | {"model": spec.adapter}
        try:
            asked = CompletionAsked.model_validate(body)
        except ValidationError as error:
            first = error.errors()[0]
            name = ".".join(map(str, first["loc"]))
            raise InvalidValue(name, first["input"], first["msg"].lower()) from error
        (speech,) = speaker.completions(asked, Terms())
        (answer,) = engine.generate([speech.request])
        shown = speaker.shown(answer, speech, asked.glassbox)
    assert shown is not None
    tokens = tuple(speaker.texts.shown(token) for token in shown.token_ids)
    usage = usage_of([(speech, answer)])
    return generated(answer.text, spec.adapter or spec.model, shown, usage, tokens=tokens)


def _load_probes(folders: bool | Sequence[str]) -> "dict[str, Probe]":
    """Return probes by name; whether they fit is seen where the adapter is known."""
    if isinstance(folders, bool) or not folders:
        return {}
    from glassbox.introspection.probes.file import load_probe

    found: dict[str, Probe] = {}
    for folder in folders:
        probe = load_probe(Path(folder))
        if probe.name in found:
            raise ConflictError(f"Two probes are called {probe.name!r}: only one could be shown.")
        found[probe.name] = probe
    return found


def _by_server(url: str, key: str | None, prompt: str, wanted: "GenerateOptions") -> "Generated":
    from glassbox.client import Client

    with Client(url, key=key) as client:
        return client.generate(prompt, **wanted)


def _capture(layers: str, pooling: str, scope: str) -> "CaptureAsked":
    from glassbox.wire.extension import CaptureAsked

    forms = [form for form in POOLINGS if form in _words(pooling)]
    unknown = [word for word in _words(pooling) if word not in POOLINGS]
    if unknown or not forms:
        raise InvalidValue("--pooling", pooling, f"one or more of {', '.join(POOLINGS)}")
    if scope not in SCOPES:
        raise InvalidValue("--scope", scope, ", ".join(SCOPES))
    if layers.strip() == "all":
        return CaptureAsked(layers="all", pooling=forms, scope=scope)
    return CaptureAsked(layers=_numbers(layers), pooling=forms, scope=scope)


def _numbers(layers: str) -> list[int]:
    """Return the layers that '-1,-4' or '0-5' names."""
    found: list[int] = []
    for word in _words(layers):
        match = re.fullmatch(r"(-?\d+)(?:-(\d+))?", word)
        if match is None:
            raise InvalidValue("--capture", layers, "layers such as '-1,-4', '0-5', or 'all'")
        first, last = int(match[1]), int(match[2] or match[1])
        found += range(first, last + 1)
    if not found:
        raise InvalidValue("--capture", layers, "layers such as '-1,-4', '0-5', or 'all'")
    return found


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _record(prompt: str, answer: "Generated") -> dict[str, Any]:
    tokens = [
        {
            "text": text,
            "id": token,
            "prob": float(np.exp(logprob)),
            "logprob": float(logprob),
            "entropy": float(entropy),
            "sampled_logprob": float(sampled_logprob),
            "sampled_entropy": float(sampled_entropy),
        }
        for text, token, logprob, entropy, sampled_logprob, sampled_entropy in zip(
            answer.tokens,
            answer.token_ids,
            answer.logprobs,
            answer.entropies,
            answer.sampled_logprobs,
            answer.sampled_entropies,
            strict=True,
        )
    ]
    return {
        "prompt": prompt,
        "text": answer.text,
        "finish_reason": answer.finish_reason,
        "model": answer.model,
        "adapter_digest": answer.adapter_digest,
        "mean_entropy": answer.mean_entropy,
        "n_prompt": answer.n_prompt,
        "tokens": tokens,
        "states": [each.model_dump() for each in answer.states],
        "probes": {name: each.model_dump() for name, each in answer.probes.items()},
        "timing": answer.timing.model_dump(),
    }


def _show(prompt: str, answer: "Generated", colour: str) -> None:
    steps = PROBABILITY if colour == "probability" else CERTAINTY
    probs = np.exp(answer.logprobs)
    values = probs if colour == "probability" else -answer.entropies
    console = output()
    text = Text(visible(prompt), style="dim")
    if colour == "none":
        text.append(visible(answer.text))
    else:
        text.append_text(coloured(answer.tokens, values.tolist(), steps))
    console.print(text, soft_wrap=True)
    if colour != "none" and console.is_terminal:
        console.print(legend(colour, steps))
    n = len(answer.token_ids)
    rows: list[tuple[str, str]] = [
        ("tokens", f"{n}, ended by {ENDS[answer.finish_reason]}"),
        ("mean entropy", f"{answer.mean_entropy:.2f} nats"),
        ("mean probability", f"{100 * float(probs.mean()):.1f} %" if n else ""),
        ("least probable", _least(answer, probs)),
        ("time", f"{answer.timing.total_s:.2f} s, first token {answer.timing.first_token_s:.2f} s"),
    ]
    if answer.adapter_digest is not None:
        rows.append(("adapter", answer.adapter_digest[:12]))
    print_table(["Reading", "Value"], rows)
    _show_probes(answer)
    _show_states(answer)


def _least(answer: "Generated", probs: np.ndarray) -> str:
    if not len(probs):
        return ""
    at = int(probs.argmin())
    return f"{answer.tokens[at]!r} at {100 * float(probs[at]):.2f} %"


def _show_probes(answer: "Generated") -> None:
    if not answer.probes:
        return
    print_table(
        ["Probe", Column("log-odds", "right"), Column("probability", "right"), "flagged"],
        [
            (
                name,
                _number(each.probe_logit),
                _number(each.probe_prob),
                "" if each.flagged is None else ("yes" if each.flagged else "no"),
            )
            for name, each in answer.probes.items()
        ],
        title="Probe readings",
    )


def _show_states(answer: "Generated") -> None:
    if not answer.states:
        return
    print_table(
        [
            "Place",
            "Positions",
            Column("mean L2 norm", "right"),
            "First values of the last vector" if answer.states[0].last is not None else "",
        ],
        [
            (
                f"layer {each.layer} {each.site}",
                f"{each.n_positions} ({each.scope})",
                _number(each.norm),
                "" if each.last is None else "  ".join(f"{x:+.3f}" for x in each.last[:4]) + " …",
            )
            for each in answer.states
        ],
        title="Hidden states (--json has them whole)",
    )


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"

"""``glassbox doctor --model``: whether a model would fit, before anything is downloaded."""

from typing import TYPE_CHECKING

from glassbox.cli.terminal.console import Column, note, print_json, print_table
from glassbox.cli.terminal.exit_codes import ExitCode
from glassbox.errors import InvalidValue
from glassbox.importing import importing_libraries
from glassbox.settings import load_settings
from glassbox.wording import counted

if TYPE_CHECKING:
    from glassbox.engine.forecast import Forecast

_UNITS = {"": 1, "b": 1, "gb": 10**9, "gib": 2**30, "mb": 10**6, "mib": 2**20}


def show_forecast(model: str, *, memory: str | None, as_json: bool) -> ExitCode:
    """Print the memory that a model would take, and return whether it fits.

    Args:
        model: Folder, ``config.json`` or hub name.
        memory: As in ``24GB``; None takes the device that would be used.
        as_json: Print JSON.

    Raises:
        UnknownName: No such model.
        UnsupportedModel: No causal language model.
        InvalidValue: A memory that is no size.
    """
    with importing_libraries():
        from glassbox.engine.model.finding import find_config

    # Before torch is imported, which takes seconds: a name mistyped is told at once.
    file = find_config(model)
    with importing_libraries():
        from glassbox.engine.forecast import Load, fitted, read_config
        from glassbox.engine.model.devices import describe_devices
        from glassbox.engine.resident import BATCH_TOKENS

    engine = load_settings().engine
    device = describe_devices()[0]
    available = device.memory_bytes if memory is None else read_size(memory)
    dtype: str = engine.dtype
    if dtype == "auto":
        # A memory that is named stands for another machine, whose hardware has 16-bit numbers.
        dtype = device.dtype if memory is None else "bfloat16"
    kind = device.device.partition(":")[0] if memory is None else "cuda"
    config = read_config(file)
    # No request is longer than what the model was made for.
    context = getattr(config.get_text_config(), "max_position_embeddings", None)
    load = Load(
        n_tokens=min(Load.n_tokens, context or Load.n_tokens),
        step_tokens=engine.batch_tokens or BATCH_TOKENS.get(kind, 2048),
    )
    found = fitted(
        config,
        available,
        dtype=dtype,
        load=load,
        # For texts, and as much for labels.
        prefix_bytes=2 * engine.prefix_cache_bytes,
    )
    n_fitting = found.most_requests(available)
    fits = found.total_bytes <= available
    if as_json:
        print_json(
            {
                "model": model,
                "fits": fits,
                "memory_bytes": available,
                "total_bytes": found.total_bytes,
                "most_requests": n_fitting,
                "forecast": found,
            }
        )
        return ExitCode.OK if fits else ExitCode.INCOMPLETE
    where = f"{memory} of memory" if memory else f"{device.description} ({device.device})"
    _print(found, model, available)
    if not fits:
        note(f"{model} does not fit {where}: {_gb(found.total_bytes)} are needed.")
        return ExitCode.INCOMPLETE
    note(
        f"{model} fits {where}; at most {counted(n_fitting, 'request')} of "
        f"{found.load.n_tokens:,} tokens at a time."
    )
    if found.load.step_tokens < load.step_tokens:
        note(f"It fits with smaller steps: set engine.batch_tokens = {found.load.step_tokens}.")
    return ExitCode.OK


def read_size(text: str) -> int:
    """Return the bytes of a size such as ``24GB`` or ``512MiB``.

    Raises:
        InvalidValue: No such size.
    """
    number = text.strip().rstrip("abgimABGIM ")
    unit = text.strip()[len(number) :].strip().lower()
    try:
        size = int(float(number) * _UNITS[unit])
    except (ValueError, KeyError, OverflowError) as error:
        raise InvalidValue("memory", text, "a size as in 24GB, 80GiB or 512MiB") from error
    if size <= 0:
        raise InvalidValue("memory", text, "a size above 0")
    return size


def _print(found: "Forecast", model: str, available: int) -> None:
    load = found.load
    rows = [
        ("weights", found.weights_bytes, f"{_count(found.n_parameters)} in {found.dtype}"),
        (
            "keys and values",
            found.keys_bytes,
            f"{counted(load.n_requests, 'request')} of {load.n_tokens:,} tokens, "
            f"{found.token_bytes / 1024:,.0f} KiB a token",
        ),
        ("while growing", found.growing_bytes, "their smaller copy, when more requests come"),
        (
            "hidden states",
            found.states_bytes,
            f"{counted(load.n_layers, 'layer')} of one step of {load.step_tokens:,} tokens",
        ),
        ("one step", found.step_bytes, "feed-forward part and stream of a layer"),
        ("logits", found.logits_bytes, "at the positions that are read"),
        ("kept prompts", found.prefix_bytes, "prefixes of labels and of requests"),
        ("runtime", found.runtime_bytes, "the device's own software; a guess"),
        ("in all", found.total_bytes, f"of {_gb(available)}"),
    ]
    print_table(
        [Column("part", wraps=False), Column("memory", "right", wraps=False), "what"],
        [(part, _gb(n_bytes), about) for part, n_bytes, about in rows],
        title=f"Memory forecast for {model}",
    )


def _count(n_parameters: int) -> str:
    large = n_parameters >= 1e9
    return f"{n_parameters / 1e9:,.2f}B" if large else f"{n_parameters / 1e6:,.1f}M parameters"


def _gb(n_bytes: int) -> str:
    return f"{n_bytes / 1e9:,.2f} GB" if n_bytes >= 1e7 else f"{n_bytes / 1e6:,.2f} MB"

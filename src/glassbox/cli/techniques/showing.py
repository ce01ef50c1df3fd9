"""How ``glassbox technique`` shows techniques, results and rehearsals on a terminal.

Knows values; asks nobody.
"""

from typing import TYPE_CHECKING, Any

from rich.text import Text

from glassbox.cli.terminal.console import Column, note, output, print_table, print_text, visible
from glassbox.techniques.packed.paging import rounded, summary
from glassbox.techniques.packed.parts import as_array, dtype_of, fields_of
from glassbox.wording import counted

if TYPE_CHECKING:
    from glassbox.techniques.catalogue.entries import Entry
    from glassbox.techniques.client.handle import Finished
    from glassbox.techniques.shipping.rehearsal import Rehearsal

PLAIN = ("int", "float", "bool", "str", "NoneType", "tuple")
"""Kinds of captured values that cost nothing."""

MOST_PARTS = 60
"""Rows of a table of a result's parts."""

SHOWN_FROM_S = 0.1
"""Seconds of loading or waiting from which they are told."""

WORDS = 300
"""Characters of one part."""


def show_list(entries: "dict[str, Entry]") -> None:
    """Print techniques as a table."""
    print_table(
        [Column("technique", wraps=False), "what it shows", "takes"],
        [
            (
                name,
                each.summary if each.about.doc or each.about.title else "–",
                ", ".join(
                    part.name if part.is_required else f"[{part.name}]"
                    for part in each.about.parameters
                ),
            )
            for name, each in entries.items()
        ],
    )


def show_entry(entry: "Entry", typed: str) -> None:
    """Print what a technique does, takes and returns, and how to run it."""
    about = entry.about
    output().print(Text(about.title or entry.name, style="bold"))
    print_text("\n".join(each for each in (entry.summary, entry.more) if each))
    if about.paper:
        print_text(f"Source: {about.paper}.")
    if about.batch:
        print_text(f"Takes many at once: '{about.batch}'.")
    if about.parameters:
        print_table(
            [Column("argument", wraps=False), "type", "default", "meaning"],
            [
                (
                    each.name,
                    "" if each.type == "Any" else each.type,
                    "required" if each.is_required else _short(each.default),
                    each.doc,
                )
                for each in about.parameters
            ],
        )
    if about.fields:
        print_table(
            [Column("result", wraps=False), "type", "meaning"],
            [(each.name, each.type, each.doc) for each in about.fields],
        )
    print_text("Run it:")
    for line in _calls(entry, typed):
        # Not broken by us, so that it can be copied.
        output().print(Text(f"  {line}"), soft_wrap=True)


def show_value(value: object) -> None:
    """Print what a technique returned, in few words."""
    fields = fields_of(value)
    entries = fields if fields is not None else value if isinstance(value, dict) else None
    if isinstance(value, str):
        output().print(Text(visible(value)), soft_wrap=True)
    elif entries:
        _show_parts([(str(_short(key)), each) for key, each in entries.items()])
    elif isinstance(value, list | tuple) and any(not _is_plain(each) for each in value):
        _show_parts([(f"[{number}]", each) for number, each in enumerate(value)])
    else:
        print_text(in_words(value, 4 * WORDS))


def in_words(value: object, characters: int = WORDS) -> str:
    """Return a value on one line."""
    array = as_array(value)
    if array is None:
        told = _short(value)
        return told if len(told) <= characters else f"{told[: characters - 1]}…"
    if not array.shape:
        return str(_short(array.item()))
    shape = ", ".join(str(each) for each in array.shape)
    words = f"{dtype_of(value)} [{shape}]"
    if array.size == 1:
        return f"{words} {_short(array.flat[0].item())}"
    if not array.size or array.dtype.kind not in "biuf":
        return words
    told = summary(value)
    if "min" in told:
        words += f", {told['min']} to {told['max']}, mean {told['mean']}"
    if "n_nonfinite" in told:
        words += f", {told['n_nonfinite']} not finite"
    first = ", ".join(str(each) for each in told["first"])
    return f"{words}: {first}{', …' if array.size > len(told['first']) else ''}"


def show_end(finished: "Finished | None") -> None:
    """Say on standard error how long what took, and what was put back."""
    if finished is None:
        return
    timing = finished.timing
    parts = [f"ran {_time(timing.run_s)}"] if timing.run_s else ["did not end"]
    if timing.queue_s >= SHOWN_FROM_S:
        parts.insert(0, f"waited {_time(timing.queue_s)}")
    if timing.load_s >= SHOWN_FROM_S:
        parts.insert(0, f"model loaded in {_time(timing.load_s)}")
    note(f"{finished.name}: {', '.join(parts)}.")
    for each in finished.undone:
        note(f"Undone: {each}.")


def show_rehearsal(found: "Rehearsal") -> None:
    """Print how the journey of a function went."""
    is_fine = found.is_ready
    text = Text(" READY " if is_fine else " NOT READY ", "bold white on #1b7837" if is_fine
                else "bold white on #a63603")  # fmt: skip
    text.append(f"  {found.name}", "bold")
    output().print(text)
    if found.problem:
        print_text(found.problem[:1].upper() + found.problem[1:])
    rows: list[tuple[str, object]] = [
        ("size", f"{found.n_bytes:,} bytes"),
        ("digest", found.digest),
        ("opened in", f"{_time(found.opened_s)} by a fresh interpreter" if found.opened_s else "–"),
        ("taken along", ", ".join(found.modules) or "no module of yours"),
        ("needed there", ", ".join(found.imports) or "nothing beside Python"),
    ]
    # A number or text as a default is part of any function; what has a size is worth a line.
    rows += [(f"captures {name}", what) for name, what in found.captured if what not in PLAIN]
    print_table([Column("journey", wraps=False), ""], rows)
    for each in found.remarks:
        print_text(f"Mind: {each}")
    told = [each for each in found.differences if each.severity != "fine"]
    if told:
        print_table(
            ["differs", "here", "there", Column("severity", wraps=False), "what comes of it"],
            [(each.what, each.here, each.there, each.severity, each.why) for each in told],
        )


def _show_parts(parts: list[tuple[str, Any]]) -> None:
    print_table(
        [Column("part", wraps=False), "value"],
        [(name, in_words(each)) for name, each in parts[:MOST_PARTS]],
    )
    if len(parts) > MOST_PARTS:
        print_text(f"… {counted(len(parts) - MOST_PARTS, 'more part')}; --json has all.")


def _is_plain(value: object) -> bool:
    return value is None or isinstance(value, bool | int | float | str)


def _short(value: object) -> str:
    if isinstance(value, str):
        return value if value.strip() == value and value else repr(value)
    if isinstance(value, float):
        return str(rounded(value))
    if as_array(value) is not None:
        return in_words(value)
    fields = fields_of(value)
    if fields is not None:
        inner = ", ".join(f"{name}={_short(each)}" for name, each in fields.items())
        return f"{type(value).__name__}({inner})"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_short(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_short(each) for each in value) + "]"
    return repr(value)


def _calls(entry: "Entry", typed: str) -> tuple[str, ...]:
    """Return the lines that run a technique: a built-in one's example, else what it requires."""
    from glassbox.techniques.catalogue import examples

    if entry.is_built_in:
        return examples.calls_of(entry.name)
    required = tuple(f"{each.name}=…" for each in entry.about.parameters if each.is_required)
    return (examples.typed(typed, required),)


def _time(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds >= 1 else f"{1000 * seconds:.1f} ms"

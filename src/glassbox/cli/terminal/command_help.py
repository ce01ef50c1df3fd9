"""How a command explains itself: its usage line, the kinds of its values, its words as written.

Typer's own help joins no lines of a second paragraph, takes ``[limits]`` for markup and leaves it
out, and gives a switch a type. Knows no command.
"""

from typing import Any

import typer
from rich.markup import escape
from typer.core import TyperCommand, TyperGroup


class ReadableCommand(TyperCommand):
    """A command whose help can be read."""

    def __init__(self, name: str | None, **about: Any) -> None:
        super().__init__(name, **about)
        for param in self.params:
            if param.param_type_name == "argument" and param.metavar is None:
                param.metavar = str(param.name).upper()

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Return what follows the name; what must be there is in no brackets."""
        return [piece.strip("{}") for piece in super().collect_usage_pieces(ctx)]

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help."""
        _prepare(self, ctx)
        super().format_help(ctx, formatter)


class ReadableGroup(TyperGroup):
    """A group of commands whose help can be read."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help."""
        _prepare(self, ctx)
        super().format_help(ctx, formatter)


def make_readable(group: typer.Typer) -> None:
    """Let all commands of a group, and of the groups in it, explain themselves so."""
    if not isinstance(group.info.cls, type):
        group.info.cls = ReadableGroup
    for command in group.registered_commands:
        if command.cls is TyperCommand:
            command.cls = ReadableCommand
    for inner in group.registered_groups:
        if inner.typer_instance is not None:
            make_readable(inner.typer_instance)


def kind_of(param: Any, ctx: Any) -> str:
    """Return what an option or argument takes, as ``int``; empty for a switch.

    Args:
        param: The option or argument.
        ctx: The command's context.
    """
    if getattr(param, "is_flag", False):
        return ""
    kind = str(param.display_type(ctx)).strip("<>").removesuffix(" range")
    return kind.removeprefix("list[").removesuffix("]").replace("Path", "path")


def _prepare(command: Any, ctx: Any) -> None:
    """Make the words of a command such that what Typer does to them leaves them as they are."""
    paragraphs = (command.help or "").split("\n\n")
    command.help = escape("\n\n".join(" ".join(each.split()) for each in paragraphs))
    for param in command.get_params(ctx):
        param.help = escape(param.help or "")
        if param.param_type_name == "option" and param.metavar is None:
            kind = kind_of(param, ctx)
            param.metavar = f"<{kind}>" if kind else ""

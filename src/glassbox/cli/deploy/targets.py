"""``glassbox deploy``: the group of targets; one file for each, imported when it is asked for.

Knows nothing of what the targets do.
"""

import importlib
from collections.abc import Iterator, MutableMapping
from typing import Any, Final

import typer

from glassbox.cli.terminal.command_help import ReadableCommand, ReadableGroup

TARGETS: Final[dict[str, str]] = {
    "sagemaker": "glassbox.cli.deploy.sagemaker:sagemaker",
    "modal": "glassbox.cli.deploy.modal:modal",
    "ray": "glassbox.cli.deploy.ray:ray",
}
"""Name after ``glassbox deploy`` to ``module:function`` of its command, in the order of help."""


class Targets(MutableMapping[str, Any]):
    """The commands of the group; each is imported when it is looked up."""

    def __init__(self) -> None:
        self._loaded: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        """Return one command, its module imported."""
        if name not in self._loaded:
            module, _, attribute = TARGETS[name].partition(":")
            single = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
            single.command(name, cls=ReadableCommand)(
                getattr(importlib.import_module(module), attribute)
            )
            self._loaded[name] = typer.main.get_command(single)
        return self._loaded[name]

    def __setitem__(self, name: str, command: Any) -> None:
        self._loaded[name] = command

    def __delitem__(self, name: str) -> None:
        del self._loaded[name]

    def __iter__(self) -> Iterator[str]:
        return iter(TARGETS)

    def __len__(self) -> int:
        return len(TARGETS)


class TargetGroup(ReadableGroup):
    """A group whose commands are imported one by one."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.commands = Targets()

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names in the order of the table."""
        del ctx
        return list(TARGETS)


app = typer.Typer(
    cls=TargetGroup,
    help="Put the server where many can reach it, and take it down again.",
    pretty_exceptions_enable=False,
    no_args_is_help=True,
)
"""The ``deploy`` group."""


@app.callback()
def deploy() -> None:
    """Put the server where many can reach it, and take it down again.

    Each target takes a bundle (glassbox bundle make) and answers like the server on this machine.
    """

"""Writes the reference pages of commands, settings and errors from the code itself.

``python -m glassbox.cli.reference docs/reference`` makes them anew; a test compares them with what
lies there. Knows nothing of what the commands do.
"""

import inspect
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, get_args, get_origin

import typer

from glassbox import errors
from glassbox.cli.commands import ENTRIES
from glassbox.cli.main import app, load_command
from glassbox.cli.terminal.command_help import kind_of
from glassbox.cli.terminal.exit_codes import MEANINGS, exit_code
from glassbox.server.errors.refusals import HTTP_CODES
from glassbox.server.errors.statuses import status_of
from glassbox.settings import Settings, known_settings
from glassbox.settings.loading import ALIASES, CONFIG_FILE, CONFIG_VARIABLE, KEY_VARIABLE

COMMAND_HELP: Final = "python -m glassbox.cli.reference docs/reference"
"""How to make the pages anew; each page says so."""

OVER_HTTP: Final = """## Over HTTP alone

The server answers every error in problem+json (RFC 9457), whose `type` leads to the row here;
OpenAI's routes answer in OpenAI's shape. The header `x-glassbox-error` always holds the code.
Without a valid key, `access-denied` has status 401.
"""

_BOUNDS: Final = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}

_KINDS: Final = {
    bool: "true \\| false",
    int: "integer",
    float: "number",
    str: "text",
    Path: "path",
}
"""What a setting takes, by the type of its field."""


def pages() -> dict[str, str]:
    """Return the text of every generated page by file name."""
    return {"cli.md": cli_page(), "settings.md": settings_page(), "errors.md": errors_page()}


def cli_page() -> str:
    """Return the page of commands and options, in the order of ``glassbox --help``."""
    root: Any = typer.main.get_command(app)
    parts = [_head("Commands"), _describe(root, "glassbox")]
    panel = ""
    for entry in ENTRIES:
        if entry.panel != panel:
            panel = entry.panel
            parts.append(f"## {panel}\n")
        parts.extend(_command(load_command(entry.name), f"glassbox {entry.name}"))
    parts.append("## Exit codes\n")
    parts.append(_exit_codes())
    return "\n".join(parts)


def settings_page() -> str:
    """Return the page of settings, in the order of ``glassbox config show``."""
    parts = [
        _head("Settings"),
        "Arguments win over the environment, which wins over "
        f"`{CONFIG_FILE}` in the working directory (or the file that `{CONFIG_VARIABLE}` names), "
        "which wins over the defaults. A key or a `GLASSBOX_…` variable that nothing reads is "
        "refused. A variable with `_FILE` behind its name says in which file the value stands: "
        "what Docker, systemd and Kubernetes mount as a secret. `glassbox config show` prints "
        "every value in force and where it came from, but for passwords in addresses.\n",
    ]
    sections: dict[str, list[tuple[str, ...]]] = {}
    for info in known_settings():
        section, _, name = info.key.partition(".")
        field = _model(section).model_fields[name]
        default = "computed" if field.default_factory else _code(field.default)
        row = (f"`{name}`", _allowed(field), default, f"`{info.variable}`", info.description)
        sections.setdefault(section, []).append(row)
    for section, rows in sections.items():
        parts.append(f"## `[{section}]`\n\n{inspect.getdoc(_model(section))}\n")
        parts.append(_table(("key", "allowed", "default", "environment", "meaning"), rows))
    parts.append("## Other names\n")
    others = ((f"`{name}`", f"`{key}`") for name, key in ALIASES.items())
    parts.append(_table(("variable", "sets"), others))
    parts.append(
        f"`{KEY_VARIABLE}` is the API key that programs send to a server unless they name "
        "another.\n"
    )
    parts.append(
        "## Variables of others\n\n`HF_TOKEN` (token of the model hub; only ever shown as set or "
        "not set), `HF_HUB_OFFLINE` and `HF_ENDPOINT` mean what they mean to huggingface_hub.\n"
    )
    return "\n".join(parts)


def errors_page() -> str:
    """Return the page of error codes, with the exit code of each."""
    drawing = (inspect.getdoc(errors) or "").partition("\n\n")[2].partition("\n\nEach has")[0]
    rows = [
        (
            _anchored(each.code),
            f"`{each.__name__}`",
            str(int(exit_code(each))),
            str(status_of(each)),
            (inspect.getdoc(each) or "").partition("\n")[0],
        )
        for each in errors.BY_CODE.values()
    ]
    return "\n".join(
        [
            _head("Errors and exit codes"),
            "Everything that Glassbox raises on purpose is one of these. `code` is stable: the "
            'command line prints it, and `--json` answers `{"error": {"code", "message"}}`.\n',
            f"```text\n{drawing}\n```\n",
            _table(("code", "class", "exit code", "HTTP status", "meaning"), rows),
            "## Exit codes\n\nWhat the process of a command says as it ends; scripts can rely on "
            "the numbers.\n",
            _exit_codes(),
            OVER_HTTP,
            _table(
                ("code", "HTTP status", "meaning"),
                [
                    (_anchored(code), str(status), meaning)
                    for code, (status, meaning) in HTTP_CODES.items()
                ],
            ),
        ]
    )


def write(folder: Path) -> list[Path]:
    """Write all pages into a folder and return the files."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (folder / name).write_text(text, encoding="utf-8")
    return [folder / name for name in pages()]


def _head(title: str) -> str:
    return f"# {title}\n\n<!-- Generated: {COMMAND_HELP} -->\n"


def _model(section: str) -> Any:
    return Settings.model_fields[section].annotation


def _command(command: Any, path: str) -> Iterator[str]:
    yield f"### `{path}`\n\n{_describe(command, path)}"
    for name, each in getattr(command, "commands", {}).items():
        yield from _command(each, f"{path} {name}")


def _describe(command: Any, path: str) -> str:
    context = command.context_class(command, info_name=path)
    pieces = " ".join(command.collect_usage_pieces(context))
    text = inspect.cleandoc(command.help or "")
    parts = [f"```text\n{path} {pieces}\n```\n", f"{text}\n"]
    shown = [each for each in command.params if not getattr(each, "hidden", False)]
    if shown:
        rows = ((_names(each, context), _default(each), _clean(each.help)) for each in shown)
        parts.append(_table(("argument", "default", "meaning"), rows))
    return "\n".join(parts)


def _names(param: Any, context: Any) -> str:
    names = (*param.opts, *param.secondary_opts)
    if param.param_type_name == "argument":
        names = (param.display_name_raw,)
    return f"{', '.join(f'`{name}`' for name in names)} {_clean(kind_of(param, context))}".strip()


def _default(param: Any) -> str:
    if param.required:
        return "required"
    default = param.default() if callable(param.default) else param.default
    if default is None or default is False or default == () or default == []:
        return ""
    return _code(default)


def _allowed(field: Any) -> str:
    choices = [str(each) for each in get_args(field.annotation) if isinstance(each, str)]
    if choices:
        return " \\| ".join(choices)
    inner = get_args(field.annotation) or (field.annotation,)
    kinds = [get_args(each)[0] if get_origin(each) is Annotated else each for each in inner]
    kind = next((_KINDS[each] for each in kinds if each in _KINDS), "")
    limits = {
        bound: getattr(limit, bound)
        for limit in field.metadata
        for bound in _BOUNDS
        if hasattr(limit, bound)
    }
    bounds = [f"{_BOUNDS[bound]} {limit:.12g}" for bound, limit in limits.items()]
    return f"{kind} {' and '.join(bounds)}".strip()


def _exit_codes() -> str:
    return _table(("code", "meaning"), [(str(int(c)), text) for c, text in MEANINGS.items()])


def _anchored(code: str) -> str:
    return f'<a id="{code}"></a>`{code}`'


def _code(value: object) -> str:
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if value == "":
        return "empty"
    return "unset" if value is None else f"`{value}`"


def _clean(text: str | None) -> str:
    return " ".join((text or "").split()).replace("|", "\\|").replace("<", "").replace(">", "")


def _table(header: Sequence[str], rows: Iterator[Sequence[str]] | Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


if __name__ == "__main__":
    for path in write(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/reference")):
        sys.stdout.write(f"{path}\n")

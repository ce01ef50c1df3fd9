"""``glassbox config``: the settings in force.

Knows nothing of how settings are read; ``glassbox.settings`` does.
"""

import re
from dataclasses import replace
from typing import Annotated

import typer

from glassbox.cli.terminal.console import Column, print_json, print_table
from glassbox.settings import (
    EffectiveSetting,
    config_file,
    effective,
    hub_environment,
    known_settings,
)

app = typer.Typer(help="Settings and where they come from.", pretty_exceptions_enable=False)
"""The ``config`` group."""


@app.callback()
def config() -> None:
    """Settings and where they come from."""


@app.command()
def show(
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show every setting's value and where it came from.

    Arguments win over the environment, which wins over glassbox.toml, which wins over defaults.
    """
    settings = [_without_password(each) for each in effective()]
    token = "set" if hub_environment().token_is_set else "not set"
    if json:
        print_json({"file": config_file(), "settings": settings, "hf_token": token})
        return
    about = {info.key: info.description for info in known_settings()}
    rows = [
        (each.key, "unset" if each.value is None else each.value, each.source, about[each.key])
        for each in settings
    ]
    print_table(
        [Column("setting", wraps=False), "value", "from", "meaning"],
        [*rows, ("HF_TOKEN", token, "environment", "Token of the model hub; never shown.")],
    )


def _without_password(setting: EffectiveSetting) -> EffectiveSetting:
    """Return the setting as it may be shown: what is shown ends in tickets and logs."""
    if not isinstance(setting.value, str):
        return setting
    shown = re.sub(r"(://[^/@:]*:)[^/@]*@", r"\1***@", setting.value)
    return replace(setting, value=re.sub(r"([?&]password=)[^&]*", r"\1***", shown))

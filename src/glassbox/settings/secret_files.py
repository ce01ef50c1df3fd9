"""Settings that are read from files, because an environment is seen by too many.

``GLASSBOX_STORAGE__URL_FILE=/run/secrets/storage_url`` says where the value of
``GLASSBOX_STORAGE__URL`` stands: what Docker, systemd and Kubernetes mount. Knows of no setting.
"""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from glassbox.errors import InvalidSetting

FILE_SUFFIX: Final = "_FILE"
"""End of the variable that names a file with the value of the variable before it."""

MOST_BYTES: Final = 64 * 1024
"""Longest such file; a longer one is no setting but a mistake."""


def file_of(variable: str) -> tuple[str, Path] | None:
    """Return the name of the variable that names ``variable``'s file, and the file; None without.

    Raises:
        InvalidSetting: The variable itself is set as well.
    """
    wanted = variable + FILE_SUFFIX
    name = next((each for each in os.environ if each.upper() == wanted and os.environ[each]), None)
    if name is None:
        return None
    if any(each.upper() == variable and os.environ[each] for each in os.environ):
        raise InvalidSetting(name, "environment", problem=f"and {variable} are both set: unset one")
    return name, Path(os.environ[name]).expanduser()


def value_in_file(variable: str) -> str | None:
    """Return what stands in the file for ``variable``, its last line break left out.

    The value itself is in no message.

    Raises:
        InvalidSetting: There is no such file, it cannot be read, is empty, longer than 64 KiB or
            no UTF-8 text; or the variable itself is set as well.
    """
    found = file_of(variable)
    if found is None:
        return None
    name, path = found
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
        text = content.decode("utf-8").rstrip("\r\n")
    except OSError as error:
        problem = f"names {str(path)!r}, which cannot be read: {error.strerror}"
        raise InvalidSetting(name, "environment", problem=problem) from error
    except UnicodeDecodeError as error:
        problem = f"names {str(path)!r}, which is no text in UTF-8"
        raise InvalidSetting(name, "environment", problem=problem) from error
    if not text or len(content) > MOST_BYTES:
        problem = f"names {str(path)!r}, which {'is empty' if not text else 'is over 64 KiB'}"
        raise InvalidSetting(name, "environment", problem=problem)
    return text


def values_in_files(variables: Iterable[str]) -> dict[str, str]:
    """Return the values that stand in files, by variable.

    Raises:
        InvalidSetting: As ``value_in_file``.
    """
    read = {each: value_in_file(each) for each in variables}
    return {variable: value for variable, value in read.items() if value is not None}

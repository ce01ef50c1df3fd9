"""JSON text that says what it is: schema, version, and fields of finite numbers.

Every fitted value of this floor is kept in this form. It knows nothing of files.
"""

import json
import math
from collections.abc import Mapping
from typing import Any

from glassbox.errors import CorruptArtifact, InvalidData
from glassbox.types import is_number


def versioned_json(schema: str, version: int, fields: Mapping[str, Any]) -> str:
    """JSON text with keys sorted and floats written so that they read back exactly."""
    header = {"schema": schema, "version": version}
    return json.dumps(header | dict(fields), sort_keys=True, allow_nan=False)


def read_versioned_json(text: str, schema: str, version: int, *, source: str) -> dict[str, Any]:
    """The fields that ``versioned_json`` wrote, without the header.

    Raises:
        InvalidData: No text.
        CorruptArtifact: Not JSON, or another schema or version.
    """
    if not isinstance(text, str):
        raise InvalidData(
            f"JSON text is needed, as to_json() gives it, not a value of type "
            f"{type(text).__name__}; json.dumps() makes text of a dict",
            source=source,
        )
    try:
        fields = json.loads(text)
    except json.JSONDecodeError as error:
        raise CorruptArtifact(source, f"not JSON ({error})") from error
    if not isinstance(fields, dict) or fields.pop("schema", None) != schema:
        raise CorruptArtifact(source, f"schema {schema!r} expected")
    found = fields.pop("version", None)
    if found != version:
        raise CorruptArtifact(
            source,
            f"schema version {found!r}; this program reads version {version}",
            remedy="Calibrate anew, or use the version of the program that wrote it.",
        )
    return fields


def read_numbers(source: str, what: str, values: object) -> tuple[float, ...]:
    """The values as floats.

    Raises:
        CorruptArtifact: Not a list, or something in it that is not a finite number.
    """
    if not isinstance(values, list | tuple) or not all(
        is_number(value) and math.isfinite(value) for value in values
    ):
        raise CorruptArtifact(source, f"{what} is not a list of finite numbers")
    return tuple(float(value) for value in values)

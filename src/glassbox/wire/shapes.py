"""What all models of the wire share: strict requests, compact answers, arrays as lists of numbers.

Knows no route and no field.
"""

from typing import Annotated, Any, Self

import numpy as np
import orjson
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    model_validator,
)
from pydantic_core import PydanticCustomError, core_schema

MOST_FIELDS = 256
"""Most fields of one object of a request; none that is known has a quarter of it."""


def few_fields(value: Any) -> Any:
    """Return a value; an object with more than ``MOST_FIELDS`` fields is refused."""
    if isinstance(value, dict) and len(value) > MOST_FIELDS:
        raise PydanticCustomError(
            "fields",
            "there are {n} fields; allowed: at most {most} in one object",
            {"n": len(value), "most": MOST_FIELDS},
        )
    return value


def _end_at_first_wrong_item(schema: Any) -> None:
    """Have every list in a schema of pydantic's end its check at the first item that is wrong."""
    if isinstance(schema, list | tuple):
        for each in schema:
            _end_at_first_wrong_item(each)
    elif isinstance(schema, dict):
        if schema.get("type") == "list":
            schema["fail_fast"] = True
        for each in schema.values():
            _end_at_first_wrong_item(each)


class Asked(BaseModel):
    """A request or a part of one: unknown fields, NaN and values of another type are refused.

    A list is refused at its first wrong item, and an object with too many fields as a whole: to
    tell of each of a million mistakes would hold everybody else up for minutes.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
        arbitrary_types_allowed=True,
    )

    @classmethod
    def __get_pydantic_core_schema__(
        cls, source: Any, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        """Return how pydantic checks it."""
        schema = handler(source)
        _end_at_first_wrong_item(handler.resolve_ref_schema(schema))
        return schema

    @model_validator(mode="before")
    @classmethod
    def _check_size(cls, value: Any) -> Any:
        return few_fields(value)

    @model_validator(mode="after")
    def _check_characters(self) -> Self:
        for name in self.model_fields_set:
            _check_characters(name, getattr(self, name))
        return self


class Answered(BaseModel):
    """An answer or a part of one; fields that a newer server adds are let through."""

    model_config = ConfigDict(
        frozen=True, extra="ignore", use_attribute_docstrings=True, arbitrary_types_allowed=True
    )

    def to_json(self) -> bytes:
        """Return the answer as JSON bytes; arrays in the shortest form that reads back equal."""
        return orjson.dumps(self.model_dump(), option=orjson.OPT_SERIALIZE_NUMPY)

    @classmethod
    def from_json(cls, content: bytes) -> Self:
        """Return the answer that some JSON bytes hold."""
        return cls.model_validate(orjson.loads(content))


def is_none(value: object) -> bool:
    """Whether a value is None."""
    return value is None


Absent: Any = Field(default=None, exclude_if=is_none)
"""Default of a field that is left out of the JSON where it is None."""


def _check_characters(name: str, value: object) -> None:
    """Refuse half characters, which JSON can spell and no tokenizer can read."""
    if isinstance(value, str) and not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise PydanticCustomError(
                "half_character",
                "{name} has half a character (a lone surrogate) at position {at}; it was probably "
                "cut in the middle of a character",
                {"name": name, "at": error.start},
            ) from error
    elif isinstance(value, list | dict) and _is_written(value):
        # Values by the hundred thousand: looked at here one by one, they would hold up the server.
        return
    elif isinstance(value, list):
        for each in value:
            _check_characters(name, each)
    elif isinstance(value, dict):
        for key, each in value.items():
            _check_characters(name, key)
            _check_characters(name, each)


def _is_written(value: object) -> bool:
    """Whether a value can be written as JSON at once, so that no half character is in it."""
    try:
        orjson.dumps(value)
    except orjson.JSONEncodeError:
        return False
    return True


class _Numbers:
    """Reads and shows an array as (nested) lists of numbers; float32 inside.

    Args:
        n_dims: Dimensions of the array.
    """

    def __init__(self, n_dims: int) -> None:
        self.n_dims = n_dims

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        del source, handler
        return core_schema.no_info_plain_validator_function(
            self._read,
            serialization=core_schema.plain_serializer_function_ser_schema(
                np.ndarray.tolist, when_used="json"
            ),
        )

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> dict[str, Any]:
        del schema, handler
        shape: dict[str, Any] = {"type": "number"}
        for _ in range(self.n_dims):
            shape = {"type": "array", "items": shape}
        return shape

    def _read(self, value: Any) -> np.ndarray:
        try:
            array = np.ascontiguousarray(value, dtype=np.float32)
        except (TypeError, ValueError) as error:
            raise PydanticCustomError("numbers", "an array of numbers is needed") from error
        if array.size == 0:
            return array.reshape((0,) * self.n_dims if array.ndim < self.n_dims else array.shape)
        if array.ndim != self.n_dims:
            raise PydanticCustomError(
                "dimensions",
                "an array of {need} dimensions is needed; this one has {have}",
                {"need": self.n_dims, "have": array.ndim},
            )
        return array


Vector = Annotated[np.ndarray, _Numbers(1)]
"""A float32 array of one dimension; a list of numbers on the wire."""

Matrix = Annotated[np.ndarray, _Numbers(2)]
"""A float32 array of two dimensions; a list of lists of numbers on the wire."""


def _not_empty(text: str) -> str:
    if not text:
        raise PydanticCustomError("empty", "it is empty; allowed: a text of at least one character")
    return text


FilledText = Annotated[str, AfterValidator(_not_empty)]
"""A text of at least one character."""


MOST_NAME_BYTES = 255
"""Longest name of a file. Source: Linux, ``limits.h``, ``NAME_MAX``; other systems agree."""

MOST_PATH_BYTES = 2048
"""Longest path from a caller; the system's own limit holds for what is put before and behind it."""


def _nameable(path: str) -> str:
    content = path.encode()
    if len(content) > MOST_PATH_BYTES or max(map(len, content.split(b"/"))) > MOST_NAME_BYTES:
        raise PydanticCustomError(
            "path",
            "it is too long for a path; allowed: {name} bytes between two slashes, {whole} in all",
            {"name": MOST_NAME_BYTES, "whole": MOST_PATH_BYTES},
        )
    return path


PathText = Annotated[FilledText, AfterValidator(_nameable)]
"""Something on the server's disk, or an address, as a caller writes it."""

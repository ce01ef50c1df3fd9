"""What decisions cost, from a small file.

``costs.toml`` holds amounts in any one currency: ``wrong_automated`` (loss from one wrong automated
decision), ``human_review`` (one decision by a person) and ``automated`` (one automated decision,
0 unless given).
"""

import tomllib
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from glassbox.errors import InvalidData, InvalidSetting, UnknownName
from glassbox.stats.selective.business import Costs


class _CostsFile(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    wrong_automated: float
    human_review: float
    automated: float = 0.0


def load_costs(path: Path) -> Costs:
    """Return the costs in a TOML file.

    Raises:
        UnknownName: There is no such file.
        InvalidData: It is not TOML.
        InvalidSetting: A key is missing, unknown or no number.
        InvalidValue: An amount is negative or not finite.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, IsADirectoryError):
        raise UnknownName("costs file", str(path), remedy="Give a costs.toml.") from None
    except (ValueError, RecursionError) as error:
        raise InvalidData(f"not valid TOML: {error}", source=str(path)) from error
    try:
        file = _CostsFile.model_validate(content)
    except ValidationError as error:
        # A misspelt key is missing as well; its unknown form is the one to name.
        first = min(error.errors(), key=lambda each: each["type"] != "extra_forbidden")
        key = ".".join(map(str, first["loc"]))
        if first["type"] == "extra_forbidden":
            raise InvalidSetting(key, str(path), _CostsFile.model_fields) from error
        problem = f"cannot be used: {first['msg'].lower()}"
        raise InvalidSetting(key, str(path), problem=problem) from error
    return Costs(**file.model_dump())

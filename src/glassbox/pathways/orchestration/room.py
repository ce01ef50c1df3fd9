"""Refuses a study that the machine has no room for, by its forecast."""

from collections.abc import Mapping
from typing import Any

from glassbox.errors import NoDiskSpace, OutOfMemory
from glassbox.wording import size_of


def require_fits(forecast: Mapping[str, Any]) -> None:
    """Return if the machine has room for what was forecast.

    Raises:
        OutOfMemory: It has not; says what would fit.
        NoDiskSpace: The results would not fit the disk.
    """
    if forecast["peak_bytes"] > forecast["limit_bytes"]:
        largest = max(forecast["steps"], key=lambda step: step["peak_bytes"])
        fits = forecast["would_fit"]
        remedy = (
            "Would fit: " + ", ".join(f"{key} = {value}" for key, value in fits.items())
            if fits
            else "No size of chunk would fit: use a smaller number format, shorter texts "
            "(contexts.max_tokens), fewer of them (tokens.max_responses) or a larger device"
        )
        raise OutOfMemory(
            f"The step '{largest['step']}' would need {size_of(forecast['peak_bytes'])} "
            f"({forecast['memory']}); {size_of(forecast['limit_bytes'])} are allowed by "
            f"limits.gpu_bytes, limits.host_bytes or what is free. {remedy}."
        )
    if forecast["disk_bytes"] > forecast["free_disk_bytes"]:
        raise NoDiskSpace(
            f"The results would take {size_of(forecast['disk_bytes'])}; there is room for "
            f"{size_of(forecast['free_disk_bytes'])}. Free some, raise limits.disk_bytes where it "
            "is set, or take fewer contexts or latents."
        )

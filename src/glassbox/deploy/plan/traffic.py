"""How many requests come, and when: users turned into requests a second, and the shape of a day.

Knows no servers.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Float

from glassbox.errors import InvalidValue

DAY_S: Final = 86_400.0

BUSIEST_HOUR: Final = 15.0
"""Hour of the day around which the most requests come."""


@dataclass(frozen=True)
class Traffic:
    """What users send."""

    users: float
    """How many there are."""
    requests_per_user: float
    """Requests of one user in a day, on average."""
    peak_factor: float = 1.0
    """Rate of the busiest moment over the day's mean, 1 to 2; 1 is the same all day."""

    def __post_init__(self) -> None:
        for name in ("users", "requests_per_user"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise InvalidValue(name, value, "a number above 0")
        if not 1 <= self.peak_factor <= 2:
            raise InvalidValue(
                "peak_factor",
                self.peak_factor,
                "1 to 2: the day is a sine wave, and beyond 2 its night would be below nothing",
            )

    @property
    def mean_rate(self) -> float:
        """Requests a second over the whole day."""
        return self.users * self.requests_per_user / DAY_S

    @property
    def peak_rate(self) -> float:
        """Requests a second at the busiest moment."""
        return self.mean_rate * self.peak_factor

    def rates(self, at_s: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
        """Return requests a second at some seconds of the day: a sine wave around the mean.

        The shape is a convention, not a measurement: two numbers, the mean and the peak, fix it.
        """
        angle = 2 * np.pi * (np.asarray(at_s) / DAY_S - BUSIEST_HOUR / 24)
        return self.mean_rate * (1 + (self.peak_factor - 1) * np.cos(angle))

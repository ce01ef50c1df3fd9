"""Which version answers a request and which only see it: a value, fixed for the whole request."""

import hashlib
from dataclasses import dataclass

from glassbox.rollout.version import Version


@dataclass(frozen=True)
class Routing:
    """Who does what for a model at one moment."""

    model: str
    """Registered model."""
    champion: Version
    """Answers."""
    shadows: tuple[Version, ...] = ()
    """See a copy and never answer."""
    canary: Version | None = None
    """Answers a share; None where no rollout has come that far."""
    canary_weight: float = 0.0
    """That share, in [0, 1]."""
    standby: Version | None = None
    """Answered before and is kept loaded, so that going back to it takes no time; None without."""
    rollout_id: str = ""
    """Rollout under way, if any."""
    problem: str = ""
    """Why the rollout under way is not followed; empty where it is, or where there is none."""
    revision: int = 0
    """Revision of the registry."""

    def answering(self, key: str) -> Version:
        """Return the version that answers a request.

        Args:
            key: Whatever should always get the same version while the weight stays or grows, as a
                request's or a user's id.
        """
        if self.canary is None or share_of(f"{self.rollout_id}:{key}") >= self.canary_weight:
            return self.champion
        return self.canary


def share_of(key: str) -> float:
    """Return the place of a key in [0, 1): the same for the same key, evenly spread over keys."""
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") / 2**64

"""The most memory that a process has held. Imports no large library.

A child begins with its parent's peak, so whoever measures children stays small.
"""

import resource
import sys

UNIT_BYTES = 1 if sys.platform == "darwin" else 1024
"""What the system counts ``ru_maxrss`` in."""


def peak_bytes() -> int:
    """Return the largest resident size of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * UNIT_BYTES

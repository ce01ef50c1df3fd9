"""On which terms a server runs functions: the smaller of two limits, and who was reviewed."""

import hashlib
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from glassbox.errors import AccessDenied, CorruptArtifact, InvalidValue
from glassbox.techniques.calls import LIBRARY, Call, Limits

N = TypeVar("N", int, float)

_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Terms:
    """What every run on a server has to keep to."""

    limits: Limits = field(default_factory=Limits)
    """The most that a run may use."""
    allowed: frozenset[str] | None = None
    """Digests of the functions that may run beside the built-in ones; None allows all."""

    def check(self, call: Call) -> None:
        """Do nothing if a call may be made.

        Raises:
            CorruptArtifact: The function is not what its digest says.
            AccessDenied: The function is not among those that were reviewed, or the call could
                carry another one.
        """
        shipment = call.shipment
        if shipment is not None and digest_of(shipment.payload) != call.technique:
            raise CorruptArtifact("shipment", "its bytes are not what its digest says")
        if self.allowed is None:
            return
        if not call.technique.startswith(LIBRARY) and call.technique not in self.allowed:
            raise AccessDenied(
                f"The function {call.name or 'sent'} ({call.technique[:12]}…) is not among those "
                "that were reviewed for this server (techniques.allowed). Built-in ones may run."
            )
        # Of built-in ones too: what is unpickled for them is code that nobody reviewed.
        if call.allow_pickle:
            raise AccessDenied(
                "allow_pickle is refused on a server that runs reviewed functions only: pickled "
                "values can hold functions of their own."
            )

    def tightened(self, asked: Limits) -> Limits:
        """Return what a run may use that asks for something itself."""
        most = self.limits
        return Limits(
            wall_s=_least(asked.wall_s, most.wall_s),
            cpu_s=_least(asked.cpu_s, most.cpu_s),
            memory_bytes=_least(asked.memory_bytes, most.memory_bytes),
            result_bytes=_least(asked.result_bytes, most.result_bytes),
        )


def digest_of(payload: bytes) -> str:
    """Return the digest by which a function is known."""
    return hashlib.sha256(payload).hexdigest()


def allowed_digests(setting: str) -> frozenset[str] | None:
    """Return the digests that a setting names; None where it names no list at all.

    Args:
        setting: Digests with commas between them, or a file with one at the start of each line,
            ``#`` before remarks; empty allows every function.

    Raises:
        InvalidValue: Something else.
    """
    if not setting.strip():
        return None
    path = Path(setting).expanduser()
    if all(_DIGEST.fullmatch(each.strip()) for each in setting.split(",")):
        return frozenset(each.strip() for each in setting.split(","))
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidValue(
            "techniques.allowed", setting[:200], "digests with commas between them, or a text file"
        ) from error
    words = [line.partition("#")[0].split() for line in lines]
    found = [each[0] for each in words if each]
    wrong = next((each for each in found if not _DIGEST.fullmatch(each)), None)
    if wrong is not None:
        raise InvalidValue(f"a digest in {path}", wrong[:80], "64 hexadecimal digits")
    return frozenset(found)


def _least(asked: N | None, most: N | None) -> N | None:
    given = [each for each in (asked, most) if each is not None]
    return min(given, default=None)

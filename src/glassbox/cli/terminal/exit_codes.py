"""Exit codes of the command line: one table from error classes to numbers.

Knows nothing of commands; a script can rely on these numbers from one release to the next.
"""

from enum import IntEnum
from typing import Final

from glassbox.errors import (
    AccessDenied,
    CapacityError,
    ConflictError,
    DependencyMissing,
    GlassboxError,
    IntegrityError,
    UsageError,
)


class ExitCode(IntEnum):
    """What the process says as it ends."""

    OK = 0
    UNEXPECTED = 1
    USAGE = 2
    CONFLICT = 3
    CAPACITY = 4
    INTEGRITY = 5
    DEPENDENCY = 6
    INCOMPLETE = 7
    DENIED = 8
    INTERRUPTED = 130
    PIPE_CLOSED = 141


MEANINGS: Final[dict[ExitCode, str]] = {
    ExitCode.OK: "Done.",
    ExitCode.UNEXPECTED: "A fault in Glassbox itself; the traceback belongs in a bug report.",
    ExitCode.USAGE: "The request is wrong: change it and run again.",
    ExitCode.CONFLICT: "The present state is in the way, such as an adapter of another model.",
    ExitCode.CAPACITY: "Too little memory, disk space or time, or a server that is full or away.",
    ExitCode.INTEGRITY: "Something is not what it says it is, such as a damaged file.",
    ExitCode.DEPENDENCY: "An optional library is absent; the message names the extra.",
    ExitCode.INCOMPLETE: "Finished, but not all was in order: unusable rows, a failed check.",
    ExitCode.DENIED: "No valid key was given, or the key does not allow the call.",
    ExitCode.INTERRUPTED: "Ctrl-C; what evaluates, tunes or studies resumes with the same command.",
    ExitCode.PIPE_CLOSED: "The reader of the output went away, as in `… | head`.",
}
"""One line for each code, as the reference prints it."""

TABLE: Final[tuple[tuple[type[GlassboxError], ExitCode], ...]] = (
    (UsageError, ExitCode.USAGE),
    (ConflictError, ExitCode.CONFLICT),
    (CapacityError, ExitCode.CAPACITY),
    (IntegrityError, ExitCode.INTEGRITY),
    (DependencyMissing, ExitCode.DEPENDENCY),
    (AccessDenied, ExitCode.DENIED),
)
"""Error class to exit code; a subclass takes the code of its nearest listed ancestor."""


def exit_code(error: type[GlassboxError]) -> ExitCode:
    """Return the exit code of an error class; ``UNEXPECTED`` for one outside the table."""
    return next((code for parent, code in TABLE if issubclass(error, parent)), ExitCode.UNEXPECTED)

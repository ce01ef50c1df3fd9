"""Every error that Glassbox raises on purpose, in one tree.

GlassboxError
├── UsageError                 the request is wrong: change it and call again
│   ├── UnknownName            no such model, label, column, file format, command option value
│   ├── InvalidValue           a value outside what is allowed
│   ├── InvalidSetting         a configuration key or environment variable nobody reads
│   ├── InvalidData            rows that cannot be used: says file, line and reason
│   ├── InvalidLabels          a label set that cannot be told apart by the model
│   ├── NotEnoughData          too few rows for the thing asked: says how many are needed
│   ├── TextTooLong            a text over the context, where the policy is to refuse
│   ├── InvalidHookPoint       a layer or site that the model does not have
│   ├── UnsupportedModel       the model or device cannot do what was asked
│   └── NotShippable           a function or value that cannot travel: says which part and why
├── ConflictError              the state is in the way
│   ├── AdapterMismatch        an adapter, probe or calibrator made for something else
│   ├── NotShipped             a function known by its digest only: send the function itself
│   ├── VersionMismatch        the other side runs versions under which this cannot work
│   └── TechniqueFailed        a shipped function raised, was stopped, or its worker went away
├── AccessDenied               no valid key, or the key does not allow it
├── CapacityError              the machine is in the way: free something or ask for less
│   ├── OutOfMemory            device or host memory
│   ├── NoDiskSpace            a file could not be written
│   ├── QueueFull              too many requests wait already: come back later
│   ├── DeadlineExceeded       the time a request allowed has passed
│   └── Unreachable            no server answers at an address
├── IntegrityError             stop: something is not what it says it is
│   ├── CorruptArtifact        a file is damaged or half-written
│   └── NonFiniteOutput        the model answered NaN or infinity
└── DependencyMissing          an optional library is absent: names the extra

Each has a stable ``code`` (kebab-case) for scripts and the wire, and a message that says what was
wrong, the value, what is allowed and what to do. The mapping to exit codes lives in ``cli``, the
mapping to HTTP statuses in ``server``.
"""

import difflib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from glassbox.wording import counted, listed


class GlassboxError(Exception):
    """Root of the tree; catching it catches everything Glassbox raises on purpose.

    Can be copied and pickled, so that it comes whole out of a process pool.
    """

    code = "glassbox-error"
    status: int | None = None
    """HTTP status, where a server answered with it."""
    request_id: str | None = None
    """Name of the request in the server's log, where a server answered with it."""

    def __reduce__(self) -> tuple[Any, ...]:
        # Python would call the initialiser with the message alone, which many classes here do not
        # take: a process pool that meets such an exception is broken for good.
        return made_again, (type(self), *self.args), vars(self)


class UsageError(GlassboxError):
    """The request is wrong: change it and call again."""

    code = "usage"


class UnknownName(UsageError):
    """A name that is not among the known ones.

    Args:
        kind: What the name should have been, as a reader would say it ("column", "model").
        name: The name that was given; None where none was, and there is none to choose.
        known: The names that exist; the closest one is suggested.
    """

    code = "unknown-name"

    def __init__(
        self, kind: str, name: str | None, known: Iterable[str] = (), *, remedy: str = ""
    ) -> None:
        self.kind = kind
        self.name = name
        self.known = tuple(known)
        parts = [f"No {kind}." if name is None else f"No {kind} {name!r}."]
        if self.known:
            parts.append(f"Known: {listed(self.known)}.")
            close = difflib.get_close_matches(str(name), self.known, n=1)
            if close:
                parts.append(f"Did you mean {close[0]!r}?")
        if remedy:
            parts.append(remedy)
        super().__init__(" ".join(parts))


class InvalidValue(UsageError):
    """A value outside what is allowed.

    Args:
        what: The parameter, as the caller knows it.
        value: What was given.
        allowed: What would have been accepted, as a phrase ("a fraction in (0, 1)").
    """

    code = "invalid-value"

    def __init__(self, what: str, value: object, allowed: str, *, remedy: str = "") -> None:
        self.what = what
        self.value = value
        self.allowed = allowed
        super().__init__(
            f"{what} is {value!r}; allowed: {allowed}.{' ' + remedy if remedy else ''}"
        )


class InvalidSetting(UsageError):
    """A configuration key or environment variable that nothing reads."""

    code = "invalid-setting"

    def __init__(
        self, key: str, source: str, known: Iterable[str] = (), *, problem: str = ""
    ) -> None:
        self.key = key
        self.source = source
        names = tuple(known)
        close = difflib.get_close_matches(key, names, n=1)
        # A list of many would bury what is wrong.
        few = f" Known: {', '.join(names)}." if 0 < len(names) <= 10 else ""
        hint = f" Did you mean {close[0]!r}?" if close else few
        super().__init__(f"{source}: {key!r} {problem or 'is not a known setting'}.{hint}")


class InvalidData(UsageError):
    """Rows that cannot be used.

    Args:
        reason: What is wrong and what to do.
        source: The file or other origin.
        line: 1-based line number, where there is one.
    """

    code = "invalid-data"

    def __init__(self, reason: str, *, source: str = "", line: int | None = None) -> None:
        self.reason = reason
        self.source = source
        self.line = line
        where = (
            f"{source}, line {line}: "
            if source and line is not None
            else f"{source}: " * bool(source)
        )
        super().__init__(f"{where}{reason}")


class InvalidLabels(UsageError):
    """A label set that the model cannot tell apart, or that does not fit the data."""

    code = "invalid-labels"


class NotEnoughData(UsageError):
    """Fewer rows, or other things, than the operation needs.

    Args:
        what: The operation.
        have: How many were given.
        need: How many would do; ``unit`` is what one of them is called.
    """

    code = "not-enough-data"

    def __init__(
        self, what: str, have: int, need: int, *, unit: str = "row", remedy: str = ""
    ) -> None:
        self.what, self.have, self.need = what, have, need
        super().__init__(
            f"{what} needs at least {counted(need, unit)}; there "
            f"{'is' if have == 1 else 'are'} {have:,}.{' ' + remedy if remedy else ''}"
        )


class TextTooLong(UsageError):
    """A text that does not fit the model's context, where the policy is to refuse."""

    code = "text-too-long"

    def __init__(
        self, n_tokens: int, limit: int, *, which: str = "text", remedy: str = "Shorten it."
    ) -> None:
        self.n_tokens = n_tokens
        self.limit = limit
        self.which = which
        super().__init__(
            f"The {which} takes {n_tokens} tokens; the model's context leaves room for {limit}. "
            f"{remedy}"
        )


class InvalidHookPoint(UsageError):
    """A layer or site that the model does not have."""

    code = "invalid-hook-point"


class UnsupportedModel(UsageError):
    """The model or the device cannot do what was asked."""

    code = "unsupported-model"


class NotShippable(UsageError):
    """A function, an argument or a result that cannot travel; the message names the part."""

    code = "not-shippable"


class ConflictError(GlassboxError):
    """The present state is in the way."""

    code = "conflict"


class AdapterMismatch(ConflictError):
    """An adapter or calibrator made for another base model, prompt or label set."""

    code = "adapter-mismatch"


class NotShipped(ConflictError):
    """A function known by its digest only: send the function itself.

    Args:
        digest: Digest that was asked for.
    """

    code = "not-shipped"

    def __init__(self, digest: str) -> None:
        super().__init__(f"No function with digest {digest[:12]} is known here: send it along.")
        self.digest = digest


class VersionMismatch(ConflictError):
    """The other side runs versions under which this cannot work."""

    code = "version-mismatch"


class TechniqueFailed(ConflictError):
    """A shipped function raised, was stopped, or its worker went away.

    Also the cause of the exception that is raised in its stead where the same class exists here.
    """

    code = "technique-failed"


class AccessDenied(GlassboxError):
    """No valid key was given, or the key's scopes do not cover the call; an object store's too."""

    code = "access-denied"


class CapacityError(GlassboxError):
    """The machine is in the way: free something, wait, or ask for less."""

    code = "capacity"


class OutOfMemory(CapacityError):
    """Device or host memory did not suffice even for the smallest batch."""

    code = "out-of-memory"


class NoDiskSpace(CapacityError):
    """A file could not be written for want of space."""

    code = "no-disk-space"


class QueueFull(CapacityError):
    """Too many requests wait already.

    Args:
        n_waiting: Requests in the queue.
        retry_after_s: Seconds after which a place is likely to be free.
    """

    code = "queue-full"

    def __init__(self, n_waiting: int, retry_after_s: float) -> None:
        self.n_waiting = n_waiting
        self.retry_after_s = retry_after_s
        super().__init__(
            f"{counted(n_waiting, 'request waits', 'requests wait')} already, which is the most "
            f"that are kept waiting. Try again in about {retry_after_s:.0f} s."
        )


class DeadlineExceeded(CapacityError):
    """The time that a request allowed has passed."""

    code = "deadline-exceeded"


class Unreachable(CapacityError):
    """No server answers at an address."""

    code = "unreachable"

    never_arrived = False
    """Whether it is known that nothing was taken there, so that the same can be asked anew."""


class IntegrityError(GlassboxError):
    """Stop: something is not what it says it is."""

    code = "integrity"


class CorruptArtifact(IntegrityError):
    """A file is damaged, half-written or of an unknown schema version."""

    code = "corrupt-artifact"

    def __init__(self, path: object, reason: str, *, remedy: str = "") -> None:
        self.path = str(path)
        self.reason = reason
        super().__init__(f"{path}: {reason}.{' ' + remedy if remedy else ''}")


class NonFiniteOutput(IntegrityError):
    """The model answered NaN or infinity where a number was needed."""

    code = "non-finite-output"


class DependencyMissing(GlassboxError):
    """An optional library is absent.

    Args:
        library: The import that failed.
        extra: The extra of ``glassbox-llm`` that brings it.
    """

    code = "dependency-missing"

    def __init__(self, library: str, extra: str) -> None:
        self.library = library
        self.extra = extra
        super().__init__(
            f"This needs {library!r}, which is not installed. "
            f"Run: pip install 'glassbox-llm[{extra}]'"
        )


def made_again(kind: type[GlassboxError], *args: object) -> GlassboxError:
    """Return an error with its words as they were; its initialiser would make them anew."""
    return kind.__new__(kind, *args)


def _tree(kind: type[GlassboxError]) -> Iterator[type[GlassboxError]]:
    yield kind
    for each in kind.__subclasses__():
        yield from _tree(each)


BY_CODE: Final[Mapping[str, type[GlassboxError]]] = {
    each.code: each for each in _tree(GlassboxError)
}
"""The classes above. What other modules derive goes by the code of what it derives from."""


def first_line(error: BaseException) -> str:
    """Return what somebody else's error says, in one line and without its full stop."""
    return (str(error).strip().partition("\n")[0].rstrip() or type(error).__name__).rstrip(".")


def is_not_signed_in(error: BaseException) -> bool:
    """Return whether botocore says that AWS does not know who asks, or does no longer."""
    return any(each.__name__ in _NOT_SIGNED_IN for each in type(error).__mro__)


_NOT_SIGNED_IN = frozenset(
    {
        "CredentialRetrievalError",
        "LoginError",
        "NoAuthTokenError",
        "NoCredentialsError",
        "PartialCredentialsError",
        "ProfileNotFound",
        "SSOError",
        "TokenRetrievalError",
    }
)
"""Classes of botocore, or their bases, by name: older ones lack some."""

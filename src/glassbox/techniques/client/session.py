"""``RemoteSession``: several calls in one turn, with what lies between them left where it is.

Knows references; the values they stand for stay on the other side until they are asked for.
"""

from typing import Any, Self

from glassbox.errors import InvalidValue
from glassbox.techniques.client.calling import Calls, Choices, Where
from glassbox.techniques.client.folders import Technique
from glassbox.techniques.client.handle import TechniqueRun
from glassbox.techniques.values import RemoteValue


def _given(_model: object, _tokenizer: object, value: Any) -> Any:
    """Return what it is given: how a value gets there, and back."""
    return value


class RemoteSession:
    """Calls that follow one another with nobody between them; a context manager.

    Args:
        calls: What the client's calls have in common.
        choices: What its caller chose.
        idle_s: Seconds without a call after which the other side ends it; None is its choice.
    """

    def __init__(self, calls: Calls, choices: Choices, idle_s: float | None = None) -> None:
        self._calls = calls
        self._choices = choices
        calls.link.ready(quiet=choices.quiet)
        self.id: str = calls.link.backend.open_session(caller=choices.caller, idle_s=idle_s)
        """Names the session."""
        # What it is called where it is, in the references that come from there: not always the
        # same, because a backend of several puts before it which of them.
        self._over_there: str | None = None

    def __repr__(self) -> str:
        return f"RemoteSession({self.id!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def run(self, technique: str | Technique, /, *args: Any, **kwargs: Any) -> Any:
        """Return what a technique returns; arguments may be references of this session.

        Raises:
            GlassboxError: As ``InterpClient.run``.
            UnknownName: The session has ended.
        """
        return self._submit(technique, args, kwargs, keep=False).result()

    def submit(self, technique: str | Technique, /, *args: Any, **kwargs: Any) -> TechniqueRun:
        """Return the handle of a call in this session."""
        return self._submit(technique, args, kwargs, keep=False)

    def keep(self, technique: str | Technique, /, *args: Any, **kwargs: Any) -> RemoteValue:
        """Return a reference to what a technique returns, which stays on the other side."""
        return self._reference(self._submit(technique, args, kwargs, keep=True))

    def put(self, value: Any) -> RemoteValue:
        """Return a reference to a value that travels there once."""
        return self._reference(self._submit(_given, (value,), {}, keep=True))

    def get(self, reference: RemoteValue) -> Any:
        """Return the value that a reference of this session stands for.

        Raises:
            InvalidValue: It belongs to another session, or is no reference.
        """
        if not isinstance(reference, RemoteValue):
            raise InvalidValue("reference", reference, "what put or keep of this session returned")
        if reference.session != self._over_there:
            raise InvalidValue("reference", reference.describes, "a reference of this session")
        return self._submit(_given, (reference,), {}, keep=False).result()

    def close(self) -> None:
        """End it and forget what was kept; idempotent."""
        self._calls.link.backend.close_session(self.id)

    def _submit(
        self,
        technique: str | Technique,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        *,
        keep: bool,
    ) -> TechniqueRun:
        where = Where(self.id, keep)
        return self._calls.submit(technique, [list(args), kwargs], self._choices, where=where)

    def _reference(self, run: TechniqueRun) -> RemoteValue:
        reference = run.result()
        assert isinstance(reference, RemoteValue)
        self._over_there = reference.session
        return reference

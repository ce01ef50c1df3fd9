"""The watch in a process of its own, so that no request ever waits for a comparison.

The process gets one question as JSON on its standard input, opens the database itself, and answers
with one line of JSON: the id under which it kept the result. It runs at the lowest priority.
"""

import os
import subprocess
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, NoReturn

import orjson

from glassbox.audit.store import InferenceStore
from glassbox.errors import CapacityError, DeadlineExceeded, GlassboxError
from glassbox.rollout.drift.drift_store import DriftStore
from glassbox.rollout.drift.reference import Reference
from glassbox.rollout.drift.report import DriftReport
from glassbox.rollout.version import DEFAULT_MODEL
from glassbox.settings import DriftSettings
from glassbox.storage.database import open_database

if TYPE_CHECKING:
    from glassbox.rollout.drift.watch import DriftWatch

TIMEOUT_S: Final = 300.0
"""Seconds that a comparison may take before its process is ended."""

IN_MEMORY: Final = ("sqlite://", "sqlite:///:memory:")
"""Addresses of databases that live in one process."""

NICENESS: Final = 19
"""Behind everything else on the machine."""


class DriftApart:
    """Asks a process of its own for references and reports.

    Args:
        url: Address of the database.
        settings: Size of the window, and how much is chance.
        store: References and reports of that database.
        here: Watch on the calling thread, for a database in memory: no other process sees that.
        timeout_s: Most seconds that a process gets.
    """

    def __init__(
        self,
        url: str,
        settings: DriftSettings,
        store: DriftStore,
        *,
        here: "DriftWatch | None" = None,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self._url = url
        self._here = here if url in IN_MEMORY else None
        self._settings = settings
        self._store = store
        self._timeout_s = timeout_s

    def run(
        self,
        model: str = DEFAULT_MODEL,
        *,
        model_version: str | None = None,
        within_s: float | None = None,
    ) -> DriftReport:
        """Return the report on the latest records, kept from now on; see ``DriftWatch.run``.

        The process is ended after ``within_s``, if that is less than ``timeout_s``.

        Raises:
            ConflictError: There is no reference.
            DeadlineExceeded: It took too long.
            CapacityError: The process could not be started, or died.
        """
        if self._here is not None:
            return self._here.run(model=model, model_version=model_version)
        found = self._ask("run", {"model": model, "model_version": model_version}, within_s)
        return self._store.report(found)

    def freeze(
        self,
        *,
        model: str = DEFAULT_MODEL,
        model_version: str | None = None,
        last_n: int | None = None,
        since_s: float | None = None,
        until_s: float | None = None,
        actor: str = "unknown",
        within_s: float | None = None,
    ) -> Reference:
        """Return a new reference, the current one from now on; see ``DriftWatch.freeze``.

        The process is ended after ``within_s``, if that is less than ``timeout_s``.

        Raises:
            InvalidValue: Both a number and a time were asked for, or an end without a beginning.
            NotEnoughData: Fewer than 100 answers.
            DeadlineExceeded: It took too long.
            CapacityError: The process could not be started, or died.
        """
        arguments: dict[str, Any] = {
            "model": model,
            "model_version": model_version,
            "last_n": last_n,
            "since_s": since_s,
            "until_s": until_s,
            "actor": actor,
        }
        if self._here is not None:
            return self._here.freeze(**arguments)
        found = self._store.reference(model, reference_id=self._ask("freeze", arguments, within_s))
        if found is None:
            raise CapacityError("The reference was kept, but the database does not show it.")
        return found

    def _ask(self, verb: str, arguments: Mapping[str, Any], within_s: float | None) -> str:
        timeout_s = self._timeout_s if within_s is None else min(within_s, self._timeout_s)
        question = {
            "url": self._url,
            "settings": self._settings.model_dump(mode="json"),
            "verb": verb,
            "arguments": arguments,
        }
        try:
            done = subprocess.run(
                # Modules are those that are installed, not files of the folder that we are in.
                [sys.executable, "-P", "-m", __name__],
                input=orjson.dumps(question),
                capture_output=True,
                timeout=timeout_s,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise DeadlineExceeded(
                f"The comparison took more than {timeout_s:g} s and was ended. Allow it more time, "
                "or set drift.window to fewer records."
            ) from error
        except OSError as error:
            raise CapacityError(f"No process could be started: {error.strerror}.") from error
        return _answer(done.returncode, done.stdout, done.stderr)


def answer(question: bytes) -> bytes:
    """Return the answer to one question, both as JSON: an ``id``, or an ``error``."""
    # Only the process that compares takes the half second that this import lasts.
    from glassbox.rollout.drift.watch import DriftWatch

    asked = orjson.loads(question)
    try:
        database = open_database(asked["url"])
        try:
            watch = DriftWatch(
                InferenceStore(database),
                DriftStore(database),
                DriftSettings.model_validate(asked["settings"]),
            )
            if asked["verb"] == "freeze":
                found = watch.freeze(**asked["arguments"]).reference_id
            else:
                found = watch.run(**asked["arguments"]).report_id
        finally:
            database.close()
    except GlassboxError as error:
        return orjson.dumps({"error": {"code": error.code, "message": str(error)}})
    return orjson.dumps({"id": found})


def _answer(status: int, output: bytes, complaint: bytes) -> str:
    """Return the id that a process answered with, or raise the error that it met."""
    try:
        found = orjson.loads(output)
    except orjson.JSONDecodeError as error:
        last = complaint.decode(errors="replace").strip().splitlines()[-1:]
        raise CapacityError(
            f"The process that compares ended with status {status}: {' '.join(last) or 'no word'}."
        ) from error
    if "error" in found:
        _raise(found["error"]["code"], found["error"]["message"])
    return str(found["id"])


def _raise(code: str, message: str) -> NoReturn:
    """Raise the error that another process met, as one of the same class."""
    kinds: list[type[GlassboxError]] = [GlassboxError]
    for kind in kinds:
        kinds.extend(kind.__subclasses__())
    kind = next((each for each in kinds if each.code == code), GlassboxError)
    error = kind.__new__(kind)
    # The message is whole already; the constructors of some would build another one.
    error.args = (message,)
    raise error


def main() -> None:
    """Answer the one question on standard input."""
    os.nice(NICENESS)
    sys.stdout.buffer.write(answer(sys.stdin.buffer.read()))


if __name__ == "__main__":
    main()

"""A backend in another process, over anything that carries one packed value there and one back.

``Residence`` is the far half: it makes the model resident when it is first asked for, and answers
in plain bytes, so that neither half unpickles anything the other made. ``FarBackend`` is the near
half. Knows neither Ray nor Modal.
"""

import gc
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, wait
from dataclasses import asdict
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import orjson

from glassbox.errors import (
    BY_CODE,
    GlassboxError,
    IntegrityError,
    TechniqueFailed,
    made_again,
)
from glassbox.techniques.calls import (
    Call,
    Environment,
    ModelInfo,
    Packed,
    RemoteError,
    Run,
)
from glassbox.techniques.carrying.calls_and_runs import (
    call_packed,
    packed_call,
    packed_run,
    run_packed,
)
from glassbox.techniques.protocol import Progress

if TYPE_CHECKING:
    from glassbox.techniques.running.desk import Desk

Carry = Callable[[Packed], Packed]
"""Takes a question to the far half and brings its answer.

Raises ``Unreachable`` when nothing is there and nothing could be started, and ``TechniqueFailed``
with the reason when the far half went away while it was asked.
"""

START_WAIT_S = 1.0
"""Seconds after which the far half says how far loading has come."""

_RESTARTED = "What held the model was started anew, and the run was lost with the old one."

_GONE = orjson.dumps({"gone": True})


class Residence:
    """The far half: one resident model, made when it is first needed.

    Args:
        open_desk: Makes the model resident and returns what runs techniques beside it.
    """

    def __init__(self, open_desk: "Callable[[Progress], Desk]") -> None:
        self._open_desk = open_desk
        self._lock = threading.Lock()
        self._desk: Future[Desk] | None = None
        self._former: Desk | None = None
        self._doing: tuple[str, float | None] = ("starting", None)
        self._n_asked = 0
        self._last_asked = time.monotonic()
        self._has_ended = False

    def answer(self, asked: Packed) -> Packed:
        """Return what was asked for, or in its stead the error of ours that it came to."""
        with self._lock:
            if self._has_ended:
                return Packed(_GONE)
            self._n_asked += 1
        try:
            fields = orjson.loads(asked.tree)
            question = _QUESTIONS[fields["ask"]]
            return question(self, fields, asked.buffers)
        except GlassboxError as error:
            return Packed(orjson.dumps({"refused": _error_fields(error)}, default=str))
        finally:
            with self._lock:
                self._n_asked -= 1
                self._last_asked = time.monotonic()

    def n_under_way(self) -> int:
        """How many runs have not ended."""
        desk = self._resident_now()
        return 0 if desk is None else desk.n_waiting + (desk.running is not None)

    def overdue_s(self) -> float:
        """For how long a run has been asked to end and has not; 0 otherwise."""
        desk = self._resident_now()
        return 0.0 if desk is None else desk.overdue_s

    def end_if_idle(self, idle_s: float) -> bool:
        """End, if for so long nobody asked, nothing ran and no session was open.

        From then on every question is sent back unread.
        """
        desk = self._resident_now()
        quiet_s = float("inf") if desk is None else desk.idle_s
        with self._lock:
            quiet_s = min(quiet_s, time.monotonic() - self._last_asked)
            is_idle = not self._n_asked and quiet_s >= idle_s
            self._has_ended = self._has_ended or is_idle
            return self._has_ended

    def close(self) -> None:
        """Let the model go."""
        desk = self._resident_now()
        if desk is not None:
            desk.close()

    def desk(self) -> "Desk":
        """Return what runs techniques; waits until the model is resident.

        One that takes no calls any more is replaced.
        """
        return self._loading().result()

    def desk_now(self) -> "Desk":
        """Return the desk that is there, even one that takes no calls; loads only where none is."""
        return self._resident_now() or self.desk()

    def _resident_now(self) -> "Desk | None":
        loading = self._desk
        if loading is None or not loading.done() or loading.exception() is not None:
            return None
        return loading.result()

    def _loading(self) -> "Future[Desk]":
        with self._lock:
            former = self._resident_now()
            is_under_way = self._desk is not None and not self._desk.done()
            if self._desk is not None and (is_under_way or (former and not former.failure)):
                return self._desk
            self._former = former or self._former
            self._desk = Future()
            threading.Thread(target=self._load, args=(self._desk, former), daemon=True).start()
            return self._desk

    def _load(self, loading: "Future[Desk]", former: "Desk | None") -> None:
        try:
            if former is not None:
                # A technique left the model so that it could not be put back: two have no room.
                self._told("letting the former model go", None)
                former.close()
                gc.collect()
            desk = self._open_desk(self._told)
            desk.start(self._told)
        except BaseException as error:  # noqa: BLE001  handed to whoever waits for the model
            loading.set_exception(error)
        else:
            loading.set_result(desk)

    def _told(self, doing: str, share: float | None) -> None:
        self._doing = (doing, share)

    def _start(self, fields: Mapping[str, Any], _buffers: object) -> Packed:
        loading = self._loading()
        wait([loading], timeout=float(fields["wait_s"]))
        if loading.done():
            loading.result()
        doing, share = self._doing
        return _fields(ready=loading.done(), doing=doing, share=share)

    def _environment(self, _asked: Mapping[str, Any], _buffers: object) -> Packed:
        return _fields(**asdict(self.desk_now().environment()))

    def _model_info(self, _asked: Mapping[str, Any], _buffers: object) -> Packed:
        return _fields(**asdict(self.desk_now().model_info()))

    def _submit(self, fields: Mapping[str, Any], buffers: tuple[Any, ...]) -> Packed:
        call, _ = packed_call(Packed(bytes(buffers[0]), tuple(buffers[1:])))
        run = self.desk().submit(call, wait_s=float(fields["wait_s"]))
        return _enclosing(run_packed(run))

    def _run(self, fields: Mapping[str, Any], _buffers: object) -> Packed:
        # Without a desk nothing has run in this life, and saying so needs no model.
        run = _lost(fields["run"], TechniqueFailed(_RESTARTED))
        for desk in (self._resident_now(), self._former):
            # How a run ended that harmed the model is known at the desk that it has closed.
            if desk is not None and run.status == "lost":
                after, wait_s = int(fields["after"]), float(fields["wait_s"])
                run = desk.run(fields["run"], after=after, wait_s=wait_s)
        return _enclosing(run_packed(run))

    def _result(self, fields: Mapping[str, Any], _buffers: object) -> Packed:
        return _enclosing(self.desk_now().result(fields["run"]))

    def _cancel(self, fields: Mapping[str, Any], _buffers: object) -> Packed:
        desk = self._resident_now()
        if desk is not None:
            desk.cancel(fields["run"])
        return _fields()

    def _open_session(self, fields: Mapping[str, Any], _buffers: object) -> Packed:
        session = self.desk().open_session(caller=fields["caller"], idle_s=fields["idle_s"])
        return _fields(session=session)

    def _close_session(self, fields: Mapping[str, Any], _buffers: object) -> Packed:
        desk = self._resident_now()
        if desk is not None:
            desk.close_session(fields["session"])
        return _fields()

    def _load_now(self, _asked: Mapping[str, Any], _buffers: object) -> Packed:
        return _fields(n_under_way=self.n_under_way())


_QUESTIONS: dict[str, Callable[[Residence, Mapping[str, Any], Any], Packed]] = {
    "start": Residence._start,
    "environment": Residence._environment,
    "model_info": Residence._model_info,
    "submit": Residence._submit,
    "run": Residence._run,
    "result": Residence._result,
    "cancel": Residence._cancel,
    "open_session": Residence._open_session,
    "close_session": Residence._close_session,
    "load": Residence._load_now,
}


class FarBackend:
    """The near half: a backend whose methods are questions to a residence.

    Args:
        carry: Takes a question there and brings the answer.
    """

    def __init__(self, carry: Carry) -> None:
        self._carry = carry

    def start(self, progress: Progress) -> None:
        """Make the model resident where it is not, telling how far it is; waits until it is."""
        while True:
            state = orjson.loads(self._ask("start", wait_s=START_WAIT_S).tree)
            if state["ready"]:
                return
            progress(state["doing"], state["share"])

    def environment(self) -> Environment:
        """What shipped code meets on the other side."""
        return Environment(**orjson.loads(self._ask("environment").tree))

    def model_info(self) -> ModelInfo:
        """The resident model."""
        return ModelInfo(**orjson.loads(self._ask("model_info").tree))

    def submit(self, call: Call, *, wait_s: float = 0.0) -> Run:
        """Take a call; lost, with the reason, if the other side went away over it."""
        inner = call_packed(call)
        try:
            answer = self._ask("submit", (inner.tree, *inner.buffers), wait_s=wait_s)
        except TechniqueFailed as error:
            return _lost(f"lost-{uuid4().hex}", error)
        return packed_run(_enclosed(answer))

    def run(self, run_id: str, *, after: int = 0, wait_s: float = 0.0) -> Run:
        """What is known of a run; lost, with the reason, if the other side went away."""
        try:
            answer = self._ask("run", run=run_id, after=after, wait_s=wait_s)
        except TechniqueFailed as error:
            return _lost(run_id, error)
        return packed_run(_enclosed(answer))

    def result(self, run_id: str) -> Packed:
        """The packed result of a run that succeeded; answers once."""
        return _enclosed(self._ask("result", run=run_id))

    def cancel(self, run_id: str) -> None:
        """Ask a run to end; one on a side that went away has ended."""
        try:
            self._ask("cancel", run=run_id)
        except TechniqueFailed:
            return

    def open_session(self, *, caller: str = "", idle_s: float | None = None) -> str:
        """The id of a session over there."""
        answer = self._ask("open_session", caller=caller, idle_s=idle_s)
        session: str = orjson.loads(answer.tree)["session"]
        return session

    def close_session(self, session: str) -> None:
        """End a session; on a side that went away it has ended."""
        try:
            self._ask("close_session", session=session)
        except TechniqueFailed:
            return

    def n_under_way(self) -> int:
        """How many runs have not ended over there."""
        n: int = orjson.loads(self._ask("load").tree)["n_under_way"]
        return n

    def close(self) -> None:
        """Let go of nothing: the far half is shared."""

    def _ask(self, ask: str, buffers: tuple[Any, ...] = (), **fields: object) -> Packed:
        answer = self._carry(Packed(orjson.dumps({"ask": ask, **fields}), buffers))
        head = orjson.loads(answer.tree)
        if "refused" in head:
            raise _error_of(head["refused"])
        return answer


def is_gone(answer: Packed) -> bool:
    """Whether a residence had ended before it looked at a question: it may be asked elsewhere."""
    return bytes(answer.tree) == _GONE


def _lost(run_id: str, error: TechniqueFailed) -> Run:
    described = RemoteError(
        type=f"{TechniqueFailed.__module__}.{TechniqueFailed.__qualname__}",
        message=str(error),
        traceback="",
        code=error.code,
    )
    return Run(id=run_id, status="lost", error=described)


def _fields(**fields: object) -> Packed:
    return Packed(orjson.dumps(fields))


def _enclosing(inner: Packed) -> Packed:
    return Packed(orjson.dumps({}), (inner.tree, *inner.buffers))


def _enclosed(answer: Packed) -> Packed:
    return Packed(bytes(answer.buffers[0]), tuple(answer.buffers[1:]))


def _error_fields(error: GlassboxError) -> dict[str, object]:
    plain = (str, int, float, bool, type(None))
    kept = {name: value for name, value in vars(error).items() if isinstance(value, plain)}
    return {"code": error.code, "message": str(error), "attributes": kept}


def _error_of(fields: Mapping[str, Any]) -> GlassboxError:
    """Return an error of ours again, in the words of the other side."""
    kind = BY_CODE.get(fields["code"])
    if kind is None:
        return IntegrityError(f"{fields['message']} (unknown code {fields['code']!r})")
    error = made_again(kind, fields["message"])
    for name, value in fields["attributes"].items():
        setattr(error, name, value)
    return error

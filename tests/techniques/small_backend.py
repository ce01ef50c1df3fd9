"""A backend without a model: shipped functions run in a thread, beside a list and a text."""

import threading
import time
import uuid
from dataclasses import replace

from glassbox.engine.model.attempt import attempt
from glassbox.errors import NotShipped, UnknownName
from glassbox.techniques import transport, values
from glassbox.techniques.calls import (
    FINAL,
    Call,
    Environment,
    ModelInfo,
    Packed,
    RemoteError,
    Run,
    Timing,
)
from glassbox.techniques.shipping import environment

MODEL_INFO = ModelInfo(
    model="small", digest="0" * 64, architecture="list", dtype="float32", device="cpu",
    n_layers=2, d_model=8, n_heads=2, vocab_size=16, n_parameters=64, context=32,
)  # fmt: skip


class SmallBackend:
    """Keeps what it was asked, so that tests can look at it."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.known: dict[str, object] = {}
        self.runs: dict[str, Run] = {}
        self.sessions: dict[str, dict[str, object]] = {}
        self.cancelled: list[str] = []
        self.n_started = 0
        self.is_closed = False
        self.there: Environment = environment.here()
        self._changed = threading.Condition()

    def start(self, progress) -> None:
        self.n_started += 1
        progress("loading", 0.5)

    def environment(self) -> Environment:
        return self.there

    def model_info(self) -> ModelInfo:
        return MODEL_INFO

    def submit(self, call: Call, *, wait_s: float = 0.0) -> Run:
        self.calls.append(call)
        if call.shipment is not None:
            self.known[call.technique] = transport.receive(call.shipment)
        if call.technique not in self.known:
            raise NotShipped(call.technique)
        if call.session is not None and call.session not in self.sessions:
            raise UnknownName("session", call.session)
        run = Run(uuid.uuid4().hex, "running")
        self.runs[run.id] = run
        threading.Thread(target=self._execute, args=(run.id, call), daemon=True).start()
        return self._wait(run.id, wait_s, 0)

    def run(self, run_id: str, *, after: int = 0, wait_s: float = 0.0) -> Run:
        return self._wait(run_id, wait_s, after)

    def result(self, run_id: str) -> Packed:
        raise UnknownName("result", run_id)

    def cancel(self, run_id: str) -> None:
        self.cancelled.append(run_id)
        self._end(run_id, "cancelled", error=_error(RuntimeError("cancelled")))

    def open_session(self, *, caller: str = "", idle_s: float | None = None) -> str:
        session = uuid.uuid4().hex
        self.sessions[session] = {}
        return session

    def close_session(self, session: str) -> None:
        self.sessions.pop(session, None)

    def close(self) -> None:
        self.is_closed = True

    def _execute(self, run_id: str, call: Call) -> None:
        kept = self.sessions.get(call.session or "", {})
        function = self.known[call.technique]

        def told(line: str) -> None:
            with self._changed:
                run = self.runs[run_id]
                self.runs[run_id] = replace(run, lines=(*run.lines, line), n_lines=run.n_lines + 1)
                self._changed.notify_all()

        model = [told]

        def execute() -> Packed:
            args, kwargs, *inputs = values.unpack(
                call.arguments, resolve=lambda reference: kept[reference.id]
            )
            if call.is_map:
                result = [function(model, "tok", *args, **kwargs, **each) for each in inputs[0]]
            else:
                result = function(model, "tok", *args, **kwargs)
            if call.keep:
                reference = values.RemoteValue(call.session or "", uuid.uuid4().hex, "a value")
                kept[reference.id] = result
                result = reference
            return values.owned(values.pack(result))

        packed = attempt(execute)
        if isinstance(packed, Exception):
            self._end(run_id, "failed", error=_error(packed))
        else:
            self._end(run_id, "succeeded", result=packed, result_bytes=packed.n_bytes)

    def _end(self, run_id: str, status: str, **fields) -> None:
        with self._changed:
            if self.runs[run_id].status not in FINAL:
                self.runs[run_id] = replace(
                    self.runs[run_id],
                    status=status,
                    timing=Timing(queue_s=0.001, run_s=0.002),
                    undone=("1 forward hook removed",),
                    **fields,
                )
            self._changed.notify_all()

    def _wait(self, run_id: str, wait_s: float, after: int) -> Run:
        until = time.monotonic() + wait_s
        with self._changed:
            while self.runs[run_id].status not in FINAL and self.runs[run_id].n_lines <= after:
                left = until - time.monotonic()
                if left <= 0:
                    break
                self._changed.wait(left)
            run = self.runs[run_id]
            return replace(run, lines=run.lines[after:])


def _error(error: Exception) -> RemoteError:
    kind = type(error)
    return RemoteError(
        f"{kind.__module__}.{kind.__qualname__}", str(error), "Traceback …", 2, "raise …"
    )

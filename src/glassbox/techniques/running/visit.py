"""Runs techniques while the model is lent: everything between taking a call and its outcome.

Knows the lent model and one call at a time; knows nothing of queues.
"""

import inspect
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from glassbox.engine.model.devices import is_out_of_memory
from glassbox.engine.protocol import EngineInfo, Lent
from glassbox.errors import ConflictError, GlassboxError, UnknownName
from glassbox.techniques import values
from glassbox.techniques.calls import (
    Limits,
    ModelInfo,
    Packed,
    RemoteError,
    RunStatus,
    allow_more,
)
from glassbox.techniques.packed.named_classes import classes_of
from glassbox.techniques.running.execution import Technique, execute, execute_map, require_plain
from glassbox.techniques.running.functions import Functions
from glassbox.techniques.running.hidden_prompt import HiddenPrompt
from glassbox.techniques.running.printed import kept_lines
from glassbox.techniques.running.process_record import ProcessRecord
from glassbox.techniques.running.remote_errors import describe, edited
from glassbox.techniques.running.run_state import Job
from glassbox.techniques.running.sessions import Session, Sessions
from glassbox.techniques.running.stopping import Stopped


@dataclass(frozen=True, eq=False)
class Outcome:
    """What came of a call."""

    status: RunStatus
    """How it ended."""
    result: Packed | None = None
    """Its packed result, or the reference to it where it is kept here."""
    error: RemoteError | None = None
    """Why there is none."""
    undone: tuple[str, ...] = ()
    """What it left behind and was put back."""
    fault: GlassboxError | None = None
    """Why the model cannot be used any more."""


class Visit:
    """The model while it is lent to the desk.

    Args:
        lent: The model.
        functions: What can be called.
        sessions: Where results are kept on request.
        hidden: The system prompt that is never shown; None where there is none.
        process: Put back after each run; None where other things go on in this process.
    """

    def __init__(
        self,
        lent: Lent,
        functions: Functions,
        sessions: Sessions,
        hidden: HiddenPrompt | None,
        process: ProcessRecord | None = None,
    ) -> None:
        self._lent = lent
        self._functions = functions
        self._sessions = sessions
        self._hidden = hidden
        self._process = process

    def run(self, job: Job, session: Session | None, limits: Limits) -> Outcome:
        """Return what came of a call; nothing that it does or raises gets out.

        Args:
            job: The call.
            session: Where it belongs.
            limits: What it is held to; its memory, where that is bounded.
        """
        undone: Counter[str] = Counter()
        result: Packed | None = None
        error: RemoteError | None = None
        own_file = ""
        try:
            with job.stop.heeded(self._lent.model), kept_lines(job.printed):
                function = self._functions.get(job.call.technique)
                own_file = _file_of(function)
                value = self._value(job, session, function, undone)
                result = self._packed(job, session, value, limits)
        except Stopped:
            pass
        except BaseException as raised:  # noqa: BLE001
            # Somebody else's code: whatever it raises, SystemExit included, is its outcome.
            _add_remedy(raised, limits.memory_bytes)
            error = self._described(raised, own_file)
            traceback.clear_frames(raised.__traceback__)
        reason = job.stop.reason
        if reason is not None:
            error, result = describe(reason), None
        try:
            undone.update(self._undo())
        except GlassboxError as fault:
            error = error or describe(fault)
            return Outcome("failed", None, error, _counted(undone), fault)
        status: RunStatus = "succeeded"
        if error is not None:
            status = "cancelled" if job.cancelled else "failed"
        return Outcome(status, result, error, _counted(undone))

    def _value(
        self, job: Job, session: Session | None, function: Technique, undone: Counter[str]
    ) -> Any:
        require_plain(function)
        call = job.call

        def resolve(reference: values.RemoteValue) -> Any:
            if session is None or reference.session != session.id:
                raise UnknownName(
                    "value", reference.id, remedy="It is kept in another session, or in none."
                )
            if reference.id not in session.kept:
                raise UnknownName("value", reference.id, sorted(session.kept))
            return session.kept[reference.id]

        given = values.unpack(
            call.arguments,
            allow_pickle=call.allow_pickle and self._functions.trusts_callers,
            resolve=resolve,
            classes=classes_of(function),
        )
        model, tokenizer = self._lent.model, self._lent.tokenizer
        if self._hidden is not None:
            tokenizer = self._hidden.guest(tokenizer)
        if not call.is_map:
            args, kwargs = given
            return execute(function, model, tokenizer, args, kwargs)
        args, kwargs, inputs = given

        def between() -> None:
            with job.stop.paused(model):
                undone.update(self._undo())

        return execute_map(function, model, tokenizer, (args, kwargs), inputs, between=between)

    def _undo(self) -> tuple[str, ...]:
        process = self._process.restore() if self._process is not None else ()
        return (*self._lent.undo(), *process)

    def _packed(self, job: Job, session: Session | None, value: Any, limits: Limits) -> Packed:
        call = job.call
        if call.keep:
            if session is None:
                raise ConflictError("A result is kept in a session only. Open one.")
            if value is self._lent.model or value is self._lent.tokenizer:
                raise ConflictError("The model and its tokenizer are here already: return values.")
            name = self._sessions.keep(session, value)
            return values.pack(values.RemoteValue(session.id, name, _describe(value)))
        if self._hidden is not None:
            value = self._hidden.redacted(value)
        packed = values.pack(value, allow_pickle=call.allow_pickle, max_bytes=limits.result_bytes)
        # A copy: what was returned may be a view of memory that the next one changes.
        return values.owned(packed)

    def _described(self, raised: BaseException, own_file: str) -> RemoteError:
        error = describe(raised, own_file)
        return error if self._hidden is None else edited(error, self._hidden.text)


def describe_model(
    lent: Lent, info: EngineInfo, adapter: str | None, has_hidden: bool
) -> ModelInfo:
    """Return the resident model as a researcher wants to know it."""
    config = lent.model.config.get_text_config()
    return ModelInfo(
        model=info.name,
        digest=info.digest,
        architecture=str(config.model_type),
        dtype=info.dtype,
        device=info.device,
        n_layers=info.n_layers,
        d_model=info.d_model,
        n_heads=int(getattr(config, "num_attention_heads", 0) or 0),
        vocab_size=info.d_vocab,
        n_parameters=info.n_parameters,
        context=info.context,
        adapter=adapter,
        has_hidden_prompt=has_hidden,
        is_isolated=False,
    )


def _add_remedy(raised: BaseException, memory_bytes: int | None) -> None:
    """Say of an error for lack of memory what the limit was, where there is one."""
    if memory_bytes is None or not is_out_of_memory(raised):
        return
    said = str(raised)
    if not isinstance(raised, torch.OutOfMemoryError) and not any(
        each in said for each in _ACCELERATORS
    ):
        raised.add_note(
            f"It may take {memory_bytes / 2**20:,.0f} MiB of memory beside the model. "
            + allow_more("Limits(memory_bytes=…)")
        )


_ACCELERATORS = ("CUDA", "CUBLAS", "MPS")
"""Named by errors for lack of a device's own memory, which no limit of a process is about."""


def _file_of(function: Callable[..., Any]) -> str:
    code = getattr(inspect.unwrap(function), "__code__", None)
    return str(code.co_filename) if code is not None else ""


def _describe(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"{str(value.dtype).removeprefix('torch.')} tensor of shape {tuple(value.shape)}"
    size = f" of {len(value)}" if isinstance(value, list | tuple | dict | set | str) else ""
    return f"{type(value).__name__}{size}"


def _counted(notes: Counter[str]) -> tuple[str, ...]:
    return tuple(note if n == 1 else f"{note} ({n} times)" for note, n in notes.items())

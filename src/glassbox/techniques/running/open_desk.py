"""From a spec to a model that techniques run beside: engine and desk in this process.

Everything heavy is imported here and only when it is called.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from glassbox.errors import DependencyMissing
from glassbox.importing import importing_libraries
from glassbox.techniques.calls import Call
from glassbox.techniques.protocol import Progress
from glassbox.techniques.worker_spec import WorkerSpec

if TYPE_CHECKING:
    from glassbox.engine.protocol import Engine
    from glassbox.techniques.running.desk import Desk

Guard = Callable[[str, Call], AbstractContextManager[int | None]]
"""Entered around each run, on its thread, with the run's id and the call; gives the bytes of memory
that it may take, None where they are not bounded."""


def open_desk(
    spec: WorkerSpec,
    progress: Progress,
    *,
    guard: Guard | None = None,
    owns_process: bool = False,
) -> "Desk":
    """Return a desk beside a model that was made resident for it.

    Args:
        spec: Which model.
        progress: Told what is being done.
        guard: Entered around each run.
        owns_process: Whether nothing but techniques runs in this process.

    Raises:
        DependencyMissing: torch or transformers is not installed.
        GlassboxError: Whatever was in the way of loading it.
    """
    progress("importing torch and transformers", None)
    try:
        with importing_libraries():
            from glassbox.engine.resident import load_engine
    except ModuleNotFoundError as error:
        raise DependencyMissing(error.name or "torch", "serve") from error

    progress(f"loading {spec.model}", None)
    engine = load_engine(spec.model_spec, threads=spec.threads)
    progress(f"{spec.model} is resident", 1.0)
    return desk_of(engine, spec, guard=guard, owns_process=owns_process, on_close=engine.close)


def desk_of(
    engine: "Engine",
    spec: WorkerSpec,
    *,
    guard: Guard | None = None,
    owns_process: bool = False,
    on_close: Callable[[], None] | None = None,
) -> "Desk":
    """Return a desk beside an engine, with everything of a spec that is not the engine's."""
    from glassbox.techniques.running.desk import Desk

    return Desk(
        engine,
        limits=spec.limits,
        max_waiting=spec.max_waiting,
        hidden_system_prompt=spec.hidden_system_prompt,
        name=spec.app_name,
        adapter=spec.adapter,
        guard=guard,
        owns_process=owns_process,
        on_close=on_close,
    )

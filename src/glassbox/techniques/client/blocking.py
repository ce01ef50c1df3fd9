"""``InterpClient``: your own function beside a resident model, wherever that is.

``client.run(fn, text="…")`` calls ``fn(model, tokenizer, text="…")`` where the model is and
returns what it returns. Importing this needs no torch.
"""

import copy
import sys
from collections.abc import Callable, Iterable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, Self

from glassbox.errors import UnknownName
from glassbox.techniques.calls import Environment, Limits, ModelInfo
from glassbox.techniques.client.calling import Calls, Choices, new_caller
from glassbox.techniques.client.folders import (
    Technique,
    TechniqueFolder,
    load_techniques_from_dir,
)
from glassbox.techniques.client.handle import Finished, OnLine, TechniqueRun
from glassbox.techniques.client.link import Notes
from glassbox.techniques.client.options import (
    Reach,
    is_address,
    model_and_adapter,
    open_backend,
)
from glassbox.techniques.client.session import RemoteSession
from glassbox.techniques.container_spec import SCALEDOWN_WINDOW_S, container
from glassbox.techniques.protocol import Backend
from glassbox.techniques.worker_spec import Dtype, WorkerSpec


def show_line(line: str) -> None:
    """Write what a technique printed to where this program prints."""
    sys.stdout.write(line + "\n")


class InterpClient:
    """Runs techniques beside a resident model; a context manager. Thread-safe.

    Nothing is started before the first call, which makes the model resident and shows that it
    does; later calls, and the next client for the same model on the machine, find it there.

    Args:
        app_name: Groups workers and runs: two names never share a worker.
        model_name: Folder, hub name or ``tiny``; with ``is_peft`` that of the adapter. None is
            ``tiny``, or whatever a server holds.
        backend: ``local`` (a worker process on this machine), ``http://…`` (a Glassbox server),
            ``ray``, ``modal``, or a backend of your own.
        gpu: A10G, A100, H100, L4 or ``any``, where a machine is chosen for you.
        base_model: The model that the adapter belongs to.
        is_peft: ``model_name`` is a PEFT adapter.
        hidden_system_prompt: Put before every text that is tokenised there, and never shown.
        min_containers: Copies of the model that stay resident however long nobody calls.
        scaledown_window: Seconds without a call after which the others are let go.
        image: Packages to install beside the model, or a whole ``modal.Image``.
        deploy: Deploy to Modal, so that other programs find it.
        keep_warm: Former name of ``min_containers``.
        container_idle_timeout: Former name of ``scaledown_window``.
        api_key: Key of a server, with the scope ``techniques``; None takes ``GLASSBOX_API_KEY``.
        address: Of a Ray cluster; None uses this machine.
        dtype: Number format of the weights.
        device: ``auto`` or a torch device name.
        limits: What a run may use; None leaves it to the other side.
        allow_pickle: Trust the other side with values that only pickle can carry.
        quiet: Show neither loading nor what techniques print.
        on_line: Called with each printed line as it comes, instead of writing it out.

    Raises:
        UnknownName: No such backend or GPU.
        InvalidValue: An option outside what is allowed.
        DependencyMissing: The backend's library is not installed.
    """

    def __init__(  # noqa: PLR0913  the options of one place that is named once
        self,
        app_name: str = "default",
        model_name: str | Path | None = None,
        *,
        backend: str | Backend = "local",
        gpu: str | None = None,
        base_model: str | Path | None = None,
        is_peft: bool = False,
        hidden_system_prompt: str | None = None,
        min_containers: int = 0,
        scaledown_window: int = SCALEDOWN_WINDOW_S,
        image: object | None = None,
        deploy: bool = False,
        keep_warm: int | None = None,
        container_idle_timeout: int | None = None,
        api_key: str | None = None,
        address: str | None = None,
        dtype: Dtype = "auto",
        device: str = "auto",
        limits: Limits | None = None,
        allow_pickle: bool = False,
        quiet: bool = False,
        on_line: OnLine | None = None,
    ) -> None:
        wanted, translated = container(
            gpu=gpu,
            image=image,
            min_containers=min_containers,
            scaledown_window=scaledown_window,
            keep_warm=keep_warm,
            container_idle_timeout=container_idle_timeout,
        )
        model, adapter = model_and_adapter(
            "tiny" if model_name is None else model_name, base_model, is_peft
        )
        spec = WorkerSpec(
            model=model,
            adapter=adapter,
            app_name=app_name,
            dtype=dtype,
            device=device,
            hidden_system_prompt=hidden_system_prompt,
            idle_s=wanted.idle_s,
        )
        opened, unmet = open_backend(
            backend, spec, wanted, Reach(api_key=api_key, address=address, deploy=deploy)
        )
        where = backend if isinstance(backend, str) else type(backend).__name__
        named = None if model_name is None else str(model_name)
        self._shown = f"InterpClient({app_name!r}, {named!r}, backend={where!r})"
        notes = Notes()
        for note in (*translated, *unmet):
            notes(note)
        self._calls = Calls(opened, notes, named if is_address(backend) else None)
        self._choices = Choices(
            limits=limits or Limits(),
            allow_pickle=allow_pickle,
            quiet=quiet,
            on_line=on_line or (None if quiet else show_line),
            caller=new_caller(),
        )

    def __repr__(self) -> str:
        return self._shown

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def run(self, technique: str | Technique, /, *args: Any, **kwargs: Any) -> Any:
        """Return what a technique returns; ``client.last`` tells how long what took.

        An interrupt from the keyboard cancels the run.

        Args:
            technique: A function ``fn(model, tokenizer, …)``; the name of a built-in technique or
                of one loaded by ``load_techniques_from_dir``; or ``FILE.py:FUNCTION``.
            *args: Its arguments after model and tokenizer.
            **kwargs: Its keyword arguments.

        Raises:
            NotShippable: The function or an argument cannot travel; the message names the part.
            VersionMismatch: Code from here cannot run over there.
            TechniqueFailed: It failed; where the remote exception's class exists here, that class
                is raised and this is its cause, with the remote traceback.
            GlassboxError: What was in the way of reaching or loading the model.
        """
        return _waited_for(self.submit(technique, *args, **kwargs))

    def submit(self, technique: str | Technique, /, *args: Any, **kwargs: Any) -> TechniqueRun:
        """Return a handle at once: its status, lines while it runs, result, and how to cancel it.

        Raises:
            GlassboxError: As ``run``, but for what the technique itself does.
        """
        return self._calls.submit(technique, [list(args), kwargs], self._choices)

    def map(
        self, technique: str | Technique, inputs: Iterable[Any], /, *args: Any, **kwargs: Any
    ) -> list[Any]:
        """Return one result for each input, in order; everything travels once.

        Args:
            technique: As for ``run``.
            inputs: Mappings of parameter names to values; or bare values for the first parameter
                after model and tokenizer.
            *args: The same for every input.
            **kwargs: The same for every input.

        Raises:
            GlassboxError: As ``run``; the first input that fails ends the map.
        """
        return list(_waited_for(self.submit_map(technique, inputs, *args, **kwargs)))

    def submit_map(
        self, technique: str | Technique, inputs: Iterable[Any], /, *args: Any, **kwargs: Any
    ) -> TechniqueRun:
        """Return the handle of a map at once; its result is a list.

        Raises:
            GlassboxError: As ``map``, but for what the technique itself does.
        """
        each = self._calls.inputs_of(technique, inputs, kwargs)
        given = [list(args), kwargs, each]
        return self._calls.submit(technique, given, self._choices, is_map=True)

    def session(self, *, idle_s: float | None = None) -> RemoteSession:
        """Return a session: several calls in one turn, values kept on the other side.

        Args:
            idle_s: Seconds without a call after which it ends; None is the other side's choice.

        Raises:
            GlassboxError: What was in the way of reaching or loading the model.
        """
        return RemoteSession(self._calls, self._choices, idle_s)

    def model_info(self) -> ModelInfo:
        """Return what is resident; makes it so if it is not.

        Raises:
            GlassboxError: What was in the way of reaching or loading the model.
        """
        self.start()
        return self._calls.link.backend.model_info()

    def environment(self) -> Environment:
        """Return the versions on the other side; makes the model resident if it is not.

        Raises:
            GlassboxError: What was in the way of reaching or loading the model.
        """
        self.start()
        return self._calls.link.backend.environment()

    def start(self) -> Self:
        """Make the model resident now and not with the first call; idempotent.

        Raises:
            GlassboxError: What was in the way of reaching or loading the model.
        """
        self._calls.link.ready(quiet=self._choices.quiet)
        return self

    def load_techniques_from_dir(self, path: str | Path) -> TechniqueFolder:
        """Return a folder's techniques by name; ``run`` then takes the names too.

        Raises:
            UnknownName: There is no such folder.
        """
        found = load_techniques_from_dir(path)
        for file, why in found.broken.items():
            self._calls.notes(f"{Path(path) / file} could not be read: {why}")
        self._calls.loaded.update(found)
        return found

    def techniques(self) -> dict[str, str]:
        """Return what can be run by name, and what each does: built-in ones and loaded ones."""
        from glassbox.techniques.catalogue.built_in import library

        known = {name: technique.title for name, technique in library().items()}
        return known | {name: _first_line(fn) for name, fn in self._calls.loaded.items()}

    def options(self, **changes: Any) -> Self:
        """Return this client with other choices; both share the backend and what it knows.

        Args:
            **changes: ``limits``, ``allow_pickle``, ``quiet``, ``on_line``.

        Raises:
            UnknownName: No such choice.
        """
        known = [each.name for each in fields(Choices)]
        for name in changes:
            if name not in known:
                raise UnknownName("option of a call", name, known)
        if changes.get("quiet") and "on_line" not in changes:
            changes["on_line"] = None
        other = copy.copy(self)
        other._choices = replace(self._choices, **changes)
        return other

    @property
    def last(self) -> Finished | None:
        """The run whose result this thread took last: its timing, lines, and what was undone."""
        return self._calls.last

    @property
    def notes(self) -> tuple[str, ...]:
        """Remarks made so far, such as names that were translated."""
        return self._calls.notes.made

    @property
    def backend(self) -> Backend:
        """What runs techniques."""
        return self._calls.link.backend

    def close(self) -> None:
        """Let go of connections; the model stays resident for its idle time. Idempotent."""
        self._calls.link.backend.close()


def _waited_for(run: TechniqueRun) -> Any:
    """Return a run's result; whoever stops waiting stops the run."""
    try:
        return run.result()
    except BaseException:
        run.cancel()
        raise


def _first_line(function: Callable[..., Any]) -> str:
    return (function.__doc__ or "").strip().partition("\n")[0]

"""Techniques on Modal: one container holds a resident model, started by calls, let go when idle.

Runs and sessions live in that container, so there is one; questions meet there at the same time
and its desk takes one technique after another. Modal is imported inside the functions.
"""

import threading
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

from glassbox.errors import InvalidValue
from glassbox.techniques.calls import FINAL, Call, Environment, ModelInfo, Packed, Run
from glassbox.techniques.carrying.far_side import FarBackend
from glassbox.techniques.container_spec import SCALEDOWN_WINDOW_S, Container
from glassbox.techniques.packed.framing import frame, unframe
from glassbox.techniques.protocol import Progress
from glassbox.techniques.remote.modal_account import modal_errors, put_folders
from glassbox.techniques.remote.modal_app import CLASS_NAME, ModalApp, app_name, check, define
from glassbox.techniques.remote.modal_image import modal_library
from glassbox.techniques.worker_spec import WorkerSpec


class ModalBackend:
    """Runs techniques in a container of Modal's.

    Args:
        spec: Which model, and how.
        container: GPU, image, and how long the container stays without a call.
        deploy: Deploy the app; else the one that was deployed under the same name is looked up.
        environment: Modal environment; None takes the profile's.
        secrets: Names of Modal secrets for the container, such as one that holds HF_TOKEN.
        rehearse: Run the app's class in this process instead: all of it but the cloud.

    Raises:
        InvalidValue: Numbers that Modal does not allow.
        DependencyMissing: Modal is not installed.
    """

    def __init__(
        self,
        spec: WorkerSpec,
        *,
        container: Container | None = None,
        deploy: bool = False,
        environment: str | None = None,
        secrets: Sequence[str] = (),
        rehearse: bool = False,
    ) -> None:
        if deploy and rehearse:
            raise InvalidValue("rehearse", rehearse, "False where deploy=True")
        self._spec = spec
        self._container = container or Container()
        self._environment = environment
        self._secrets = tuple(secrets)
        self._deploys = deploy
        self._rehearses = rehearse
        self._lock = threading.Lock()
        self._resident: Any = None
        self._far = FarBackend(self._carry)
        check(self._container)
        modal_library()

    @property
    def app(self) -> ModalApp:
        """The app as it is, or would be, deployed; or as it is rehearsed."""
        return define(self._spec, self._container, secrets=self._secrets, rehearsal=self._rehearses)

    def start(self, progress: Progress) -> None:
        """Deploy if that was asked for, start a container, and wait until its model is resident.

        Raises:
            AccessDenied: No token of Modal's on this machine, or one that is not valid.
            UnknownName: Nothing was deployed under this name.
            Unreachable: Modal cannot be reached.
            GlassboxError: What went wrong while the model was loaded.
        """
        if self._deploys:
            progress(f"deploying {app_name(self._spec)} to Modal", None)
            self._deploy()
        progress("starting a container and loading the model", None)
        self._far.start(progress)

    def environment(self) -> Environment:
        """What shipped code meets in the container."""
        return self._far.environment()

    def model_info(self) -> ModelInfo:
        """The resident model."""
        return self._far.model_info()

    def submit(self, call: Call, *, wait_s: float = 0.0) -> Run:
        """Take a call; the container stays until its run has ended."""
        run = self._far.submit(call, wait_s=wait_s)
        if run.status not in FINAL and not self._rehearses:
            # A container that no input is in may be let go, whatever its threads do.
            with self._our_errors():
                self._obj().hold.spawn(run.id)
        return run

    def run(self, run_id: str, *, after: int = 0, wait_s: float = 0.0) -> Run:
        """What is known of a run; one that a former container had is lost."""
        return self._far.run(run_id, after=after, wait_s=wait_s)

    def result(self, run_id: str) -> Packed:
        """The packed result of a run that succeeded; answers once."""
        return self._far.result(run_id)

    def cancel(self, run_id: str) -> None:
        """Ask a run to end."""
        self._far.cancel(run_id)

    def open_session(self, *, caller: str = "", idle_s: float | None = None) -> str:
        """The id of a session; it ends with its container, which an idle one does not keep."""
        return self._far.open_session(caller=caller, idle_s=idle_s)

    def close_session(self, session: str) -> None:
        """End a session and forget what was kept in it."""
        self._far.close_session(session)

    def close(self) -> None:
        """Let go of the container, which stays for its ``scaledown_window``; a rehearsal ends."""
        with self._lock:
            self._resident = None

    def _deploy(self) -> None:
        made = self.app
        with self._our_errors():
            put_folders(made.uploads, environment=self._environment)
            made.app.deploy(environment_name=self._environment)
        self._deploys = False

    def _obj(self) -> Any:
        """Return the instance whose methods are called: in the cloud, or here in a rehearsal."""
        with self._lock:
            if self._resident is None:
                self._resident = self._found()
            return self._resident

    def _found(self) -> Any:
        if self._rehearses:
            return self.app.resident()
        modal = modal_library()
        name = app_name(self._spec)
        found = modal.Cls.from_name(name, CLASS_NAME, environment_name=self._environment)()
        wanted = self._container
        if wanted.min_containers or wanted.scaledown_window_s != SCALEDOWN_WINDOW_S:
            # What was deployed may say otherwise; who said nothing leaves it as it is.
            found.update_autoscaler(
                min_containers=wanted.min_containers, scaledown_window=wanted.scaledown_window_s
            )
        return found

    def _carry(self, asked: Packed) -> Packed:
        framed = b"".join(frame(asked))
        with self._our_errors():
            method = self._obj().answer
            return unframe(method.local(framed) if self._rehearses else method.remote(framed))

    def _our_errors(self) -> AbstractContextManager[None]:
        return modal_errors(
            app_name(self._spec), "Say deploy=True once, with the same model, app_name and limits"
        )

"""Inside a Modal container: a whole server, its model loaded for the snapshot and moved later.

Runs the same in any process, so that all of it can be tried without Modal. Knows nothing of apps.
"""

import tempfile
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glassbox.deploy.bundle import opened
from glassbox.deploy.modal.definition import CACHE
from glassbox.deploy.modal.plan import ContainerPlan
from glassbox.errors import GlassboxError
from glassbox.runtime import Runtime
from glassbox.settings import take_hidden_system_prompt

if TYPE_CHECKING:
    from glassbox.deploy.bundle import Opened
    from glassbox.engine.model.load import LoadedModel
    from glassbox.server.serving import Serving


class ServerResidence:
    """What Modal's class does, without Modal.

    Args:
        plan: What to serve, as JSON.
    """

    def __init__(self, plan: bytes) -> None:
        self._plan = ContainerPlan.from_json(plan)
        self._opened: Opened | None = None
        self._loaded: LoadedModel | None = None
        self._serving: Serving | None = None
        self._app: Any = None
        self._own = ""
        self._at_end = ExitStack()

    def load(self) -> None:
        """Check the bundle and load its model on the CPU: this is what the snapshot keeps.

        Raises:
            CorruptArtifact: A file of the bundle is not what it was when it was sent.
            GlassboxError: The model cannot be loaded.
        """
        self._opened = opened(Path(self._plan.bundle), cache=_cache(), base=self._plan.base)
        if self._plan.has_snapshot:
            from glassbox.engine.model.load import load_model

            spec = self._runtime(self._opened).model_spec(self._opened.wanted.model)
            self._loaded = load_model(replace(spec, device="cpu"))

    def settle(self) -> None:
        """Take secrets, database and device, which a snapshot must not hold, and begin to serve.

        Raises:
            CapacityError: The database cannot be reached.
            GlassboxError: Something of the bundle does not fit the model.
        """
        from glassbox.server.app import begin_serving
        from glassbox.server.process.running import set_up_logs
        from glassbox.server.start import assemble, whole_app
        from glassbox.server.telemetry.tracing import open_tracing

        if self._opened is None:
            self.load()
        assert self._opened is not None
        if self._plan.writes_log:
            set_up_logs()
        runtime = self._runtime(self._opened)
        keys = runtime.key_store()
        if self._plan.has_own_database:
            keys.adopt(self._plan.keys)
        settings = runtime.settings
        tracing = open_tracing(settings.telemetry)
        app = whole_app(settings.server, keys, None, tracing, settings.paths.studies)
        wanted = replace(self._opened.wanted, hidden=take_hidden_system_prompt())
        loaded, self._loaded = self._loaded, None
        self._serving = assemble(runtime, wanted, app.state.guards, loaded=loaded)
        begin_serving(app, self._serving)
        self._app = app

    @property
    def app(self) -> Any:
        """The ASGI app.

        Raises:
            GlassboxError: ``settle`` was not called, or failed.
        """
        if self._app is None:
            raise GlassboxError("The server has not been started: Modal calls 'settle' before.")
        return self._app

    def close(self) -> None:
        """Take no more requests, write down what was recorded, let the model go; idempotent."""
        serving, self._serving = self._serving, None
        if serving is not None:
            guards = self._app.state.guards
            guards.lifecycle.drain()
            serving.close()
            guards.tracing.close()
        self._at_end.close()

    def _runtime(self, found: "Opened") -> Runtime:
        settings = {**found.overrides, **self._plan.settings}
        if self._plan.has_own_database:
            settings["storage.url"] = f"sqlite:///{self._folder()}/glassbox.db"
            settings["paths.versions"] = f"{self._folder()}/versions"
        return Runtime.load(settings)

    def _folder(self) -> str:
        """Return a folder of this container's own, made anew where a snapshot's is not there."""
        if not self._own or not Path(self._own).is_dir():
            self._own = self._at_end.enter_context(tempfile.TemporaryDirectory(prefix="glassbox"))
        return self._own


def _cache() -> Path | None:
    """Return where fetched base models stay between containers; None outside of one."""
    cache = Path(CACHE)
    return cache if cache.parent.is_dir() else None

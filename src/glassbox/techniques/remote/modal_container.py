"""Inside a Modal container: a model loaded on the CPU for the snapshot, then moved and asked.

Runs the same in any process, so that all of it can be tried without Modal. Knows nothing of apps.
"""

from dataclasses import replace
from typing import TYPE_CHECKING

from glassbox.settings import take_hidden_system_prompt
from glassbox.techniques.calls import FINAL
from glassbox.techniques.carrying.far_side import Residence
from glassbox.techniques.packed.framing import frame, unframe
from glassbox.techniques.protocol import Progress
from glassbox.techniques.running.open_desk import desk_of, open_desk
from glassbox.techniques.worker_spec import WorkerSpec

if TYPE_CHECKING:
    from glassbox.engine.model.load import LoadedModel
    from glassbox.techniques.running.desk import Desk

HOLD_WAIT_S = 30.0
"""Seconds of one wait for a run that keeps its container from being let go."""


class ModalResidence:
    """What Modal's class does, without Modal.

    Args:
        spec: Which model, as JSON; the hidden prompt is left out and comes as a secret.
    """

    def __init__(self, spec: bytes) -> None:
        self._spec = WorkerSpec.from_json(spec)
        self._loaded: LoadedModel | None = None
        self._residence: Residence | None = None

    def load(self) -> None:
        """Load the model on the CPU: what this leaves in memory becomes the snapshot.

        Quantised weights exist on a GPU only and are loaded when there is one.
        """
        if self._spec.quantization is not None:
            return
        from glassbox.engine.model.load import load_model

        self._loaded = load_model(replace(self._spec.model_spec, device="cpu"))

    def settle(self) -> None:
        """Take the secrets and the device, which a snapshot must not hold."""
        hidden = take_hidden_system_prompt() or self._spec.hidden_system_prompt
        self._spec = replace(self._spec, hidden_system_prompt=hidden)
        self._residence = Residence(self._open)
        self._residence.desk()

    def answer(self, framed: bytes) -> bytes:
        """Return the framed answer to a framed question."""
        return b"".join(frame(self._settled().answer(unframe(framed))))

    def hold(self, run_id: str) -> None:
        """Return when a run has ended: Modal lets no container go that an input is in."""
        desk = self._settled().desk_now()
        while desk.run(run_id, wait_s=HOLD_WAIT_S).status not in FINAL:
            continue

    def close(self) -> None:
        """Let the model go."""
        if self._residence is not None:
            self._residence.close()
            self._residence = None

    def _settled(self) -> Residence:
        if self._residence is None:
            self.settle()
        assert self._residence is not None
        return self._residence

    def _open(self, progress: Progress) -> "Desk":
        if self._loaded is None:
            return open_desk(self._spec, progress)
        from glassbox.engine.resident import load_engine

        loaded, self._loaded = self._loaded, None
        engine = load_engine(self._spec.model_spec, threads=self._spec.threads, loaded=loaded)
        return desk_of(engine, self._spec, on_close=engine.close)

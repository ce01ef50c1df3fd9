"""One actor with a resident model: what runs inside it, and how it is found, asked and revived.

Questions and answers are bytes and arrays of bytes; large ones travel through Ray's shared memory
and are read where they are. Ray is imported inside the functions.
"""

import os
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from glassbox.errors import GlassboxError, TechniqueFailed
from glassbox.techniques.calls import Buffer, Packed
from glassbox.techniques.carrying.far_side import FarBackend, Residence, is_gone
from glassbox.techniques.protocol import Progress
from glassbox.techniques.remote.ray_cluster import NAMESPACE, ray_library
from glassbox.techniques.running.open_desk import open_desk
from glassbox.techniques.worker_spec import WorkerSpec

if TYPE_CHECKING:
    from glassbox.techniques.running.desk import Desk

N_ASKED_AT_ONCE = 64
"""Questions that an actor answers at a time; most of them wait for a run to end."""

N_CONTROL = 8
"""Further ones for what never waits long: a run can be cancelled while all the others wait."""

QUIET_S = 2.0
"""Seconds without a word after which an actor is asked whether it lives before it gets a call."""

RESTART_S = 120.0
"""Seconds that an actor gets to come back after its process died."""

LINGER_S = 1.0
"""Seconds for which an actor that was idle too long sends questions back before it goes."""

OVERDUE_S = 10.0
"""Seconds that a run gets to end when it is asked to; then its process is ended."""

OVERDUE_EXIT = 75
"""Exit status of a process that ended itself over such a run."""

DEAD_LOAD = 0.5
"""What an actor that would have to be started counts for: an idle one is better."""

_CONTROL = frozenset({"start", "load", "cancel", "environment", "open_session", "close_session"})
_REPEATABLE = _CONTROL | {"run", "model_info"}
_LOAD = orjson.dumps({"ask": "load"})
_BEGIN = orjson.dumps({"ask": "start", "wait_s": 0.0})


@dataclass(frozen=True)
class ActorPlan:
    """How an actor is made."""

    num_cpus: float
    """Processors that it takes of its node."""
    num_gpus: float
    """Share of a GPU."""
    gpu: str | None
    """Ray's accelerator type; None takes any."""
    packages: tuple[str, ...]
    """Requirements that Ray installs for it."""
    name: str = ""
    """Its name in the namespace."""
    namespace: str = NAMESPACE
    """Where it has its name."""
    spec: bytes = b""
    """Which model, as JSON."""
    idle_s: float | None = None
    """Seconds without a call after which it ends itself; None never."""


class RayResidence:
    """Inside the actor: a residence, and a watch that ends it when nobody calls.

    Args:
        spec: Which model, as JSON.
        idle_s: Seconds without a call after which it ends itself; None never.
    """

    def __init__(self, spec: bytes, idle_s: float | None) -> None:
        self._residence = Residence(lambda progress: _open(spec, progress))
        self._idle_s = idle_s
        threading.Thread(target=self._watch, daemon=True).start()

    def ask(self, tree: bytes, *arrays: Any) -> tuple[bytes, list[Any]]:
        """Return a residence's answer to a question."""
        answer = self._residence.answer(Packed(tree, tuple(map(memoryview, arrays))))
        return bytes(answer.tree), [_array(each) for each in answer.buffers]

    def keep(self, idle_s: float | None) -> None:
        """Stay without a call for as long as the client asks who asks for longest."""
        if self._idle_s is not None:
            self._idle_s = None if idle_s is None else max(self._idle_s, idle_s)

    def _watch(self) -> None:
        while True:
            idle_s = self._idle_s
            time.sleep(1.0 if idle_s is None else min(1.0, idle_s / 4))
            if self._residence.overdue_s() > OVERDUE_S:
                # Ray starts the process again; nothing less ends a loop outside of Python.
                os._exit(OVERDUE_EXIT)
            if idle_s is not None and self._residence.end_if_idle(idle_s):
                break
        time.sleep(LINGER_S)
        ray = ray_library()
        ray.kill(ray.get_runtime_context().current_actor, no_restart=True)


class Replica:
    """The near end of one actor: made or found on the first question, made again when it is gone.

    Args:
        ray: Returns Ray, connected.
        plan: How the actor is made.
    """

    def __init__(self, ray: Callable[[], ModuleType], plan: ActorPlan) -> None:
        self._ray = ray
        self._plan = plan
        self._lock = threading.Lock()
        self._actor: Any = None
        self._heard = float("-inf")
        self.last_death = ""
        """Why the actor's process ended when it last did so unasked; empty if it never did."""
        self.far = FarBackend(self._carry)
        """The actor as a backend."""

    def begin(self) -> None:
        """Have the model loaded, without waiting for it."""
        self._send(self._ray(), "start", Packed(_BEGIN))

    def wait_placed(self, progress: Progress) -> None:
        """Wait until the cluster has given the actor a place."""
        ray = self._ray()
        reference = self._send(ray, "load", Packed(_LOAD))
        while not ray.wait([reference], timeout=1.0)[0]:
            needs = f"{self._plan.num_cpus:g} CPU"
            if self._plan.num_gpus:
                needs += f", {self._plan.num_gpus:g} {self._plan.gpu or ''} GPU".replace("  ", " ")
            progress(f"waiting for a place in the Ray cluster ({needs})", None)

    def load(self) -> float:
        """How many runs it has, without reviving it if it is dead."""
        ray = self._ray()
        try:
            if self._actor is None:
                ray.get_actor(self._plan.name, namespace=self._plan.namespace)
            tree, _ = ray.get(self._send(ray, "load", Packed(_LOAD)), timeout=RESTART_S)
        except (ray.exceptions.RayError, ValueError):
            # Ray knows no actor of that name, or it died since.
            return DEAD_LOAD
        return float(orjson.loads(tree).get("n_under_way", DEAD_LOAD))

    def forget(self, actor: Any = None) -> None:
        """Let go of the actor's handle; it is looked up again when it is needed."""
        with self._lock:
            if actor is None or self._actor is actor:
                self._actor = None

    def stop(self) -> None:
        """End the actor, if there is one."""
        ray = self._ray()
        try:
            actor = ray.get_actor(self._plan.name, namespace=self._plan.namespace)
        except ValueError:
            return
        ray.kill(actor, no_restart=True)
        self.forget()

    def _carry(self, asked: Packed) -> Packed:
        """Ask the actor; what may be asked twice is, when its process died."""
        ask = orjson.loads(asked.tree)["ask"]
        is_repeatable = ask in _REPEATABLE
        if not is_repeatable and time.monotonic() - self._heard > QUIET_S:
            self._carry(Packed(_LOAD))
        ray = self._ray()
        give_up = time.monotonic() + RESTART_S
        while True:
            try:
                answer = self._received(ray.get(self._send(ray, ask, asked)))
            except ray.exceptions.RayActorError as error:
                self._note(error)
                if not is_repeatable or time.monotonic() > give_up:
                    raise TechniqueFailed(self.last_death) from error
            except ray.exceptions.RayError as error:
                raise GlassboxError(f"Ray could not ask the model's actor: {error}") from error
            else:
                if not is_gone(answer):
                    self._heard = time.monotonic()
                    return answer
                self.forget()
            time.sleep(0.1)

    def _send(self, ray: ModuleType, ask: str, asked: Packed) -> Any:
        actor = self._found(ray)
        method = actor.ask.options(concurrency_group="control") if ask in _CONTROL else actor.ask
        return method.remote(bytes(asked.tree), *map(_array, asked.buffers))

    @staticmethod
    def _received(parts: tuple[bytes, list[Any]]) -> Packed:
        tree, arrays = parts
        return Packed(tree, tuple(map(memoryview, arrays)))

    def _found(self, ray: ModuleType) -> Any:
        with self._lock:
            if self._actor is None:
                self._actor = _actor(ray, self._plan)
                self._actor.keep.options(concurrency_group="control").remote(self._plan.idle_s)
            return self._actor

    def _note(self, error: Exception) -> None:
        # What may be asked once only waits from now on until the actor has answered something.
        self._heard = float("-inf")
        text = str(error)
        found = re.search(r"is unavailable: (?:The actor is temporarily unavailable: )?(.*?)\. The "
                          r"task may", text, re.DOTALL)  # fmt: skip
        words = found[1] if found else text.strip().splitlines()[-1].strip()
        self.last_death = (
            "The Ray actor that held the model went away, as os._exit, a crash or a node without "
            "memory end it, and with it all that ran or waited there. The next call starts it "
            f"again. Ray says: {words.rstrip('.')}."
        )
        if found is None:
            self.forget()


def _actor(ray: ModuleType, plan: ActorPlan) -> Any:
    """Return the actor of a name; Ray makes it where there is none."""
    options: dict[str, Any] = {
        "name": plan.name,
        "namespace": plan.namespace,
        "lifetime": "detached",
        "get_if_exists": True,
        "max_restarts": -1,
        "max_task_retries": 0,
        "max_concurrency": N_ASKED_AT_ONCE,
        "num_cpus": plan.num_cpus,
        "num_gpus": plan.num_gpus,
    }
    if plan.gpu is not None:
        options["accelerator_type"] = plan.gpu
    if plan.packages:
        options["runtime_env"] = {"pip": list(plan.packages)}
    made = ray.remote(concurrency_groups={"control": N_CONTROL})(RayResidence)
    return made.options(**options).remote(plan.spec, plan.idle_s)


def _open(spec: bytes, progress: Progress) -> "Desk":
    return open_desk(WorkerSpec.from_json(spec), progress, owns_process=True)


def _array(buffer: Buffer) -> "np.ndarray[Any, np.dtype[np.uint8]]":
    """Return bytes as an array, which Ray moves through shared memory without copying it twice."""
    view = memoryview(buffer)
    return np.frombuffer(view, np.uint8) if view.nbytes else np.empty(0, np.uint8)

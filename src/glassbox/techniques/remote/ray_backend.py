"""Techniques on Ray: one detached, named actor holds a resident model, found by every client.

Several replicas share the calls, each with its own copy of the model; a session stays on one.
Ray is imported inside the functions. Knows nothing of techniques themselves.
"""

import hashlib
import itertools
from dataclasses import replace
from types import ModuleType

from glassbox.errors import CapacityError, InvalidValue
from glassbox.techniques.calls import Call, Environment, ModelInfo, Packed, Run
from glassbox.techniques.container_spec import Container
from glassbox.techniques.protocol import Progress
from glassbox.techniques.remote.ray_actor import ActorPlan, Replica
from glassbox.techniques.remote.ray_cluster import LOCAL, NAMESPACE, join
from glassbox.techniques.worker_spec import WorkerSpec


class RayBackend:
    """Runs techniques in Ray actors that outlive the program, each with a resident model.

    On a cluster of our own (``local``) the actors end with the program. An actor whose process
    dies is started again by Ray and loads the model at the next call; what ran in it is lost.

    Args:
        spec: Which model, and how.
        container: The kind of GPU, packages to install, how long unused models stay.
        address: ``local``, ``auto`` or ``host:port``; see ``ray_cluster.join``.
        num_gpus: Share of a GPU for each replica in [0, 1]; None is one where a kind is named.
        num_cpus: Processors for each replica.
        replicas: Actors with a copy of the model each; at least as many as are kept warm.
        namespace: Where the actors have their names.

    Raises:
        InvalidValue: A share or number outside what is allowed, or an image made for Modal.
    """

    def __init__(
        self,
        spec: WorkerSpec,
        *,
        container: Container | None = None,
        address: str = LOCAL,
        num_gpus: float | None = None,
        num_cpus: float = 1.0,
        replicas: int = 1,
        namespace: str = NAMESPACE,
    ) -> None:
        wanted = container or Container()
        self._address = address
        self._namespace = namespace
        self._plan = _plan(wanted, num_gpus, num_cpus)
        if not 1 <= replicas <= 1000:
            raise InvalidValue("replicas", replicas, "1 to 1,000 copies of the model")
        name = _name(spec, wanted)
        n_replicas = max(replicas, wanted.min_containers)
        self._replicas = tuple(
            Replica(
                self._ray,
                replace(
                    self._plan,
                    name=f"{name}-{index}",
                    namespace=namespace,
                    spec=spec.to_json(),
                    idle_s=None
                    if index < wanted.min_containers
                    else float(wanted.scaledown_window_s),
                ),
            )
            for index in range(n_replicas)
        )
        self._turn = itertools.count()

    def start(self, progress: Progress) -> None:
        """Make the model resident in every replica; tells what it waits for.

        Raises:
            Unreachable: No cluster answers at the address.
            CapacityError: A cluster of our own has less than was asked for.
            GlassboxError: What went wrong while the model was loaded.
        """
        progress("joining the Ray cluster", None)
        ray = self._ray()
        if self._address == LOCAL:
            self._check_room(ray)
        for replica in self._replicas:
            replica.begin()
        for replica in self._replicas:
            replica.wait_placed(progress)
            replica.far.start(progress)

    def environment(self) -> Environment:
        """What shipped code meets in the first replica; all are alike."""
        return self._replicas[0].far.environment()

    def model_info(self) -> ModelInfo:
        """The resident model."""
        return self._replicas[0].far.model_info()

    def submit(self, call: Call, *, wait_s: float = 0.0) -> Run:
        """Take a call to the replica with the fewest runs, or to the one of its session."""
        if call.session is None:
            index = self._least_loaded()
        else:
            index, session = self._split(call.session)
            call = replace(call, session=session)
        run = self._replicas[index].far.submit(call, wait_s=wait_s)
        return self._told(index, run)

    def run(self, run_id: str, *, after: int = 0, wait_s: float = 0.0) -> Run:
        """What is known of a run; lost, with the reason, if its actor's process died."""
        index, inner = self._split(run_id)
        return self._told(index, self._replicas[index].far.run(inner, after=after, wait_s=wait_s))

    def result(self, run_id: str) -> Packed:
        """The packed result of a run that succeeded, read from shared memory; answers once."""
        index, inner = self._split(run_id)
        return self._replicas[index].far.result(inner)

    def cancel(self, run_id: str) -> None:
        """Ask a run to end."""
        index, inner = self._split(run_id)
        self._replicas[index].far.cancel(inner)

    def open_session(self, *, caller: str = "", idle_s: float | None = None) -> str:
        """The id of a session on the replica with the fewest runs; it stays there."""
        index = self._least_loaded()
        session = self._replicas[index].far.open_session(caller=caller, idle_s=idle_s)
        return f"{index}.{session}"

    def close_session(self, session: str) -> None:
        """End a session and forget what was kept in it."""
        index, inner = self._split(session)
        self._replicas[index].far.close_session(inner)

    def close(self) -> None:
        """Let go of the actors' handles; the actors stay."""
        for replica in self._replicas:
            replica.forget()

    def stop(self) -> None:
        """End the actors, kept warm or not, and whatever runs in them."""
        for replica in self._replicas:
            replica.stop()

    def _ray(self) -> ModuleType:
        return join(self._address, namespace=self._namespace)

    def _least_loaded(self) -> int:
        n = len(self._replicas)
        if n == 1:
            return 0
        # Equals take turns, so that many short calls do not all meet on the first.
        first = next(self._turn) % n
        order = [(first + step) % n for step in range(n)]
        return min(order, key=lambda index: self._replicas[index].load())

    def _split(self, id_: str) -> tuple[int, str]:
        index, dot, inner = id_.partition(".")
        if dot and index.isdigit() and int(index) < len(self._replicas):
            return int(index), inner
        # Not one of ours: the first replica says what it says of any unknown id.
        return 0, id_

    def _told(self, index: int, run: Run) -> Run:
        """Return a run under the id that says where it is, with the reason if it was lost."""
        reason = self._replicas[index].last_death
        if run.status == "lost" and run.error is not None and reason:
            run = replace(run, error=replace(run.error, message=reason))
        return replace(run, id=f"{index}.{run.id}")

    def _check_room(self, ray: ModuleType) -> None:
        n = len(self._replicas)
        for what, each in (("GPU", self._plan.num_gpus), ("CPU", self._plan.num_cpus)):
            has = float(ray.cluster_resources().get(what, 0.0))
            if each * n > has:
                raise CapacityError(
                    f"{n} replica(s) with {each:g} {what} each need {each * n:g}; this machine's "
                    f"cluster has {has:g}. Ask for less, or give the address of a larger cluster."
                )


def _plan(wanted: Container, num_gpus: float | None, num_cpus: float) -> ActorPlan:
    if num_gpus is None:
        num_gpus = 0.0 if wanted.gpu is None else 1.0
    if not 0.0 <= num_gpus <= 1.0:
        raise InvalidValue("num_gpus", num_gpus, "0 to 1, because a model is on one device")
    if wanted.gpu is not None and num_gpus == 0.0:
        raise InvalidValue("num_gpus", num_gpus, f"more than 0 with gpu={wanted.gpu.name!r}")
    if not 0.0 < num_cpus <= 1024.0:
        raise InvalidValue("num_cpus", num_cpus, "more than 0, up to 1,024 processors")
    if wanted.image.made is not None:
        raise InvalidValue("image", wanted.image.made, "a list of requirements with backend='ray'")
    return ActorPlan(
        num_cpus=num_cpus,
        num_gpus=num_gpus,
        gpu=None if wanted.gpu is None else wanted.gpu.ray,
        packages=wanted.image.packages,
    )


def _name(spec: WorkerSpec, wanted: Container) -> str:
    """Return what actors of one model with one set of packages are called."""
    parts = (spec.digest, "" if wanted.gpu is None else wanted.gpu.name, *wanted.image.packages)
    return f"{spec.app_name}-{hashlib.sha256(repr(parts).encode()).hexdigest()[:16]}"

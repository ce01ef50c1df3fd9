"""What a Serve application on a cluster is doing, read from Ray's own description of it.

Values and their reading; asks no cluster.
"""

import re
from collections.abc import Container, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from glassbox.deploy.ray.plan import DEPLOYMENT

FAILED: Final = frozenset({"DEPLOY_FAILED", "UNHEALTHY"})
"""Serve's words for an application that will not come up by itself."""

LOST: Final = "LOST"
"""Our word for a replica that has ended and that Serve has not missed yet."""

MOST_FALLEN: Final = 5
"""Ended replicas that are listed."""

_MOST_WORDS = 300
_MEMORY = ("oom_context", "OutOfMemory", "memory pressure", "running low on memory")
_KILLED = " (killed from outside; where memory was short, by the system)"
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_OURS = re.compile(r"glassbox\.errors\.(\w+): (.+?)(?:\n|$)")


@dataclass(frozen=True)
class ReplicaState:
    """One replica."""

    id: str
    """Serve's name of it."""
    state: str
    """Serve's word for what it does: STARTING, RUNNING, STOPPING and so on."""
    pid: int | None
    """Its process."""
    node: str
    """Address of its machine."""
    started_s: float
    """Unix time of its start."""


@dataclass(frozen=True)
class Fallen:
    """A replica that ended unasked."""

    id: str
    """Ray's name of its actor."""
    pid: int
    """Its process."""
    ended_s: float
    """Unix time of its end."""
    reason: str
    """Ray's words."""


@dataclass(frozen=True)
class Deployed:
    """An application as it stands."""

    name: str
    """Name of the application."""
    status: str
    """Serve's word: DEPLOYING, RUNNING, DEPLOY_FAILED, UNHEALTHY, DELETING."""
    message: str
    """Why it does not run; empty while it does."""
    address: str
    """Where it answers."""
    bundle: str
    """Path of the bundle."""
    digest: str
    """Digest of the bundle (hex)."""
    wanted: int
    """Replicas that Serve aims at."""
    replicas: tuple[ReplicaState, ...]
    """Those there are."""
    fallen: tuple[Fallen, ...] = ()
    """Those that ended unasked, latest first, as far as Ray remembers."""

    @property
    def n_ready(self) -> int:
        """Replicas that answer."""
        return sum(each.state == "RUNNING" for each in self.replicas)

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {**asdict(self), "n_ready": self.n_ready}


def read_state(
    name: str, details: Mapping[str, Any], address: str, actors: Iterable[Mapping[str, Any]] = ()
) -> Deployed | None:
    """Return what Serve says of an application; None where it has none of that name.

    Args:
        name: The application.
        details: Serve's description of everything it runs.
        address: Where it answers.
        actors: Ray's table of actors, for those that ended.
    """
    found = details.get("applications", {}).get(name)
    if found is None:
        return None
    deployment = found.get("deployments", {}).get(DEPLOYMENT, {})
    wanted = _wanted(found)
    said = "\n".join(str(each.get("message") or "") for each in (found, deployment))
    status = _word(found.get("status"))
    fallen = fallen_of(name, actors)
    gone = {each.id for each in fallen}
    return Deployed(
        name=name,
        status=status,
        message="" if status == "RUNNING" else reason_of(said),
        address=address,
        bundle=str(wanted.get("bundle", "")),
        digest=str(wanted.get("digest", "")),
        wanted=int(deployment.get("target_num_replicas") or 0),
        replicas=tuple(_replica(each, gone) for each in deployment.get("replicas", ())),
        fallen=fallen,
    )


def reason_of(message: str) -> str:
    """Return why an application does not run: our own error where there is one, else Ray's words.

    Args:
        message: Serve's, which may hold a whole trace.
    """
    ours = _OURS.findall(message)
    if ours:
        return str(ours[-1][1]).strip()
    lines = [each.strip() for each in _COLOUR.sub("", message).splitlines() if each.strip()]
    if any("Traceback" in each for each in lines):
        lines = [lines[0], lines[-1]]
    return " ".join(lines)[:600]


def fallen_of(name: str, actors: Iterable[Mapping[str, Any]]) -> tuple[Fallen, ...]:
    """Return the replicas of an application that ended unasked, latest first.

    Args:
        name: The application.
        actors: Ray's table of actors.
    """
    start = f"SERVE_REPLICA::{name}#"
    found = []
    for actor in actors:
        if actor.get("State") != "DEAD" or not str(actor.get("Name", "")).startswith(start):
            continue
        reason = death_of(actor.get("DeathCause"))
        if reason:
            found.append(
                Fallen(
                    id=str(actor["Name"]).rpartition("#")[2],
                    pid=int(actor.get("Pid") or 0),
                    ended_s=float(actor.get("EndTime") or 0) / 1000.0,
                    reason=reason,
                )
            )
    found.sort(key=lambda each: -each.ended_s)
    return tuple(found[:MOST_FALLEN])


def death_of(cause: object) -> str:
    """Return why an actor ended, in Ray's words; empty where Serve itself ended it.

    Args:
        cause: ``ActorDeathCause`` of Ray's table, as a message or its text.
    """
    text = str(cause or "")
    asked = ("INTENDED_USER_EXIT", "INTENDED_SYSTEM_EXIT", "ray.kill", "RAY_KILL", "REF_DELETED")
    if not text.strip() or any(word in text for word in asked):
        return ""
    said = re.search(r'error_message: "(.*?)"\n', text, re.DOTALL)
    words = " ".join((said[1] if said else text).replace("\\n", " ").split())
    words = words.partition(" Some common causes include")[0]
    if any(sign in text for sign in _MEMORY):
        return f"out of memory: {words[:_MOST_WORDS]}"
    return f"{words[:_MOST_WORDS]}{_KILLED if 'code 2' in words else ''}"


def _wanted(found: Mapping[str, Any]) -> Mapping[str, Any]:
    config = found.get("deployed_app_config") or {}
    for each in config.get("deployments", ()):
        if each.get("name") == DEPLOYMENT:
            return each.get("user_config") or {}
    return {}


def _replica(found: Mapping[str, Any], gone: Container[str]) -> ReplicaState:
    id_ = str(found["replica_id"])
    return ReplicaState(
        id=id_,
        # Serve itself finds out with its next question whether the replica is well.
        state=LOST if id_ in gone else _word(found["state"]),
        pid=found.get("pid"),
        node=str(found.get("node_ip") or ""),
        started_s=float(found.get("start_time_s") or 0.0),
    )


def _word(found: object) -> str:
    return str(getattr(found, "value", found))

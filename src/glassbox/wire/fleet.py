"""``/v1/fleet``: the servers that share one database, what each one sees, and where they differ."""

from typing import Literal

from glassbox.wire.shapes import Answered

FleetStage = Literal["loading", "ready", "failed", "draining", "left", "lost"]
"""`left` ended in good order; `lost` fell silent; both take no requests."""

WarningKind = Literal[
    "versions", "models", "bundles", "settings", "adapters", "routing", "part", "clock", "lost"
]
"""What the warning is about."""


class BucketsAnswered(Answered):
    """A histogram of durations."""

    edges: list[float]
    """Upper edges of the buckets in seconds, ascending; a last bucket without edge follows."""
    counts: list[int]
    """Observations in each bucket, one number more than edges."""
    total_s: float
    """Sum of all observations in seconds."""
    p50_s: float | None
    """Median, interpolated within its bucket; null without observations."""
    p99_s: float | None
    """99th percentile, likewise; the last edge where it lies behind it."""


class CountersAnswered(Answered):
    """What was counted since the beginning, all servers that ever ran together or one of them."""

    requests: dict[str, int]
    """Answered API requests by class of status, as `2xx`; pages, health and metrics left out."""
    prompt_tokens: int
    """Tokens of prompts."""
    generation_tokens: int
    """Tokens written."""
    predictions: dict[str, dict[str, int]]
    """Predictions by version that answered and how they ended."""
    shadows: dict[str, dict[str, int]]
    """Copies by challenger and how they ended."""
    labels: int
    """Truths told about predictions."""
    request_s: BucketsAnswered
    """Seconds from request to the end of its answer."""
    prediction_s: dict[str, BucketsAnswered]
    """Seconds of a prediction, by version that answered."""


class RoutingSeen(Answered):
    """Who answers for one registered model, as one server sees it."""

    champion: str
    """Version that answers."""
    challengers: list[str]
    """Versions that see copies."""
    canary: str | None
    """Version that answers a share; null outside a rollout's canary steps."""
    canary_weight: float
    """That share, [0, 1]."""
    rollout_id: str | None
    """Rollout under way; null without one."""


class ReplicaLoad(Answered):
    """How much one server has to do."""

    running: int
    """Requests that the model works on."""
    waiting: int
    """Requests in its queue."""
    requests_per_s: float | None
    """API requests answered a second, over the last beat; null in the first one."""
    resident_bytes: int | None
    """Memory of the process; null where the system does not tell."""


class ReplicaAnswered(Answered):
    """One server."""

    id: str
    """Names it for as long as it runs; the header `Glassbox-Replica` of its answers."""
    host: str
    """Machine or container."""
    pid: int
    """Process there."""
    address: str
    """Where it listens; empty where that is not known."""
    version: str
    """Of Glassbox."""
    model: str
    """Base model that it serves; empty while it loads."""
    model_digest: str
    """Digest of that model (hex); empty while it loads."""
    bundle_digest: str
    """Digest of the bundle that it serves (hex); empty without one."""
    adapters: list[str]
    """Adapters that it has loaded, by name."""
    status: FleetStage
    """How it is."""
    started_s: float
    """Unix time of its start, by its own clock."""
    beat_s: float
    """Unix time at which it was last heard of, by the database's clock."""
    silent_s: float
    """Seconds since then."""
    clock_skew_s: float
    """Seconds that its clock is ahead of the database's."""
    revision: int | None
    """Revision of the registry under which it answers; null before it has looked."""
    routings: dict[str, RoutingSeen]
    """Who answers, by registered model."""
    jobs: list[str]
    """Work beside requests that it does for all servers."""
    degraded: dict[str, str]
    """Parts that are not well, with their reasons."""
    load: ReplicaLoad
    """How much it has to do."""
    counters: CountersAnswered
    """What it has counted since it started."""


class AgreementAnswered(Answered):
    """Whether all servers that take requests answer under the same revision of the registry."""

    revision: int | None
    """Newest revision that any of them has; null without one."""
    n_ready: int
    """Servers that take requests."""
    n_behind: int
    """Those of them that answer under an older one."""
    reached_s: float | None
    """Seconds from the first server that had it to the last; null where some do not, or all had it
    from their start."""


class FleetWarning(Answered):
    """Something in which servers differ, or that is wrong with one."""

    kind: WarningKind
    """What it is about."""
    message: str
    """What is wrong and what to do."""
    replicas: list[str]
    """Ids of the servers that it is about."""


class FleetAnswered(Answered):
    """The servers that share one database."""

    time_s: float
    """Unix time of this answer, by the database's clock."""
    answered_by: str
    """Id of the server that answered."""
    replicas: list[ReplicaAnswered]
    """Oldest first; those that ended stay for a quarter of an hour."""
    agreement: AgreementAnswered
    """Whether they answer alike."""
    totals: CountersAnswered
    """What all servers of this database have counted, those that ended included: never falls."""
    warnings: list[FleetWarning]
    """In what they differ."""

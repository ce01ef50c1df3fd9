"""Which numbers of the server's own JSON answers are shown as gauges, and under which labels.

What is not there is left out, whatever the answers look like. Knows no registry.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

Answers = Mapping[str, Any]
"""JSON answers by name: ``summary``, ``health``, ``rollout``, ``drift``, ``alerts``."""

Samples = Iterable[tuple[tuple[str, ...], Any]]
"""Values of the labels, and the number."""


@dataclass(frozen=True)
class Shown:
    """A gauge that shows a number of the answers."""

    name: str
    """Behind ``glassbox:``."""
    about: str
    """A sentence."""
    labels: tuple[str, ...]
    """Names of its labels."""
    read: Callable[[Answers], Samples]
    """Finds the numbers; what is not there is left out."""


def _at(answers: Any, path: str) -> Any:
    """Return what is at a place of JSON, None where nothing is."""
    for part in path.split("."):
        answers = answers.get(part) if isinstance(answers, Mapping) else None
    return answers


def _one(path: str) -> Callable[[Answers], Samples]:
    return lambda answers: [((), _at(answers, path))]


def _each(path: str, key: str) -> Callable[[Answers], Samples]:
    """Return what reads one number of each feature."""

    def read(answers: Answers) -> Samples:
        found = _at(answers, path)
        rows = found if isinstance(found, list | tuple) else ()
        return [((str(row.get("name")),), row.get(key)) for row in rows if isinstance(row, Mapping)]

    return read


def _gates(key: str) -> Callable[[Answers], Samples]:
    gates = _each("rollout.gates", key)

    def read(answers: Answers) -> Samples:
        challenger = str(_at(answers, "rollout.challenger"))
        return [((challenger, *gate), value) for gate, value in gates(answers)]

    return read


def _of_rollout(key: str) -> Callable[[Answers], Samples]:
    return lambda answers: [
        ((str(_at(answers, "rollout.challenger")),), _at(answers, f"rollout.{key}"))
    ]


def _verdicts(answers: Answers) -> Samples:
    return [((*gate, str(word)), 1) for gate, word in _gates("verdict")(answers) if word]


def _phase(answers: Answers) -> Samples:
    phase = _at(answers, "rollout.phase")
    return [((str(_at(answers, "rollout.challenger")), str(phase)), 1)] if phase else []


def _components(answers: Answers) -> Samples:
    found = _at(answers, "health.components")
    parts = found if isinstance(found, Mapping) else {}
    words = {name: _at(part, "status") for name, part in parts.items()}
    return [((name,), word == "ok") for name, word in words.items() if word in ("ok", "degraded")]


def _challengers(key: str) -> Callable[[Answers], Samples]:
    def read(answers: Answers) -> Samples:
        found = _at(answers, "health.components.shadow.details.challengers")
        lanes = found.items() if isinstance(found, Mapping) else ()
        return [((str(name),), _at(lane, key)) for name, lane in lanes]

    return read


def _breakers(answers: Answers) -> Samples:
    words = _challengers("breaker")(answers)
    return [(name, word != "closed") for name, word in words if isinstance(word, str)]


def _quality(key: str) -> Callable[[Answers], Samples]:
    def read(answers: Answers) -> Samples:
        for source, place in (("confidence", "estimate"), ("labels", "realised")):
            found = _at(answers, f"drift.{place}")
            if isinstance(found, Mapping):
                yield (str(found.get("metric")), source), found.get(key)

    return read


def _firing(answers: Answers) -> Samples:
    found = _at(answers, "alerts.firing")
    if not isinstance(found, list | tuple):
        return
    for severity in ("info", "warn", "error"):
        yield (severity,), sum(1 for each in found if _at(each, "severity") == severity)


def _waiting(answers: Answers) -> Samples:
    found = _at(answers, "alerts.waiting")
    return [((str(name),), n) for name, n in found.items()] if isinstance(found, Mapping) else []


SHOWN: Final[tuple[Shown, ...]] = (
    Shown(
        "audit_ring_utilisation_ratio",
        "How full the window of the summary is, in [0, 1].",
        (),
        _one("summary.ring_utilisation"),
    ),
    Shown(
        "audit_queue_records",
        "Records that wait to be written.",
        (),
        _one("health.components.audit.details.queue"),
    ),
    Shown(
        "audit_lost_records",
        "Records that were lost since the start, because more came than the disk could take.",
        (),
        _one("health.components.audit.details.overflowed"),
    ),
    Shown(
        "shadow_queue_copies",
        "Copies that wait for a challenger.",
        ("challenger",),
        _challengers("queue"),
    ),
    Shown(
        "shadow_breaker_open",
        "1 where a challenger fails so often that it is given no copies, or only some.",
        ("challenger",),
        _breakers,
    ),
    Shown(
        "shadow_resident_bytes",
        "Memory of a challenger's process.",
        ("challenger",),
        _challengers("resident_bytes"),
    ),
    Shown(
        "inference_window_success_ratio",
        "Share of the window's predictions without error.",
        (),
        _one("summary.success_rate"),
    ),
    Shown(
        "inference_window_shadow_difference",
        "Mean difference of challenger and answer over the window.",
        (),
        _one("summary.shadow_avg_diff"),
    ),
    Shown(
        "component_healthy",
        "1 where a component is well, 0 where it is degraded; absent where it is off.",
        ("component",),
        _components,
    ),
    Shown(
        "rollout_phase",
        "1 for the phase that the latest rollout is in.",
        ("challenger", "phase"),
        _phase,
    ),
    Shown(
        "rollout_weight_ratio",
        "Share of requests that the challenger answers.",
        ("challenger",),
        _of_rollout("weight"),
    ),
    Shown("rollout_paused", "1 while somebody holds it.", ("challenger",), _of_rollout("paused")),
    Shown(
        "rollout_gate_value",
        "What a gate measures.",
        ("challenger", "gate"),
        _gates("value"),
    ),
    Shown(
        "rollout_gate_low",
        "Lower end of its anytime-valid interval.",
        ("challenger", "gate"),
        _gates("low"),
    ),
    Shown(
        "rollout_gate_high",
        "Upper end of its anytime-valid interval.",
        ("challenger", "gate"),
        _gates("high"),
    ),
    Shown(
        "rollout_gate_limit",
        "What a gate must not pass.",
        ("challenger", "gate"),
        _gates("limit"),
    ),
    Shown(
        "rollout_gate_requests",
        "Requests that a gate rests on.",
        ("challenger", "gate"),
        _gates("n"),
    ),
    Shown(
        "rollout_gate_verdict",
        "1 for the verdict of a gate.",
        ("challenger", "gate", "verdict"),
        _verdicts,
    ),
    Shown(
        "drift_effect",
        "Size of the change of a feature since the reference.",
        ("feature",),
        _each("drift.features", "effect"),
    ),
    Shown(
        "drift_effect_limit",
        "Size of a feature's change from which it counts.",
        ("feature",),
        _each("drift.features", "limit"),
    ),
    Shown(
        "drift_detected",
        "1 where a feature has drifted, corrected for many features.",
        ("feature",),
        _each("drift.features", "drifted"),
    ),
    Shown(
        "drift_report_timestamp_seconds",
        "Unix time of the latest comparison.",
        (),
        _one("drift.time_s"),
    ),
    Shown(
        "quality",
        "Quality in the latest window, estimated from confidence or measured from labels.",
        ("metric", "source"),
        _quality("value"),
    ),
    Shown(
        "quality_reference",
        "The same quality in the reference.",
        ("metric", "source"),
        _quality("reference"),
    ),
    Shown("alerts_firing", "Alerts that fire.", ("severity",), _firing),
    Shown(
        "alert_messages_waiting", "Messages that a receiver has not taken.", ("receiver",), _waiting
    ),
)
"""Every gauge that shows a number of the answers."""

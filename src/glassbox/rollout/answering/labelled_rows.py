"""Texts that a classifier labelled outside the registry, written down as predictions are.

They are no traffic of a registered model: no routing, no copies, and no place in the window that
the summary and the gates look at. Knows no HTTP.
"""

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Final

from glassbox.audit.records import PrimaryEvent
from glassbox.audit.request_ids import new_request_id
from glassbox.errors import GlassboxError
from glassbox.rollout.answering.recording import Recorder
from glassbox.rollout.versions.kinds.labelled import TEXT, LabelAnswer

UNREGISTERED: Final = "classify/"
"""What the model of such a record begins with; the classifier's name follows."""


@dataclass(frozen=True)
class LabelledRow:
    """One text and what became of it."""

    text: str
    """The text: hashed, and kept only if the settings allow it."""
    answer: LabelAnswer | None
    """The answer; None after an error."""
    error: GlassboxError | None = None
    """Why there is none."""


@dataclass(frozen=True)
class Witness:
    """Writes labelled texts down."""

    recorder: Recorder
    """Where events go."""

    def record(
        self, classifier: str, digest: str, rows: Sequence[LabelledRow], *, latency_ms: float
    ) -> tuple[list[str], "list[Future[Any]]"]:
        """Record rows; return their names, and what ends once they are on the disk.

        Args:
            classifier: Its name on this server.
            digest: Digest of its manifest: which version it is.
            rows: The texts.
            latency_ms: Milliseconds that each took on the average.

        Raises:
            GlassboxError: The log takes nothing now.
        """
        names, pending = [], []
        for row in rows:
            event = self._event(classifier, digest, row, latency_ms)
            durable = self.recorder.primary(event, is_traffic=False)
            names.append(event.request_id)
            if durable is not None:
                pending.append(durable)
        return names, pending

    def _event(
        self, classifier: str, digest: str, row: LabelledRow, latency_ms: float
    ) -> PrimaryEvent:
        features = {TEXT: row.text}
        segments, kept = self.recorder.kept(features)
        answer = row.answer
        found: dict[str, Any] = {"status": "error"}
        if answer is not None:
            found = {
                "status": "success",
                "prediction": next(iter(answer.label_probs.values())),
                "confidence": answer.confidence,
                "label": answer.label,
                "label_probs": dict(answer.label_probs),
                "summaries": {
                    "raw_confidence": answer.raw_confidence,
                    "label_mass": answer.label_mass,
                },
            }
        return PrimaryEvent(
            request_id=new_request_id(),
            time_s=self.recorder.now_s(),
            model=UNREGISTERED + classifier,
            model_version=f"{classifier}@{digest[:12]}",
            feature_hash=self.recorder.hash(features),
            latency_ms=latency_ms,
            segments=segments,
            features=kept,
            error_code="" if row.error is None else row.error.code,
            **found,
        )

"""Methods about versions and predictions of ``AsyncClient``. Knows no transport."""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, TypeVar, Unpack

from glassbox.client import model_calls
from glassbox.client.calls import Call
from glassbox.client.model_calls import RecentOptions, RegisterOptions
from glassbox.client.pages import AuditWalk
from glassbox.wire.alerts import AlertsAnswered
from glassbox.wire.audit import (
    AuditEntry,
    EraseAnswered,
    RecordAnswered,
    SummaryAnswered,
    VerificationAnswered,
)
from glassbox.wire.drift import DriftAnswered, DriftPoint, DriftReportAnswered, ReferenceAnswered
from glassbox.wire.fleet import FleetAnswered
from glassbox.wire.inference import (
    BatchAnswered,
    InferenceHealth,
    LabelsAnswered,
    PredictAnswered,
    RegistryAnswered,
)
from glassbox.wire.rollouts import RolloutsAnswered, RolloutStatus
from glassbox.wire.versions import (
    AliasMoveAnswered,
    CalibrationAnswered,
    VersionAnswered,
    VersionsAnswered,
)

T = TypeVar("T")


class AsyncModelMethods(ABC):
    """What a client can do with versions, predictions and what is kept of them."""

    @abstractmethod
    async def _send(self, call: Call[T]) -> T:
        """Return the answer to one request."""

    async def predict(
        self,
        features: Mapping[str, Any],
        *,
        model: str = "default",
        wait_shadow_s: float = 0.0,
        request_id: str | None = None,
        segment_key: str | None = None,
    ) -> PredictAnswered:
        """Return the prediction for one row, recorded in the audit.

        Args:
            features: Named values; ``{"text": …}`` for a classifier of texts.
            model: Registered model, or ``models:/NAME@ALIAS``.
            wait_shadow_s: Seconds to wait for the challenger's answer.
            request_id: Name of the request; the answer holds another one if it is taken.
            segment_key: Requests with the same key get the same version of a canary.
        """
        return await self._send(
            model_calls.predict(
                features,
                model=model,
                wait_shadow_s=wait_shadow_s,
                request_id=request_id,
                segment_key=segment_key,
            )
        )

    async def predict_batch(
        self,
        rows: Sequence[Mapping[str, Any]],
        *,
        model: str = "default",
        segment_keys: Sequence[str | None] | None = None,
    ) -> BatchAnswered:
        """Return the prediction for each row, in order; a bad row has an ``error``.

        Args:
            rows: Named values of each, as for ``predict``.
            model: Registered model, or ``models:/NAME@ALIAS``.
            segment_keys: One for each row, as for ``predict``; None where it has none.
        """
        call = model_calls.predict_batch(rows, model=model, segment_keys=segment_keys)
        return await self._send(call)

    async def tell_labels(self, labels: Mapping[str, str | float]) -> LabelsAnswered:
        """Tell the truth about predictions, by request id, and return which were not known."""
        return await self._send(model_calls.tell_labels(labels))

    async def audit_summary(self, *, model: str = "default") -> SummaryAnswered:
        """Return exact aggregates over the latest predictions."""
        return await self._send(model_calls.audit_summary(model))

    async def audit_recent(self, **query: Unpack[RecentOptions]) -> list[AuditEntry]:
        """Return predictions in one line each, newest first."""
        return await self._send(model_calls.audit_recent(query))

    async def iter_audit(self, **query: Unpack[RecentOptions]) -> AsyncIterator[AuditEntry]:
        """Yield every prediction that is kept, newest first, a page at a time.

        Args:
            query: As for ``audit_recent``; ``limit`` is for each page, 1,000.
        """
        walk = AuditWalk(query)
        while not walk.is_done:
            for each in walk.take(await self.audit_recent(**walk.query)):
                yield each

    async def audit_record(self, request_id: str) -> RecordAnswered:
        """Return everything that is kept of one prediction."""
        return await self._send(model_calls.audit_record(request_id))

    async def erase_record(self, request_id: str, reason: str) -> EraseAnswered:
        """Remove what is kept of one prediction; that it was removed stays in the log."""
        return await self._send(model_calls.erase_record(request_id, reason))

    async def audit_verification(self) -> VerificationAnswered:
        """Return whether every byte of the log is as it was written."""
        return await self._send(model_calls.audit_verification())

    async def registry(self, *, model: str = "default") -> RegistryAnswered:
        """Return which versions there are, who answers and who sees copies."""
        return await self._send(model_calls.registry(model))

    async def inference_health(self) -> InferenceHealth:
        """Return how every part of the service does."""
        return await self._send(model_calls.inference_health())

    async def versions(self, *, model: str | None = None) -> VersionsAnswered:
        """Return all versions and their aliases, or those of one model."""
        return await self._send(model_calls.versions(model))

    async def register_version(
        self, source: str, **options: Unpack[RegisterOptions]
    ) -> VersionAnswered:
        """Register a run, a ``.skops`` file or ``module:function`` of the server, and return it."""
        return await self._send(model_calls.register_version(source, options))

    async def move_alias(
        self,
        alias: str,
        number: int | None,
        *,
        expected: int | None,
        model: str = "default",
        reason: str = "",
    ) -> AliasMoveAnswered:
        """Set an alias, or take it away, if it names ``expected`` still; return what was done."""
        return await self._send(
            model_calls.move_alias(alias, number, expected=expected, model=model, reason=reason)
        )

    async def version_history(
        self, *, model: str | None = None, limit: int = 100
    ) -> list[AliasMoveAnswered]:
        """Return how aliases moved, newest first."""
        return await self._send(model_calls.version_history(model, limit))

    async def calibration(self, name: str) -> CalibrationAnswered:
        """Return the curves of the evaluation that a version comes from."""
        return await self._send(model_calls.calibration(name))

    async def rollouts(self, *, model: str | None = None) -> RolloutsAnswered:
        """Return the rollout under way and all earlier ones in short."""
        return await self._send(model_calls.rollouts(model))

    async def rollout(self, rollout_id: str) -> RolloutStatus:
        """Return one rollout in full."""
        return await self._send(model_calls.rollout(rollout_id))

    async def start_rollout(
        self,
        challenger: str,
        *,
        model: str = "default",
        plan: Mapping[str, Any] | None = None,
        dry_run: bool = False,
        reason: str = "",
    ) -> RolloutStatus:
        """Begin to try a version; ``plan`` holds what differs from the default."""
        return await self._send(
            model_calls.start_rollout(
                challenger, model=model, plan=plan, dry_run=dry_run, reason=reason
            )
        )

    async def pause_rollout(self, rollout_id: str, reason: str = "") -> RolloutStatus:
        """Hold a rollout where it is."""
        return await self._send(model_calls.move_rollout(rollout_id, "pause", reason))

    async def resume_rollout(self, rollout_id: str, reason: str = "") -> RolloutStatus:
        """Let a held rollout go on."""
        return await self._send(model_calls.move_rollout(rollout_id, "resume", reason))

    async def promote_rollout(
        self, rollout_id: str, reason: str = "", *, force: bool = False
    ) -> RolloutStatus:
        """Confirm a rollout that waits for it, or with ``force`` promote in spite of doubt.

        Args:
            rollout_id: Which one.
            reason: Why; kept in the history.
            force: Whether to promote although there is doubt; never although a gate fails.
        """
        return await self._send(
            model_calls.move_rollout(rollout_id, "promote", reason, force=force)
        )

    async def finish_rollout(self, rollout_id: str, reason: str = "") -> RolloutStatus:
        """End the bake of a rollout; the new champion stays."""
        return await self._send(model_calls.move_rollout(rollout_id, "finish", reason))

    async def abort_rollout(self, rollout_id: str, reason: str = "") -> RolloutStatus:
        """End a rollout; the champion answers all requests again."""
        return await self._send(model_calls.move_rollout(rollout_id, "abort", reason))

    async def drift(self, *, model: str = "default") -> DriftAnswered:
        """Return the latest comparison with the reference."""
        return await self._send(model_calls.drift(model))

    async def drift_history(
        self, *, model: str = "default", feature: str | None = None, limit: int = 100
    ) -> list[DriftPoint]:
        """Return how features stood at earlier comparisons, newest first."""
        return await self._send(model_calls.drift_history(model, feature, limit))

    async def run_drift(self, *, model: str = "default") -> DriftReportAnswered:
        """Compare now and return what was found."""
        return await self._send(model_calls.run_drift(model))

    async def drift_references(self, model: str | None = None) -> list[ReferenceAnswered]:
        """Return all references, or those of one model, newest first."""
        return await self._send(model_calls.drift_references(model))

    async def make_reference(
        self,
        *,
        model: str = "default",
        last_n: int | None = None,
        since_s: float | None = None,
        until_s: float | None = None,
    ) -> ReferenceAnswered:
        """Freeze a span of predictions as what later ones are compared with, and return it."""
        return await self._send(
            model_calls.make_reference(model=model, last_n=last_n, since_s=since_s, until_s=until_s)
        )

    async def alerts(self, *, limit: int = 100) -> AlertsAnswered:
        """Return which rules fire and who was told."""
        return await self._send(model_calls.alerts(limit))

    async def fleet(self) -> FleetAnswered:
        """Return the servers that share the server's database, and where they differ."""
        return await self._send(model_calls.fleet())

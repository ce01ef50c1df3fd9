"""What the settings' database and folders hold: keys, logs, predictions, versions.

The lower half of the composition root. Knows no model and no engine.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glassbox.settings import Settings

if TYPE_CHECKING:
    from glassbox.audit import AuditLog, InferenceStore
    from glassbox.rollout.versions.loaders import Loaders
    from glassbox.rollout.versions.registering import Registrar
    from glassbox.rollout.versions.registry import Registry
    from glassbox.storage.database import Database
    from glassbox.storage.keys import KeyStore
    from glassbox.storage.replicas import ReplicaStore


@dataclass(frozen=True)
class Stores:
    """Everything that is kept, opened where one set of settings says."""

    settings: Settings
    """The settings in force."""

    def database(self) -> "Database":
        """Return the database that the settings name, with its tables up to date.

        Raises:
            InvalidValue: The address is none of a database.
            DependencyMissing: SQLAlchemy or the driver is not installed.
            CapacityError: The database cannot be reached.
            ConflictError: A newer Glassbox has changed its tables, or they are another program's.
        """
        from glassbox.storage.database import open_database

        return open_database(self.settings.storage.url)

    def key_store(self) -> "KeyStore":
        """Return the API keys of the database; raises as ``database``."""
        from glassbox.storage.keys import KeyStore

        return KeyStore(self.database())

    def replica_store(self) -> "ReplicaStore":
        """Return the servers that share the database; raises as ``database``."""
        from glassbox.storage.replicas import ReplicaStore

        return ReplicaStore(self.database())

    def audit_log(self) -> "AuditLog":
        """Return the audit log of the database; raises as ``database``."""
        from glassbox.audit import AuditLog

        return AuditLog(self.database())

    def inference_store(self) -> "InferenceStore":
        """Return the durable log of predictions in the database; raises as ``database``."""
        from glassbox.audit import InferenceStore

        return InferenceStore(self.database(), durability=self.settings.audit.durability)

    def registry(self, runs: Sequence[Path] = (), *, is_strict: bool = True) -> "Registry":
        """Return the registry of versions, with a champion if any version can be one.

        Args:
            runs: Runs that are served: the first is the first version of an empty registry.
            is_strict: Whether a version that the settings name must be there.

        Raises:
            UnknownName: The settings name a version that is not registered.
            GlassboxError: As ``database``.
        """
        from glassbox.rollout.versions.opening import open_registry

        return open_registry(self.settings, runs, is_strict=is_strict, charts=_curves)

    def registrar(self, registry: "Registry", loaders: "Loaders | None" = None) -> "Registrar":
        """Return what registers versions; ``loaders`` bring each to life once before."""
        from glassbox.rollout.versions.opening import open_registrar

        return open_registrar(self.settings, registry, loaders, charts=_curves)


def _curves(run: Path) -> Mapping[str, Any]:
    """Return the numbers of a run's charts; only this needs what draws them."""
    from glassbox.confidence.reporting.drawing import chart_numbers

    return chart_numbers(run)

"""Registered versions where a request names one as its model: ``models:/NAME@ALIAS``, ``…/NAME/3``.

An address names what is resident already: no caller has a version loaded by asking for it. Knows
the registry as it was last seen; knows nothing of routes.
"""

from dataclasses import dataclass

from glassbox.confidence.asking.classify import Labeller
from glassbox.engine.protocol import Engine
from glassbox.errors import ConflictError, InvalidValue, UnknownName
from glassbox.rollout.assembly.side import RolloutSide
from glassbox.rollout.shadow.in_engine import shares_base
from glassbox.rollout.version import Version
from glassbox.rollout.versions.kinds.labelled import LabelledPredictor
from glassbox.rollout.versions.version_names import find_version

PREDICT = "POST /api/v2/models/predict asks versions of every kind."
"""Where what cannot be asked here can be."""


@dataclass(frozen=True, eq=False)
class RegisteredModels:
    """The registered versions that stand on the resident model."""

    engine: Engine
    """The resident model."""
    side: RolloutSide
    """Versions, and those of them that are loaded."""

    def adapter(self, address: str) -> str | None:
        """Return the name of the adapter that a version answers with; None is the base model.

        Raises:
            UnknownName: No such version.
            InvalidValue: It is no classifier on the resident model.
            ConflictError: Its adapter is not loaded.
        """
        version = self._version(address)
        digest = version.metadata.get("adapter_digest")
        if digest is None:
            return None
        for each in self.engine.adapters:
            if each.digest == digest:
                return each.name
        raise ConflictError(
            f"The adapter of {version.name} ({digest[:12]}) is not loaded: the version neither "
            "answers requests nor was its adapter loaded by hand (POST /v1/adapters)."
        )

    def labeller(self, address: str) -> tuple[str, Labeller]:
        """Return the name of a version and its classifier.

        Raises:
            UnknownName: No such version.
            InvalidValue: It is no classifier on the resident model.
            ConflictError: It answers nobody.
        """
        version = self._version(address)
        predictor = self.side.champions.resident(version)
        labeller = predictor.labeller if isinstance(predictor, LabelledPredictor) else None
        if not isinstance(labeller, Labeller):
            raise ConflictError(
                f"{version.name} answers no requests: it is neither champion nor on a canary step "
                "of a rollout."
            )
        return version.name, labeller

    def _version(self, address: str) -> Version:
        snapshot = self.side.view.snapshot
        try:
            version = find_version(snapshot, address)
        except UnknownName:
            known = [each.uri for each in snapshot.versions]
            raise UnknownName("model", address, known) from None
        if not shares_base(version, self.engine.info.digest):
            raise InvalidValue(
                "model",
                address,
                f"the address of a classifier of texts on {self.engine.info.name}",
                remedy=f"{version.name} is none. {PREDICT}",
            )
        return version

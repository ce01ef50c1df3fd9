"""A trained verifier as a folder: ``verifier.json`` and the probes it reads.

One file says which model it judges with, how that model is asked, how the checks are weighed, what
it was fitted on and what it reached on its test part. A verifier for another model is refused.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

from glassbox.artifacts import digest_json, read_object, write_json
from glassbox.engine.protocol import EngineInfo
from glassbox.errors import AdapterMismatch, CorruptArtifact, InvalidValue, UnknownName
from glassbox.introspection.evidence.paraphrase import Rewrite
from glassbox.introspection.evidence.swaps import Swaps
from glassbox.introspection.evidence.witness import Plan
from glassbox.introspection.verifier.fusion import Fusion

VERIFIER_SCHEMA: Final = 1
"""Version of the layout of ``verifier.json``."""

VERIFIER_FILE: Final = "verifier.json"
"""Name of the manifest in a verifier's folder."""

PROBES_FOLDER: Final = "probes"
"""Folder beside it with a folder for each probe."""

_NOT_AS_WRITTEN: Final = (
    ArithmeticError,
    AttributeError,
    InvalidValue,
    LookupError,
    TypeError,
    ValueError,
)
"""What reading fields of other kinds than were written may raise, wherever it comes to that."""


@dataclass(frozen=True)
class VerifierManifest:
    """Everything that makes a verifier, with digests."""

    model: str
    """Name of the model it judges with."""
    model_digest: str
    """Its digest (hex)."""
    plan: Plan
    """How that model is asked."""
    fusions: tuple[Fusion, ...]
    """The checks weighed, by origin and by the checks that are at hand."""
    data_digest: str
    """SHA-256 (hex) of the graded rows it was fitted and measured on."""
    figures: Mapping[str, Any] = field(default_factory=dict)
    """What it reached on the test part, as ``figures`` wrote it."""
    probes: tuple[str, ...] = ()
    """Names of the probes it reads, each a folder below ``probes``."""
    seed: int = 0
    """Decided the split."""

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of what decides its answers: two verifiers that judge alike share it."""
        content = self._content()
        return digest_json({name: content[name] for name in ("model", "plan", "fusions", "probes")})

    def check(self, info: EngineInfo) -> None:
        """Refuse a model that it was not trained on.

        Raises:
            AdapterMismatch: Another model, by digest.
        """
        if info.digest != self.model_digest:
            raise AdapterMismatch(
                f"This verifier was trained on {self.model!r} ({self.model_digest[:12]}); the "
                f"model is {info.name!r} ({info.digest[:12]}). Its weights mean nothing there: "
                "train one with 'glassbox verify train', or verify without one."
            )

    def save(self, folder: Path) -> Path:
        """Write ``verifier.json`` into a folder and return its path."""
        path = folder / VERIFIER_FILE
        header = {"schema_version": VERIFIER_SCHEMA, "digest": self.digest}
        write_json(path, header | self._content())
        return path

    def _content(self) -> dict[str, Any]:
        return {
            "model": {"name": self.model, "digest": self.model_digest},
            "plan": _plan_json(self.plan),
            "fusions": [each.to_json() for each in self.fusions],
            "probes": list(self.probes),
            "data_digest": self.data_digest,
            "seed": self.seed,
            "figures": dict(self.figures),
        }

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read ``verifier.json`` from a folder.

        Raises:
            UnknownName: The folder holds none.
            CorruptArtifact: It is damaged, of another schema, or was changed by hand.
        """
        path = folder / VERIFIER_FILE
        if not path.exists():
            raise UnknownName(
                "verifier", str(folder), remedy="Make one with 'glassbox verify train'."
            )
        content = read_object(path, schema=VERIFIER_SCHEMA)
        try:
            found = cls(
                model=content["model"]["name"],
                model_digest=content["model"]["digest"],
                plan=_plan(content["plan"]),
                fusions=tuple(
                    Fusion.from_json(each, source=str(path)) for each in content["fusions"]
                ),
                data_digest=content["data_digest"],
                figures=content["figures"],
                probes=tuple(content["probes"]),
                seed=content["seed"],
            )
            is_whole = content.get("digest") == found.digest
        except _NOT_AS_WRITTEN as error:
            raise CorruptArtifact(path, f"a field is missing or wrong ({error})") from error
        if not is_whole:
            raise CorruptArtifact(path, "its content does not match its digest")
        return found


def _plan_json(plan: Plan) -> dict[str, Any]:
    return {
        "k": plan.k,
        "temperature": plan.temperature,
        "equivalence": plan.equivalence,
        "rewrites": [
            {"pattern": each.pattern, "wordings": list(each.wordings)} for each in plan.rewrites
        ],
        "swaps": None if plan.swaps is None else plan.swaps.to_json(),
        "stop": list(plan.stop),
        "max_tokens": plan.max_tokens,
        "seed": plan.seed,
        "frame": plan.frame,
    }


def _plan(content: Mapping[str, Any]) -> Plan:
    fields = dict(content)
    rewrites = tuple(
        Rewrite(each["pattern"], tuple(each["wordings"])) for each in fields.pop("rewrites")
    )
    swaps, stop = fields.pop("swaps"), tuple(fields.pop("stop"))
    return Plan(
        rewrites=rewrites,
        swaps=None if swaps is None else Swaps.from_json(swaps),
        stop=stop,
        **fields,
    )

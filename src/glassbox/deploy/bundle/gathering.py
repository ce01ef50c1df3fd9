"""The parts that stand on a base model: read, checked against it, and the files that they need.

What is checked here is what a server would refuse at its start. Notes, training curves and texts
of people stay where they are.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import orjson

from glassbox.artifacts import CLASSIFIER_FILE, Classifier, Part, indented_json
from glassbox.deploy.bundle.archive import Source
from glassbox.deploy.bundle.contents import Contents
from glassbox.deploy.bundle.description import BASE_FOLDER, NAME, Base
from glassbox.errors import AdapterMismatch, ConflictError, InvalidValue, UnknownName

if TYPE_CHECKING:
    from glassbox.runtime import Runtime

RUN_FILES: Final = ("results.json", "calibrators.json")
"""Figures of a run that a registry shows; the held-out texts stay behind."""

CHARTS: Final = "charts"
"""Folder of the numbers of a run's charts."""

ADAPTER: Final = "adapter"
"""Folder of a classifier's adapter."""


@dataclass
class Gathered:
    """What stands on a base model, and its files."""

    adapters: dict[str, Part] = field(default_factory=dict)
    """LoRA adapters by name."""
    probes: dict[str, Part] = field(default_factory=dict)
    """Probes by name."""
    classifiers: dict[str, Part] = field(default_factory=dict)
    """Classifiers by name."""
    verifier: Part | None = None
    """The verifier."""
    files: dict[str, Source] = field(default_factory=dict)
    """Files by their path in the bundle."""


def gather(runtime: "Runtime", contents: Contents, base: Base) -> Gathered:
    """Return the parts of a bundle, checked against its base model.

    Raises:
        UnknownName: There is no such adapter, probe, run or verifier.
        AdapterMismatch: One of them was made for another model.
        CorruptArtifact: One of them is damaged.
        InvalidValue: A name that is none.
        ConflictError: Two parts of one name.
    """
    found = Gathered()
    for name, folder in contents.adapters.items():
        _add_adapter(found, name, folder, base)
    for name, run in contents.classifiers.items():
        _add_classifier(found, name, runtime.run_folder(run), runtime.runs(), base)
    for folder in contents.probes:
        _add_probe(found, folder, base)
    if contents.verifier is not None:
        _add_verifier(found, contents.verifier, base)
    return found


def checked_name(name: str, what: str, taken: Mapping[str, object] | None = None) -> str:
    """Return a name that can become a folder, a tag and an address.

    Raises:
        InvalidValue: It cannot.
        ConflictError: It is taken.
    """
    if not NAME.fullmatch(name):
        raise InvalidValue(
            f"name of the {what}",
            name,
            "1 to 63 letters, digits, '.', '_' and '-', beginning with a letter or a digit",
        )
    if name in (taken or {}):
        raise ConflictError(
            f"Two {what}s are called {name!r}: requests could not choose. Rename one."
        )
    return name


def _add_adapter(found: Gathered, name: str, folder: Path, base: Base) -> None:
    checked_name(name, "adapter", found.adapters)
    path = f"adapters/{name}"
    found.adapters[name] = Part(path, _pack_adapter(found, path, folder, base))


def _pack_adapter(found: Gathered, path: str, folder: Path, base: Base) -> str:
    """Return the digest of an adapter whose files are now among those to be packed."""
    from glassbox.engine.lora.files import CONFIG_FILE, ORIGIN_FILE, WEIGHTS_FILE, read_adapter

    adapter = read_adapter(folder)
    if adapter.base_digest and base.digest and adapter.base_digest != base.digest:
        raise AdapterMismatch(
            f"The adapter in {folder} was made for {adapter.base!r} (digest "
            f"{adapter.base_digest[:12]}); the bundle's base model is {base.reference!r} "
            f"({base.digest[:12]}). Tune one on this model, or name the other as --base."
        )
    found.files[f"{path}/{CONFIG_FILE}"] = folder / CONFIG_FILE
    found.files[f"{path}/{WEIGHTS_FILE}"] = folder / WEIGHTS_FILE
    if (folder / ORIGIN_FILE).is_file():
        found.files[f"{path}/{ORIGIN_FILE}"] = folder / ORIGIN_FILE
    return adapter.digest


def _add_classifier(found: Gathered, name: str, folder: Path, known: list[str], base: Base) -> None:
    checked_name(name, "classifier", found.classifiers)
    if not (folder / CLASSIFIER_FILE).is_file():
        raise UnknownName(
            "finished run", str(folder), known, remedy="Make one with 'glassbox evaluate'."
        )
    manifest, path = Classifier.load(folder), f"classifiers/{name}"
    if base.digest and manifest.base.digest != base.digest:
        raise AdapterMismatch(
            f"The classifier of {folder} was made on {manifest.base.path!r} (digest "
            f"{manifest.base.digest[:12]}); the bundle's base model is {base.reference!r} "
            f"({base.digest[:12]}). Its calibration would not hold: run 'glassbox evaluate' on "
            "this model, or name the other as --base."
        )
    if manifest.adapter is not None:
        digest = _pack_adapter(found, f"{path}/{ADAPTER}", folder / manifest.adapter.path, base)
        if digest != manifest.adapter.digest:
            raise AdapterMismatch(
                f"The adapter of {folder} has digest {digest[:12]}, not "
                f"{manifest.adapter.digest[:12]} with which its confidence was calibrated. "
                "Restore it, or run 'glassbox evaluate' again."
            )
        manifest = replace(manifest, adapter=Part(ADAPTER, digest))
    # Paths do not count in a classifier's digest; those of this machine stay here.
    where = f"../../{BASE_FOLDER}" if base.has_weights else base.reference
    manifest = replace(manifest, base=Part(where, manifest.base.digest))
    found.files[f"{path}/{CLASSIFIER_FILE}"] = indented_json(manifest.to_json())
    for each in (*(folder / name for name in RUN_FILES), *folder.glob("charts/**/*.json")):
        if each.is_file():
            kept = each.name if each.parent == folder else f"{CHARTS}/{each.name}"
            found.files[f"{path}/{kept}"] = each
    found.classifiers[name] = Part(path, manifest.digest)


def _add_probe(found: Gathered, folder: Path, base: Base) -> None:
    from glassbox.introspection.probes.file import PROBE_FILE, TENSOR_FILE, load_probe

    probe = load_probe(folder)
    folder = folder.parent if folder.name == PROBE_FILE else folder
    name = checked_name(probe.name, "probe", found.probes)
    _check_model(f"The probe in {folder}", probe.model.name, probe.model.digest, base)
    adapter = probe.model.adapter_digest
    packed = {each.digest for each in found.adapters.values()} | set(_classifier_adapters(found))
    if adapter is not None and adapter not in packed:
        raise AdapterMismatch(
            f"The probe in {folder} was trained with the adapter {adapter[:12]}, which is not in "
            "the bundle: no request could read it. Pack that adapter too."
        )
    found.probes[name] = _described(found, f"probes/{name}", folder, PROBE_FILE, TENSOR_FILE)


def _add_verifier(found: Gathered, folder: Path, base: Base) -> None:
    from glassbox.introspection.probes.file import PROBE_FILE, TENSOR_FILE, load_probe
    from glassbox.introspection.verifier.file import (
        PROBES_FOLDER,
        VERIFIER_FILE,
        VerifierManifest,
    )

    manifest = VerifierManifest.load(folder)
    _check_model(f"The verifier in {folder}", manifest.model, manifest.model_digest, base)
    for name in manifest.probes:
        load_probe(folder / PROBES_FOLDER / name)
        for each in (PROBE_FILE, TENSOR_FILE):
            below = f"{PROBES_FOLDER}/{name}/{each}"
            found.files[f"verifier/{below}"] = folder / below
    found.verifier = _described(found, "verifier", folder, VERIFIER_FILE)


def _check_model(what: str, name: str, digest: str, base: Base) -> None:
    if base.digest and digest != base.digest:
        raise AdapterMismatch(
            f"{what} was trained on {name!r} (digest {digest[:12]}); the bundle's base model is "
            f"{base.reference!r} ({base.digest[:12]}). Train it on this model, or name the other "
            "as --base."
        )


def _described(found: Gathered, path: str, folder: Path, description: str, *others: str) -> Part:
    """Return a part that describes itself; its files are now among those to be packed."""
    for each in (description, *others):
        found.files[f"{path}/{each}"] = folder / each
    fields: dict[str, Any] = orjson.loads((folder / description).read_bytes())
    return Part(path, str(fields["digest"]))


def _classifier_adapters(found: Gathered) -> list[str]:
    """Return the digests of the adapters that the packed classifiers bring along."""
    manifests = [
        found.files[f"{each.path}/{CLASSIFIER_FILE}"] for each in found.classifiers.values()
    ]
    adapters = [orjson.loads(each)["adapter"] for each in manifests if isinstance(each, bytes)]
    return [str(each["digest"]) for each in adapters if each is not None]

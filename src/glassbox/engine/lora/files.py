"""The folder of a LoRA adapter: PEFT's layout, and beside it where the adapter comes from.

``adapter_config.json`` and ``adapter_model.safetensors`` are PEFT's own, so any PEFT program loads
the folder. ``glassbox.json`` is written last and ties them to one base model by digest: a folder
without it, but with the state of a fit, is unfinished. Knows nothing of resident models.
"""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from transformers import PreTrainedTokenizerBase

from glassbox.artifacts import (
    digest_contents,
    digest_files,
    disk_errors,
    read_object,
    write_bytes,
    write_json,
)
from glassbox.engine.lora.curve import CURVE_FILE, read_curve, write_curve
from glassbox.engine.protocol import AdapterFit, AdapterRecipe, FitPoint
from glassbox.errors import CorruptArtifact, UnknownName, UnsupportedModel

CONFIG_FILE = "adapter_config.json"
WEIGHTS_FILE = "adapter_model.safetensors"
ORIGIN_FILE = "glassbox.json"
README_FILE = "README.md"
STATE_FILE = "fit-state.safetensors"

ORIGIN_SCHEMA = 1
"""Version of the layout of ``glassbox.json``."""

_KEY = re.compile(r"base_model\.model\.(?P<module>.+)\.lora_(?P<side>[AB])\.weight")

_BEYOND_LORA = (
    "use_dora",
    "lora_bias",
    "modules_to_save",
    "trainable_token_indices",
    "layer_replication",
    "target_parameters",
    "alora_invocation_tokens",
    "use_qalora",
    "use_bdlora",
    "arrow_config",
    "kasa_config",
    "monteclora_config",
)

_KINDS: Mapping[str, Any] = {
    "r": int,
    "lora_alpha": int | float,
    "target_modules": str | list | None,
    "rank_pattern": dict | None,
    "alpha_pattern": dict | None,
}
"""What the fields hold that decide over weights."""

_WEIGHTS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
"""Number formats of factors; others would be read as numbers that they are not."""

_STARTS_ON_THE_BASE = ("gaussian", "eva", "orthogonal")
"""Named ways to draw the first weights that leave the base model as it is; others (PiSSA, OLoRA,
CorDA, LoftQ) keep the difference to the base in the adapter and take it from the base's weights."""


@dataclass(frozen=True)
class LoraPair:
    """The two factors of one layer's update, ``scale * B @ A``."""

    a: torch.Tensor
    """Shape ``rank in_features``."""
    b: torch.Tensor
    """Shape ``out_features rank``."""


@dataclass(frozen=True)
class Origin:
    """Where an adapter comes from."""

    base: str
    """Name or folder of the base model."""
    base_digest: str
    """Digest of the base model (hex)."""
    fingerprint: str
    """Digest of everything the fit depended on (hex)."""
    recipe: AdapterRecipe
    """How it was fitted."""
    best_step: int
    """Step whose weights were kept."""
    n_trainable: int
    """Parameters trained."""
    n_parameters: int
    """Parameters in all, adapter included."""


@dataclass(frozen=True)
class AdapterFolder:
    """A complete adapter as it was read from a folder."""

    folder: Path
    """Where it was read."""
    config: Mapping[str, Any]
    """PEFT's configuration."""
    pairs: Mapping[str, LoraPair]
    """Factors by the name of the layer they update."""
    digest: str
    """SHA-256 over configuration and weights (hex)."""
    base: str
    """Name of the base model it says it was made for; empty if it does not say."""
    base_digest: str
    """Digest of that model; empty for an adapter that Glassbox did not make."""


def read_adapter(folder: Path) -> AdapterFolder:
    """Return a complete LoRA adapter.

    Raises:
        UnknownName: There is no such folder.
        CorruptArtifact: A file is missing, damaged, or not the one that was written.
        UnsupportedModel: A PEFT adapter, but not plain LoRA on linear layers.
    """
    if not folder.is_dir():
        raise UnknownName("adapter folder", str(folder))
    if (folder / STATE_FILE).exists() and not (folder / ORIGIN_FILE).exists():
        raise CorruptArtifact(
            folder,
            "the fit of this adapter was interrupted",
            remedy="Run the same tuning again: it goes on from the last validation.",
        )
    # Read once, so that what is digested is what is used, and nothing is mapped: a file that is
    # truncated under a mapping would kill the process.
    described, content = _content(folder / CONFIG_FILE), _content(folder / WEIGHTS_FILE)
    config = _parsed_config(folder / CONFIG_FILE, described)
    pairs = _paired(folder / WEIGHTS_FILE, _parsed_weights(folder / WEIGHTS_FILE, content))
    digest = digest_contents({CONFIG_FILE: described, WEIGHTS_FILE: content})
    base_digest = ""
    if (folder / ORIGIN_FILE).exists():
        origin = read_object(folder / ORIGIN_FILE, schema=ORIGIN_SCHEMA)
        base_digest = str(origin.get("base_digest", ""))
        if origin.get("digest") != digest:
            raise CorruptArtifact(
                folder,
                f"its files have digest {digest[:12]}, {ORIGIN_FILE} says "
                f"{str(origin.get('digest'))[:12]}",
                remedy="Copy it again from where it was made, or tune again.",
            )
    return AdapterFolder(
        folder=folder,
        config=config,
        pairs=pairs,
        digest=digest,
        base=str(config.get("base_model_name_or_path") or ""),
        base_digest=base_digest,
    )


def adapter_digest(folder: Path) -> str:
    """Return the SHA-256 (hex) over an adapter's configuration and weights."""
    return digest_files([folder / CONFIG_FILE, folder / WEIGHTS_FILE])


def write_adapter(
    folder: Path,
    config: Mapping[str, Any],
    weights: Mapping[str, torch.Tensor],
    tokenizer: PreTrainedTokenizerBase,
    origin: Origin,
    curve: tuple[FitPoint, ...],
) -> AdapterFit:
    """Return the fit after writing its folder; ``glassbox.json`` comes last and says it is whole.

    Args:
        folder: Made if need be; an older adapter in it is replaced.
        config: PEFT's configuration as JSON values.
        weights: Tensors under PEFT's names.
        tokenizer: Saved beside the weights.
        origin: Base model, recipe and sizes.
        curve: The training curve.

    Raises:
        NoDiskSpace: The device is full; what was there of the fit's state is kept.
    """
    (folder / ORIGIN_FILE).unlink(missing_ok=True)
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        tokenizer.save_pretrained(str(folder))
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
    write_bytes(folder / WEIGHTS_FILE, save(plain, metadata={"format": "pt"}))
    write_bytes(folder / CONFIG_FILE, orjson.dumps(dict(config), option=_PRETTY))
    write_curve(folder, curve, origin.best_step)
    digest = adapter_digest(folder)
    write_bytes(folder / README_FILE, _readme(origin, digest, curve).encode())
    described = {"schema_version": ORIGIN_SCHEMA, "kind": "adapter", "digest": digest}
    write_json(folder / ORIGIN_FILE, described | asdict(origin))
    return _as_fit(folder, digest, origin, curve)


def read_finished(folder: Path, fingerprint: str) -> AdapterFit | None:
    """Return the fit that a folder already holds, or None if it is of another or unfinished fit.

    Raises:
        CorruptArtifact: The fit was finished, but its files are damaged.
    """
    if not (folder / ORIGIN_FILE).exists():
        return None
    described = read_object(folder / ORIGIN_FILE, schema=ORIGIN_SCHEMA)
    if described.get("fingerprint") != fingerprint:
        return None
    adapter = read_adapter(folder)
    curve = read_curve(folder)
    try:
        fields = {name: described[name] for name in Origin.__dataclass_fields__}
        origin = Origin(**(fields | {"recipe": AdapterRecipe(**fields["recipe"])}))
    except (KeyError, TypeError) as error:
        raise CorruptArtifact(
            folder, f"the description of its fit is incomplete ({error})"
        ) from error
    return _as_fit(folder, adapter.digest, origin, curve)


_PRETTY = orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE


def _as_fit(folder: Path, digest: str, origin: Origin, curve: tuple[FitPoint, ...]) -> AdapterFit:
    return AdapterFit(
        folder=folder,
        digest=digest,
        curve=curve,
        best_step=origin.best_step,
        n_trainable=origin.n_trainable,
        n_parameters=origin.n_parameters,
    )


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        pickled = path.name == WEIGHTS_FILE and path.with_name("adapter_model.bin").exists()
        remedy = "The weights in adapter_model.bin are a pickle and are not loaded."
        raise CorruptArtifact(
            path, "the file is missing", remedy=remedy if pickled else ""
        ) from error


def _parsed_config(path: Path, content: bytes) -> dict[str, Any]:
    try:
        config = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise CorruptArtifact(path, f"not valid JSON ({error})") from error
    if not isinstance(config, dict) or "peft_type" not in config:
        raise CorruptArtifact(path, "this is no configuration of a PEFT adapter")
    if config["peft_type"] != "LORA":
        raise UnsupportedModel(
            f"{path}: the adapter is of kind {config['peft_type']}; Glassbox loads LORA."
        )
    beyond = [name for name in _BEYOND_LORA if config.get(name)]
    if config.get("bias", "none") != "none":
        beyond.append("bias")
    if beyond:
        raise UnsupportedModel(
            f"{path}: the adapter uses {', '.join(beyond)}; Glassbox loads plain LoRA on linear "
            "layers. Merge it into its base model with PEFT's merge_and_unload and load that."
        )
    for name, kinds in _KINDS.items():
        if name in config and not isinstance(config[name], kinds):
            raise CorruptArtifact(path, f"the field {name!r} is {config[name]!r}")
    start = config.get("init_lora_weights", True)
    if isinstance(start, str) and start not in _STARTS_ON_THE_BASE:
        raise UnsupportedModel(
            f"{path}: the adapter began as {start!r}, which changes the base model's own weights. "
            "Save it with PEFT's path_initial_model_for_weight_conversion, which makes it plain."
        )
    return config


def _parsed_weights(path: Path, content: bytes) -> dict[str, torch.Tensor]:
    try:
        return load(content)
    except SafetensorError as error:
        raise CorruptArtifact(
            path, f"damaged or half-written ({error})", remedy="Copy it again, or tune again."
        ) from error


def _paired(path: Path, weights: Mapping[str, torch.Tensor]) -> dict[str, LoraPair]:
    sides: dict[str, dict[str, torch.Tensor]] = {}
    for name, tensor in weights.items():
        key = _KEY.fullmatch(name)
        if key is None:
            raise UnsupportedModel(
                f"{path}: {name!r} is no LoRA factor of a linear layer; "
                "Glassbox loads plain LoRA on linear layers."
            )
        if tensor.dtype not in _WEIGHTS:
            raise UnsupportedModel(
                f"{path}: {name!r} is of {tensor.dtype}; Glassbox loads LoRA factors in "
                f"{', '.join(map(str, _WEIGHTS))}."
            )
        if not torch.isfinite(tensor).all():
            raise CorruptArtifact(path, f"{name!r} holds NaN or infinity")
        sides.setdefault(key["module"], {})[key["side"]] = tensor
    if not sides:
        raise CorruptArtifact(path, "the file holds no weights")
    pairs = {}
    for module, factors in sorted(sides.items()):
        a, b = factors.get("A"), factors.get("B")
        if a is None or b is None:
            raise CorruptArtifact(path, f"one of the two factors of {module!r} is missing")
        if a.ndim != 2 or b.ndim != 2 or a.shape[0] != b.shape[1]:
            shapes = f"{tuple(a.shape)} and {tuple(b.shape)}"
            raise CorruptArtifact(path, f"the factors of {module!r} do not fit together: {shapes}")
        pairs[module] = LoraPair(a, b)
    return pairs


def _readme(origin: Origin, digest: str, curve: tuple[FitPoint, ...]) -> str:
    recipe = "\n".join(f"| {name} | {value} |" for name, value in asdict(origin.recipe).items())
    points = "\n".join(
        f"| {point.step} | {point.epoch:.2f} | {point.train_loss:.4f} | "
        f"{point.validation_loss:.4f} | {point.learning_rate:.2e} |"
        + (" kept |" if point.step == origin.best_step else " |")
        for point in curve
    )
    share = origin.n_trainable / origin.n_parameters
    return f"""---
library_name: peft
base_model: {orjson.dumps(origin.base).decode()}
tags:
- lora
- glassbox
---

# LoRA adapter for {origin.base}

A small update of a language model, fitted by Glassbox so that the probabilities it gives to a
fixed set of answers are better. It is not a model of its own: it works only on the base model it
was fitted on. Its probabilities are not calibrated by tuning alone; measure them, then calibrate.

| | |
|---|---|
| base model | {origin.base} |
| digest of the base model | `{origin.base_digest}` |
| digest of this adapter | `{digest}` |
| trained parameters | {origin.n_trainable:,} of {origin.n_parameters:,} ({share:.2%}) |

## Use

```python
from pathlib import Path
from glassbox.engine.resident import load_engine
from glassbox.types import ModelSpec

engine = load_engine(ModelSpec(model={origin.base!r}))
name = engine.load_adapter(Path("this/folder"))
```

Glassbox refuses it on any other base model. The files follow PEFT's layout, so
`PeftModel.from_pretrained(model, "this/folder")` loads it too.

## Recipe

| setting | value |
|---|---|
{recipe}

Optimiser AdamW, linear warm-up, then cosine decay; the weights kept are those of the lowest
validation loss.

## Training curve

| step | epoch | training loss | validation loss | learning rate | |
|---|---|---|---|---|---|
{points}

Files: `{CONFIG_FILE}`, `{WEIGHTS_FILE}` (the adapter), the tokenizer of the base model,
`{CURVE_FILE}` (the table above), `{ORIGIN_FILE}` (digests).
"""

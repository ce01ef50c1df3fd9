"""From a name to a model in memory: files found, checked, digested and loaded.

Weights are read from safetensors alone and no code is ever run from a model's folder. Knows files
and the library's loaders; knows nothing of scoring.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    BitsAndBytesConfig,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging as library_logging

from glassbox.engine.model.devices import choose_device, choose_dtype, is_out_of_memory
from glassbox.engine.model.files import model_digest
from glassbox.engine.model.finding import check_files, find_model
from glassbox.errors import (
    CorruptArtifact,
    DependencyMissing,
    InvalidValue,
    OutOfMemory,
    UnsupportedModel,
    first_line,
)
from glassbox.types import ModelSpec, Quantization
from glassbox.wording import counted

_FROM_FILES: Final = {"local_files_only": True, "trust_remote_code": False}
"""Of everything that the library reads. Left to itself it asks on standard input whether to run
the code that lies in a model's folder, and takes a line of the texts there for the answer."""

_TEXT_PARTS: Final = {"gemma3": {r"^language_model\.": ""}}
"""Types of models that also see pictures, and what makes their weights' names those of the text
part alone."""

MOST_CONTEXT = 2**20
"""Tokens of a text where neither model nor tokenizer names a limit, as with recurrent models."""


@dataclass(frozen=True)
class LoadedModel:
    """A model in memory, ready in evaluation mode, and where it came from."""

    model: PreTrainedModel
    """The library's own object."""
    tokenizer: PreTrainedTokenizerBase
    """Its tokenizer."""
    name: str
    """What it was asked for by."""
    digest: str
    """SHA-256 (hex) over configuration, tokenizer and weights."""
    context: int
    """Most tokens of prompt and continuation together."""


def load_model(spec: ModelSpec) -> LoadedModel:
    """Return a model and its tokenizer on the device they will run on.

    Raises:
        InvalidValue: The model is given as a bare name.
        UnknownName: No such folder, hub name, revision or embedded model.
        UnsupportedModel: Not a causal language model in safetensors, or not on this machine.
        CorruptArtifact: A file is damaged, or weights are missing.
        OutOfMemory: It does not fit into the host's or the device's memory.
        DependencyMissing: Quantised loading without bitsandbytes.
    """
    if not isinstance(spec, ModelSpec):
        raise InvalidValue("spec", spec, "a ModelSpec, such as ModelSpec('tiny')")
    device = choose_device(spec.device)
    dtype = choose_dtype(device, spec.dtype)
    quantization = _quantization(spec.quantization, device, dtype)
    folder = find_model(spec.model, spec.revision)
    check_files(folder)
    with quiet_library():
        tokenizer = _load_tokenizer(folder)
        model = _load_weights(folder, device, dtype, quantization)
    return LoadedModel(
        model=model.eval().requires_grad_(False),
        tokenizer=tokenizer,
        name=spec.model,
        digest=model_digest(folder),
        context=context_of(model, tokenizer),
    )


def moved(loaded: LoadedModel, device: str) -> LoadedModel:
    """Return a model on another device, as a snapshot's that was loaded without one.

    Raises:
        InvalidValue: Not the name of a device.
        UnsupportedModel: This machine has no such device.
    """
    return replace(loaded, model=loaded.model.to(choose_device(device)))  # type: ignore[arg-type]


def context_of(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> int:
    """Return how many tokens a model was made for; without a limit, the tokenizer's if it has one.

    A tokenizer without one says 10^30.
    """
    config = model.config.get_text_config()
    for name in ("max_position_embeddings", "max_seq_len"):
        limit = getattr(config, name, None)
        if limit:
            return int(limit)
    return min(int(tokenizer.model_max_length), MOST_CONTEXT)


@contextmanager
def quiet_library() -> Iterator[None]:
    """Silence the library's progress bars and its advice; errors still come through."""
    verbosity, bars = library_logging.get_verbosity(), library_logging.is_progress_bar_enabled()
    library_logging.set_verbosity_error()
    library_logging.disable_progress_bar()
    try:
        yield
    finally:
        library_logging.set_verbosity(verbosity)
        if bars:
            library_logging.enable_progress_bar()


def _load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, **_FROM_FILES)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CorruptArtifact(folder, f"no usable tokenizer ({error})") from error
    assert isinstance(tokenizer, PreTrainedTokenizerBase)
    return tokenizer


def _load_weights(
    folder: Path, device: torch.device, dtype: torch.dtype, quantization: Any
) -> PreTrainedModel:
    try:
        config = AutoConfig.from_pretrained(folder, **_FROM_FILES)
    except (OSError, ValueError, KeyError) as error:
        raise UnsupportedModel(
            f"{folder} is of a kind that the installed transformers does not know, or needs code "
            f"from its own folder, which is never run ({first_line(error)})"
        ) from error
    require_one_part(config, str(folder))
    renamed = _TEXT_PARTS.get(config.model_type)
    loader: Any = AutoModelForCausalLM
    try:
        model, report = loader.from_pretrained(
            folder,
            config=text_part(config),
            key_mapping=renamed,
            dtype=dtype,
            device_map={"": device} if quantization is not None else None,
            quantization_config=quantization,
            use_safetensors=True,
            **_FROM_FILES,
            output_loading_info=True,
        )
    except ValueError as error:
        raise UnsupportedModel(
            f"{folder} is not a causal language model ({first_line(error)})"
        ) from error
    except (SafetensorError, RuntimeError, OSError, MemoryError) as error:
        if is_out_of_memory(error):
            raise _too_large(folder, device) from error
        raise CorruptArtifact(folder, f"the weights do not fit the model ({error})") from error
    missing = sorted(report["missing_keys"])
    if missing:
        absent = counted(len(missing), "weight is missing", "weights are missing")
        raise CorruptArtifact(folder, f"{absent}, such as {missing[0]!r}")
    assert isinstance(model, PreTrainedModel)
    if quantization is None:
        try:
            model.to(device)  # type: ignore[arg-type]  # transformers narrows torch's signature
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise _too_large(folder, device) from error
    return model


def text_part(config: PretrainedConfig) -> PretrainedConfig:
    """Return the configuration that is loaded: of a model that also sees pictures, its text part.

    A type whose text part is not known by name is left whole.
    """
    found: PretrainedConfig = (
        config.get_text_config() if config.model_type in _TEXT_PARTS else config
    )
    return found


def require_one_part(config: PretrainedConfig, name: str) -> None:
    """Refuse a model that reads a text with one half and writes with another.

    Raises:
        UnsupportedModel: An encoder-decoder model, as T5 and BART are.
    """
    if getattr(config, "is_encoder_decoder", False):
        raise UnsupportedModel(
            f"{name} is an encoder-decoder model (type {config.model_type!r}), not a causal "
            "language model. Choose a model of the decoder kind, as Llama, Qwen and GPT are."
        )


def _too_large(folder: Path, device: torch.device) -> OutOfMemory:
    return OutOfMemory(
        f"The model in {folder} does not fit into memory on its way to {device}. Choose a smaller "
        "model or number format, or free memory."
    )


def _quantization(
    wanted: Quantization | None, device: torch.device, dtype: torch.dtype
) -> BitsAndBytesConfig | None:
    if wanted is None:
        return None
    if device.type != "cuda":
        raise UnsupportedModel(
            f"{wanted} weights need a CUDA device; this would run on {device.type}. Leave "
            "quantization out."
        )
    try:
        import bitsandbytes  # noqa: F401
    except ImportError as error:
        raise DependencyMissing("bitsandbytes", "quant") from error
    if wanted == "8bit":
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype
    )

"""A random model, random dictionaries and a study's texts of any shape, made where they are used.

Nothing is fetched and no checkpoint is read. Knows nothing of measuring.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from glassbox.pathways.blocks.forward import run_context
from glassbox.pathways.blocks.weights import ModelBlocks
from glassbox.pathways.corpus.contexts import Context, make_context
from glassbox.pathways.corpus.documents import Corpus, CorpusCounts, corpus_of
from glassbox.pathways.latents import LatentId
from glassbox.pathways.orchestration.costs import ModelShape, ReplayShape
from glassbox.pathways.orchestration.forecast import FIRING, StudySize
from glassbox.pathways.replay.interventions import Intervention
from glassbox.pathways.saes.dictionaries import Dictionaries
from glassbox.pathways.saes.readers.reader import SaeReader
from glassbox.pathways.saes.readers.recipe import Matrix, Recipe
from glassbox.pathways.saes.readers.tensor_files import HeldTensors
from glassbox.pathways.saes.sae import SaeSource

GOLDEN = 0.6180339887498949
"""Its multiples fill [0, 1) evenly, whatever their number."""


@dataclass(frozen=True)
class Shape:
    """A model, the study of it, and the numbers' format."""

    name: str
    config: LlamaConfig
    dtype: torch.dtype
    size: StudySize
    firing: int = FIRING
    """Latents of a whole dictionary that fire on a token, about."""

    @property
    def model(self) -> ModelShape:
        """The model's sizes, as the forecast takes them."""
        return ModelShape.of_config(self.config, name=self.name, itemsize=self.dtype.itemsize)


def shape_8b() -> Shape:
    """Return Llama-3.1-8B's. Source: config.json of meta-llama/Llama-3.1-8B."""
    rope = {
        "rope_type": "llama3", "rope_theta": 500_000.0, "factor": 8.0, "low_freq_factor": 1.0,
        "high_freq_factor": 4.0, "original_max_position_embeddings": 8192,
    }  # fmt: skip
    config = LlamaConfig(
        vocab_size=128_256,
        hidden_size=4096,
        intermediate_size=14_336,
        num_hidden_layers=32,
        num_attention_heads=32,
        num_key_value_heads=8,
        max_position_embeddings=131_072,
        rms_norm_eps=1e-5,
        rope_parameters=rope,
    )
    return Shape("Llama-3.1-8B", config, torch.bfloat16, StudySize())


def shape_tiny() -> Shape:
    """Return one that runs in seconds on a processor."""
    config = LlamaConfig(
        vocab_size=300,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
    )
    size = StudySize(
        layers=(1, 2, 3), per_layer=8, d_sae=512, n_contexts=4, n_tokens=32, top=4,
        n_below=20, n_responses=100, n_prompts=4,
    )  # fmt: skip
    return Shape("tiny", config, torch.float32, size, firing=8)


def random_model(shape: Shape, device: torch.device) -> LlamaForCausalLM:
    """Return a model of random weights, never held anywhere but on the device."""
    with torch.device("meta"):
        model = LlamaForCausalLM(shape.config)
    model.to(shape.dtype)  # type: ignore[arg-type]  # transformers narrows torch's signature
    model.to_empty(device=device)
    draw = torch.Generator(device).manual_seed(0)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith("norm.weight"):
                weight.fill_(1.0)
            else:
                weight.normal_(std=shape.config.initializer_range, generator=draw)
    # Its frequencies are no parameters, and were left as they were found.
    trunk: Any = model.model
    trunk.rotary_emb = type(trunk.rotary_emb)(shape.config).to(device)
    model.eval().requires_grad_(False)
    return model


def random_dictionaries(shape: Shape, blocks: ModelBlocks) -> Dictionaries:
    """Return a dictionary for each layer of the study: the same rows, each its own threshold."""
    d_sae, d_model = shape.size.d_sae, blocks.d_model
    draw = torch.Generator().manual_seed(1)
    rows = torch.empty(d_sae, d_model, dtype=shape.dtype)
    for part in rows.split(4096):
        fresh = torch.randn(part.shape, generator=draw)
        part.copy_(fresh / fresh.norm(dim=1, keepdim=True))
    held = HeldTensors(Path("random"), {"encoder": rows, "decoder": rows})
    tokens = torch.randint(shape.config.vocab_size, (shape.size.n_tokens,), generator=draw)
    with torch.no_grad():
        run = run_context(blocks, tokens.to(blocks.device))
    # Rows of length 1 read a number that is about normal, as wide as the stream is on average.
    far = float(torch.special.ndtri(torch.tensor(1 - shape.firing / d_sae)))
    readers = []
    for layer in shape.size.layers:
        wide = float(run.output(layer)[1:].float().square().mean().sqrt())
        recipe = Recipe(
            Matrix("encoder", 0), Matrix("decoder", 0), torch.zeros(d_sae), torch.zeros(d_model),
            torch.full((d_sae,), far * wide),
        )  # fmt: skip
        source = SaeSource("memory", "file", "random", "", "jumprelu", "")
        readers.append(SaeReader(held, recipe, source, layer=layer, files=()))
    return Dictionaries(readers)


def texts_of(shape: Shape, n_texts: int) -> list[Context]:
    """Return some of the study's texts, evenly spread, of random tokens."""
    size = shape.size
    every = size.contexts()
    draw = torch.Generator().manual_seed(2)
    found = []
    for number in range(min(n_texts, len(every))):
        at = number * len(every) // n_texts
        tokens = torch.randint(shape.config.vocab_size, (size.n_tokens,), generator=draw)
        targets = [
            # No latent of position 0 is anybody's source or target.
            (LatentId(layer, (at + rank) % size.per_layer), max(1, position))
            for rank, (layer, position) in enumerate(every[at].targets)
        ]
        found.append(make_context(at, tokens.tolist(), targets, excluded=(0,)))
    return found


@dataclass(frozen=True)
class Run:
    """One replay, and what the forecast knows of it."""

    what: Intervention
    shape: ReplayShape


def runs_of(
    shape: Shape, blocks: ModelBlocks, dictionaries: Dictionaries, texts: Sequence[Context]
) -> list[list[Run]]:
    """Return for each text a run for each source of each of its targets.

    Sources stand on the layers below in turn, and are changed from a position on that may be any
    before the target's: the source is the latent that is strongest there. Where none fires there
    is no run.
    """
    with torch.no_grad():
        streams = [run_context(blocks, _tokens(text, blocks)) for text in texts]
        strongest = {
            sae.layer: [sae.encode(run.output(sae.layer)).max(1) for run in streams]
            for sae in dictionaries.stream(device=blocks.device, dtype=blocks.dtype)
        }
    found = []
    for at, text in enumerate(texts):
        runs = []
        for number, target in enumerate(text.targets):
            below = [layer for layer in shape.size.layers if layer < target.latent.layer]
            for rank in range(min(shape.size.top, shape.size.per_layer * len(below))):
                layer, end = below[rank % len(below)], target.position + 1
                share = (text.document_id + number * shape.size.top + rank) * GOLDEN % 1.0
                start = 1 + int(target.position * share)
                value, index = (each[start].item() for each in strongest[layer][at])
                if not value:
                    continue
                source = LatentId(layer, int(index))
                what = Intervention(
                    (source,), positions=tuple(range(start, end)), targets=(number,)
                )
                runs.append(Run(what, ReplayShape(end, layer, start, target.latent.layer)))
        found.append(runs)
    return found


def _tokens(text: Context, blocks: ModelBlocks) -> torch.Tensor:
    return torch.tensor(text.token_ids, device=blocks.device)


def corpus_like(shape: Shape, n_documents: int) -> Corpus:
    """Return documents of random tokens, as long as the study's texts."""
    draw = torch.Generator().manual_seed(3)
    size = (n_documents, shape.size.n_tokens)
    tokens = torch.randint(1, shape.config.vocab_size, size, generator=draw).tolist()
    return corpus_of(
        [((), row) for row in tokens],
        [{"made up": 1}] * n_documents,
        special_ids=(0,),
        counts=CorpusCounts(n_documents, 0, 0, 0, 0, 0, 0, 0),
    )

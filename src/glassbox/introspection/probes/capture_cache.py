"""Hidden states of many rows, captured once and kept: every probe of a model is fitted from them.

States lie in safetensors files of a few rows each, below a folder named by a digest of everything
they depend on; an interrupted capture goes on from the files that are there. One place is read
from disk at a time, so memory holds one layer and not all. Knows nothing of targets.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
from jaxtyping import Float

from glassbox.artifacts import digest_json, write_bytes
from glassbox.engine.protocol import Engine
from glassbox.engine.requests import Generation, Request, Sampling
from glassbox.errors import InvalidData, InvalidHookPoint, InvalidValue, UnsupportedModel
from glassbox.introspection.probes.probe import ProbePooling
from glassbox.introspection.probes.rows import ProbeRow
from glassbox.progress import Progress
from glassbox.types import Capture, HookPoint, Scope, TokenIds

CAPTURE_SCHEMA: Final = 1
"""Part of every key: raising it abandons all older files."""

CHUNK_ROWS: Final = 128
"""Rows in one file: what an interruption costs at most."""

READINGS: Final = (
    "mean entropy", "mean logprob", "least logprob", "mean top probability", "number of tokens",
    "next entropy", "next top probability",
)  # fmt: skip
"""What is read beside the states, for the baselines: of the tokens of the response, or of the text;
and, for a text alone, of the token that would follow it (NaN behind a response)."""


@dataclass(frozen=True, order=True)
class Place:
    """One layer in one pooling."""

    layer: int
    """Block, counted from 0; its output is read."""
    pooling: ProbePooling
    """How positions become one state."""

    @property
    def name(self) -> str:
        """Key of its states in a file."""
        return f"{self.layer}.{self.pooling}"


@dataclass(frozen=True)
class CapturePlan:
    """What is captured."""

    layers: tuple[int, ...]
    """Blocks, counted from 0."""
    pooling: tuple[ProbePooling, ...]
    """Forms kept of each."""
    scope: Scope
    """Positions covered."""
    adapter: str | None = None
    """Adapter that runs; None is the base model."""

    @property
    def places(self) -> tuple[Place, ...]:
        """Every layer in every pooling."""
        return tuple(Place(layer, pooling) for layer in self.layers for pooling in self.pooling)

    @property
    def capture(self) -> Capture:
        """What the engine is asked."""
        points = tuple(HookPoint(layer) for layer in self.layers)
        return Capture(points, self.pooling, self.scope)


@dataclass(frozen=True)
class CapturedSet:
    """States of some rows, on disk."""

    files: tuple[Path, ...]
    """In the order of the rows."""
    plan: CapturePlan
    """What was captured."""
    adapter_digest: str | None
    """Digest of the adapter that ran."""
    n_rows: int
    """Rows in all."""

    def features(self, place: Place) -> Float[np.ndarray, "n d_model"]:
        """Return every row's state at one place, float64."""
        return np.concatenate([self._read(file, place.name) for file in self.files])

    def readings(self) -> dict[str, Float[np.ndarray, " n"]]:
        """Return what was read beside the states, by the names of ``READINGS``."""
        table = np.concatenate([self._read(file, "readings") for file in self.files])
        return dict(zip(READINGS, table.T, strict=True))

    def _read(self, file: Path, name: str) -> np.ndarray:
        from safetensors import safe_open

        with safe_open(file, framework="numpy") as opened:
            return np.asarray(opened.get_tensor(name), dtype=np.float64)


def plan_capture(
    engine: Engine,
    layers: Sequence[int] | None,
    pooling: Sequence[ProbePooling],
    scope: Scope,
    adapter: str | None = None,
) -> CapturePlan:
    """Return what to capture, layers counted from 0 and in order.

    Args:
        engine: The resident model.
        layers: Blocks; negative counts from the end; None is all of them.
        pooling: Forms kept.
        scope: Positions covered.
        adapter: Adapter that runs.

    Raises:
        InvalidHookPoint: A layer that the model does not have.
        InvalidValue: No layer, or no pooling.
        UnsupportedModel: The model shows no states.
    """
    n_layers = engine.info.n_layers
    if not engine.info.states:
        raise UnsupportedModel(
            f"The layers of {engine.info.architecture} are not known by name, so its states "
            "cannot be read."
        )
    chosen = range(n_layers) if layers is None else layers
    for layer in chosen:
        if not -n_layers <= layer < n_layers:
            raise InvalidHookPoint(
                f"layer {layer}: the model has layers 0 to {n_layers - 1}, or -{n_layers} to -1."
            )
    if not chosen or not pooling:
        raise InvalidValue("layers and pooling", (layers, pooling), "at least one of each")
    whole = tuple(sorted({layer % n_layers for layer in chosen}))
    return CapturePlan(whole, tuple(dict.fromkeys(pooling)), scope, adapter)


def capture_rows(
    engine: Engine,
    rows: Sequence[ProbeRow],
    plan: CapturePlan,
    folder: Path,
    progress: Progress | None = None,
) -> CapturedSet:
    """Return the states of some rows, from disk where an earlier capture left them.

    Rows whose file is cut off or damaged are captured anew.

    Args:
        engine: The resident model.
        rows: Texts, or prompts with responses.
        plan: What to capture.
        folder: Where all captures are kept.
        progress: Called as rows are done.

    Raises:
        InvalidData: A row over the context, or without a position in the scope; by line.
        GlassboxError: As ``Engine.generate``.
    """
    requests = row_requests(engine, rows, plan)
    digest = adapter_digest(engine, plan.adapter)
    own = folder / _key(engine, requests, plan, digest)[:16]
    files = []
    for start in range(0, len(rows), CHUNK_ROWS):
        file = own / f"rows-{start:06d}.safetensors"
        stop = min(start + CHUNK_ROWS, len(rows))
        if not _is_whole(file):
            batch = requests[start:stop]
            readings = _readings(engine, rows[start:stop], batch, answers := engine.generate(batch))
            write_bytes(file, _packed(answers, readings, plan))
        files.append(file)
        if progress is not None:
            progress(stop, len(rows))
    return CapturedSet(tuple(files), plan, digest, len(rows))


def _is_whole(file: Path) -> bool:
    """Return whether a file of states is there, and as long as it says."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, framework="numpy"):
            return True
    except (FileNotFoundError, SafetensorError):
        return False


def adapter_digest(engine: Engine, adapter: str | None) -> str | None:
    """Return the digest of a loaded adapter; None is the base model.

    Raises:
        InvalidValue: No such adapter is loaded.
    """
    if adapter is None:
        return None
    for info in engine.adapters:
        if adapter in (info.name, info.digest):
            return info.digest
    raise InvalidValue("adapter", adapter, f"one of {[each.name for each in engine.adapters]}")


def row_requests(engine: Engine, rows: Sequence[ProbeRow], plan: CapturePlan) -> list[Request]:
    """Return the request that reads each row.

    A text alone is read as a prompt: the engine gets its first token as the prompt and the rest as
    a response, which gives the same states and the log-probabilities of its tokens as well.

    Raises:
        InvalidData: A row over the context, or without a position in the scope; by line.
    """
    prompts = engine.codec.encode([row.prompt for row in rows])
    responses = engine.codec.encode_continuations(
        [row.response or "" for row in rows], literal=True
    )
    requests = []
    for row, prompt, response in zip(rows, prompts, responses, strict=True):
        _check_row(row, prompt, response, plan.scope, engine.info.context)
        capture = plan.capture
        if row.response is None:
            prompt, response = prompt[:1], prompt[1:]
            capture = replace(capture, scope="all")
        sampling = Sampling(max_tokens=1, temperature=0, top_logprobs=1)
        requests.append(
            Request(
                prompt, response=response, sampling=sampling, adapter=plan.adapter, capture=capture
            )
        )
    return requests


def _check_row(
    row: ProbeRow, prompt: TokenIds, response: TokenIds, scope: Scope, context: int
) -> None:
    problem = ""
    n_tokens, room = len(prompt) + len(response), context - (row.response is None)
    if n_tokens > room:
        problem = f"takes {n_tokens} tokens; there is room for {room}: shorten it or leave it out"
    elif row.response is None and scope == "generated":
        problem = "is a text alone; the scope 'generated' needs a prompt and a response"
    elif not prompt or (row.response is not None and not response):
        problem = "gives no token"
    if problem:
        raise InvalidData(problem, source=row.source, line=row.line)


def _key(engine: Engine, requests: Sequence[Request], plan: CapturePlan, digest: str | None) -> str:
    texts = [[list(each.prompt), list(each.response or ())] for each in requests]
    info = engine.info
    plain = asdict(replace(plan, adapter=None))
    kinds = [str(each.capture and each.capture.scope) for each in requests]
    return digest_json([CAPTURE_SCHEMA, info.digest, info.dtype, digest, plain, kinds, texts])


def _packed(
    answers: Sequence[Generation], readings: Float[np.ndarray, "n 7"], plan: CapturePlan
) -> bytes:
    from safetensors.numpy import save

    tensors = {"readings": readings}
    for column, layer in enumerate(plan.layers):
        for pooling in plan.pooling:
            vectors = [getattr(each.states[column], pooling) for each in answers]
            tensors[Place(layer, pooling).name] = np.ascontiguousarray(vectors, dtype=np.float32)
    return bytes(save(tensors))


def _readings(
    engine: Engine,
    rows: Sequence[ProbeRow],
    requests: Sequence[Request],
    answers: Sequence[Generation],
) -> Float[np.ndarray, "n 7"]:
    """What the baselines know of each row; a text alone is asked once more for its next token."""
    alone = [i for i, row in enumerate(rows) if row.response is None]
    asked = []
    for i in alone:
        request = requests[i]
        whole = (*request.prompt, *(request.response or ()))
        asked.append(replace(request, prompt=whole, response=None, capture=None))
    following = dict(zip(alone, engine.generate(asked), strict=True)) if asked else {}
    table = np.full((len(rows), len(READINGS)), np.nan)
    for i, answer in enumerate(answers):
        tokens = answer.tokens
        if tokens.token_ids:
            top = np.exp(tokens.top_logprobs[:, 0].astype(np.float64))
            least, n_tokens = tokens.logprobs.min(), len(tokens.token_ids)
            table[i, :5] = (
                tokens.entropies.mean(), tokens.logprobs.mean(), least, top.mean(), n_tokens,
            )  # fmt: skip
        else:
            # A text of a single token: nothing stands before it that could foretell it.
            table[i, :5] = 0.0
        if i in following:
            coming = following[i].tokens
            table[i, 5:] = (coming.entropies[0], np.exp(coming.top_logprobs[0, 0]))
    return table

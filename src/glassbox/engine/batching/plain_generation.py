"""The slow, obvious way to write and to read: one request at a time through the library's modules.

It is the oracle of the running batch and the way of models that cannot join one. States come from
the library's own ``output_hidden_states``; nothing is shared between requests. Knows nothing of
queues, threads or adapters: the model answers with whatever is selected.
"""

import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from glassbox.engine.model.blocks import blocks_of
from glassbox.engine.model.codec import TokenizerCodec
from glassbox.engine.model.devices import in_float64
from glassbox.engine.model.distributions import MIN_TEMPERATURE, entropy, require_finite
from glassbox.engine.requests import (
    CapturedStates,
    Generation,
    Listener,
    Piece,
    Request,
    Sampling,
    TokenReadings,
)
from glassbox.engine.scoring.plain_forward import rotation_switch
from glassbox.errors import InvalidHookPoint
from glassbox.types import FinishReason, HookPoint, Scope, TokenIds


@dataclass
class _Row:
    """What has been read so far."""

    token_ids: list[int] = field(default_factory=list)
    numbers: list[tuple[float, ...]] = field(default_factory=list)
    top_ids: list[np.ndarray] = field(default_factory=list)
    top_logprobs: list[np.ndarray] = field(default_factory=list)

    def read(self, start: int, n_top: int) -> TokenReadings:
        numbers = np.asarray(self.numbers[start:], dtype=np.float32).reshape(-1, 4)
        n = len(numbers)
        tops = self.top_ids[start:], self.top_logprobs[start:]
        return TokenReadings(
            token_ids=tuple(self.token_ids[start:]),
            logprobs=numbers[:, 0],
            entropies=numbers[:, 1],
            sampled_logprobs=numbers[:, 2],
            sampled_entropies=numbers[:, 3],
            top_ids=np.asarray(tops[0], dtype=np.int64).reshape(n, n_top),
            top_logprobs=np.asarray(tops[1], dtype=np.float32).reshape(n, n_top),
        )


class PlainAnswer:
    """The answer to one request, a pass at a time.

    Args:
        model: The library's model, in evaluation mode.
        codec: Its tokenizer.
        request: What to write or to read; its adapter is the caller's business at every step.
        context: Most tokens of prompt and response together.
        listen: Called with each piece of a written response.
        goes_on: Whether the model goes on from keys and values that it kept; else each token is
            written by a pass over the whole text.

    Raises:
        InvalidHookPoint: The library shows no such place.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        codec: TokenizerCodec,
        request: Request,
        *,
        context: int,
        listen: Listener | None = None,
        goes_on: bool = True,
    ) -> None:
        self._model = model
        self._codec = codec
        self._request = request
        self._listen = listen
        self._row = _Row()
        self._places = _Places(model, request)
        self._begun = time.perf_counter()
        self._first_token_s: float | None = None
        self._draw = random.Random(request.sampling.seed)
        self._ends = end_ids(model) if request.sampling.stop_at_end else frozenset()
        self._room = min(request.sampling.max_tokens, context - len(request.prompt))
        self._goes_on = goes_on
        self._switch = rotation_switch(model.config.get_text_config()) or context
        self._n_run = 0
        self._cache: Any = None
        self._sent, self._n_sent = "", 0

    @property
    def n_tokens(self) -> int:
        """Tokens written, or read, so far."""
        return len(self._row.token_ids)

    def step(self) -> FinishReason | None:
        """Write one more token, or read the whole response; return why that was the end, if so.

        Raises:
            NonFiniteOutput: The model answered NaN or infinity.
        """
        given = self._request.response
        with torch.inference_mode(), _last_post(self._model) as last_post:
            return self._write(last_post) if given is None else self._read(given, last_post)

    def generation(self, reason: FinishReason) -> Generation:
        """Return the answer as far as it has come.

        Args:
            reason: Why it goes no further.
        """
        request, row, given = self._request, self._row, self._request.response
        total = time.perf_counter() - self._begun
        text = self._codec.continuation(request.prompt, row.token_ids)
        return Generation(
            text=_before_stop(text, request.sampling.stop)[0] if given is None else text,
            finish_reason=reason,
            tokens=row.read(0, request.sampling.top_logprobs),
            states=self._places.captured(),
            readouts=self._places.readouts(),
            n_prompt=len(request.prompt),
            n_cached=0,
            adapter_digest=None,
            queued_s=0.0,
            first_token_s=total if self._first_token_s is None else self._first_token_s,
            total_s=total,
        )

    def _read(self, given: TokenIds, last_post: list[Tensor]) -> FinishReason:
        whole = (*self._request.prompt, *given)
        logits, hidden = _forward(self._model, whole)
        self._places.add(hidden, last_post, len(whole))
        for at, token in enumerate(given, start=len(self._request.prompt)):
            _note(self._row, logits[at - 1], token, self._request.sampling)
        return "given"

    def _write(self, last_post: list[Tensor]) -> FinishReason | None:
        sampling, row = self._request.sampling, self._row
        whole = (*self._request.prompt, *row.token_ids)
        n_before, self._n_run = self._n_run, len(whole)
        n_new = len(whole) - n_before
        if self._goes_on:
            if n_before <= self._switch < len(whole):
                # From here on all keys are turned otherwise, those that were kept as well.
                n_before, self._cache = 0, None
            logits, hidden, self._cache = go_on(self._model, whole[n_before:], self._cache)
        else:
            logits, hidden = _forward(self._model, whole)
        new = self._places.add(hidden, last_post, n_new)
        token = choose(logits[-1, : self._codec.n_tokens], sampling, self._draw)
        _note(
            row, logits[-1], token, sampling,
            n_able=self._codec.n_tokens if sampling.temperature > 0 else None,
        )  # fmt: skip
        if self._first_token_s is None:
            self._first_token_s = time.perf_counter() - self._begun
        text = self._codec.continuation(self._request.prompt, row.token_ids)
        text, stop_found = _before_stop(text, sampling.stop)
        reason: FinishReason | None = None
        if stop_found or token in self._ends:
            reason = "stop"
        elif len(row.token_ids) >= self._room:
            reason = "length" if len(row.token_ids) == sampling.max_tokens else "context"
        if self._listen is not None:
            safe = text if reason else held_back(text, sampling.stop)
            tokens = row.read(self._n_sent, sampling.top_logprobs)
            self._listen(Piece(safe[len(self._sent) :], tokens, new))
            self._sent, self._n_sent = safe, len(row.token_ids)
        return reason


def choose(logits: Tensor, sampling: Sampling, draw: random.Random) -> int:
    """Return the next token: the most probable one, or one drawn by inverse transform.

    One uniform number a token: the first id, in the order of the vocabulary, at which the
    cumulated probability of the kept tokens exceeds it.
    """
    if sampling.temperature == 0:
        return int(logits.float().argmax())
    probs = in_float64(sampled_logprobs(logits, sampling).exp())
    uniform = draw.random() * float(probs.sum())
    drawn = int((probs.cumsum(0) <= uniform).sum())
    return min(drawn, int(probs.nonzero().max()))


def sampled_logprobs(logits: Tensor, sampling: Sampling) -> Tensor:
    """Return the log-probabilities sampled from: temperature, then top_k, then top_p.

    Among tokens of equal probability the lower id counts as the more probable one.

    Source: Holtzman et al. 2020, "The Curious Case of Neural Text Degeneration", section 3.1.
    """
    # Counted from the best one, no logit overflows at a tiny temperature.
    scaled = (logits.float() - logits.float().max()) / max(sampling.temperature, MIN_TEMPERATURE)
    order = torch.argsort(scaled, descending=True, stable=True)
    keep = torch.zeros_like(scaled, dtype=torch.bool)
    probs = torch.softmax(scaled[order[: sampling.top_k]], dim=-1)
    before = probs.cumsum(0) - probs
    # The first token is always kept: nothing stands before it. At 1 all are: sums may round up.
    reach = sampling.top_p if sampling.top_p < 1 else torch.inf
    keep[order[: len(probs)][before < reach]] = True
    return torch.log_softmax(scaled.masked_fill(~keep, -torch.inf), dim=-1)


def end_ids(model: PreTrainedModel) -> frozenset[int]:
    """Return the token ids that end a text of this model; there may be none."""
    config = getattr(model, "generation_config", None) or model.config
    ids = config.eos_token_id
    if ids is None:
        ids = model.config.get_text_config().eos_token_id
    return frozenset([ids] if isinstance(ids, int) else ids or ())


def held_back(text: str, stop: tuple[str, ...]) -> str:
    """Return the part of a text that later tokens can no longer take back.

    Held back are an unfinished character at the end and what may begin a stop string.
    """
    text = text.rstrip("\ufffd")
    for n in range(max((len(each) for each in stop), default=1) - 1, 0, -1):
        if n <= len(text) and any(each.startswith(text[-n:]) for each in stop):
            return text[:-n]
    return text


def _before_stop(text: str, stop: tuple[str, ...]) -> tuple[str, bool]:
    found = [at for at in (text.find(each) for each in stop) if at >= 0]
    return (text[: min(found)], True) if found else (text, False)


def _note(
    row: _Row, logits: Tensor, token: int, sampling: Sampling, *, n_able: int | None = None
) -> None:
    """Note what was thought of a token, which was drawn from the first ids where some are given."""
    raw = torch.log_softmax(logits.float(), dim=-1)
    drawn = raw if n_able is None else sampled_logprobs(logits[:n_able], sampling)
    numbers = torch.stack([raw[token], entropy(raw), drawn[token], entropy(drawn)])
    require_finite(numbers)
    row.token_ids.append(token)
    row.numbers.append(tuple(numbers.tolist()))
    top = torch.topk(raw, min(sampling.top_logprobs, len(raw)))
    row.top_ids.append(top.indices.cpu().numpy())
    row.top_logprobs.append(top.values.cpu().numpy())


def go_on(
    model: PreTrainedModel, tokens: TokenIds, cache: Any
) -> tuple[Tensor, tuple[Tensor, ...], Any]:
    """Return logits and hidden states of some tokens, and what the next ones go on from."""
    output = model(
        input_ids=torch.tensor([tokens], device=model.device),
        past_key_values=cache,
        use_cache=True,
        output_hidden_states=True,
    )
    return output.logits[0], tuple(output.hidden_states or ()), output.past_key_values


def _forward(model: PreTrainedModel, tokens: TokenIds) -> tuple[Tensor, tuple[Tensor, ...]]:
    output = model(
        input_ids=torch.tensor([tokens], device=model.device),
        use_cache=False,
        output_hidden_states=True,
    )
    return output.logits[0], tuple(output.hidden_states or ())


@contextmanager
def _last_post(model: PreTrainedModel) -> Iterator[list[Tensor]]:
    """Catch what leaves the last block, which the library shows only after the final norm."""
    blocks, caught = blocks_of(model), [torch.empty(0)]

    def catch(_module: Any, _args: Any, output: Any) -> None:
        caught[0] = output[0] if isinstance(output, tuple | list) else output

    if blocks is None:
        yield caught
        return
    handle = blocks[-1].register_forward_hook(catch)
    try:
        yield caught
    finally:
        handle.remove()


class _Places:
    """Every position's state at the places a request asks for, kept whole."""

    def __init__(self, model: PreTrainedModel, request: Request) -> None:
        self._request = request
        self._n_layers = int(model.config.get_text_config().num_hidden_layers)
        points = [] if request.capture is None else list(request.capture.points)
        points += [readout.point for readout in request.readouts]
        self._kept: dict[HookPoint, list[Tensor]] = {self._whole(point): [] for point in points}
        self._n = 0

    def add(self, hidden: tuple[Tensor, ...], last_post: list[Tensor], n: int) -> dict[str, Any]:
        """Keep the states of ``n`` more positions; return the readouts of the covered ones."""
        for point, kept in self._kept.items():
            kept.append(self._state(point, hidden, last_post)[0, -n:].float().cpu())
        first, stop = self._span(self._request.readout_scope)
        here = range(max(first, self._n), min(stop, self._n + n))
        self._n += n
        return self._values(here)

    def captured(self) -> tuple[CapturedStates, ...]:
        capture = self._request.capture
        if capture is None:
            return ()
        first, stop = self._span(capture.scope)
        answers = []
        for point in capture.points:
            place = self._whole(point)
            states = torch.cat(self._kept[place])[first:stop].numpy()
            some, pooling = len(states) > 0, capture.pooling
            answers.append(
                CapturedStates(
                    point=place,
                    scope=capture.scope,
                    n_positions=len(states),
                    mean=states.mean(0) if some and "mean" in pooling else None,
                    last=states[-1] if some and "last" in pooling else None,
                    norm=float(np.linalg.norm(states, axis=1).mean())
                    if some and "norm" in pooling
                    else None,
                    none=states if "none" in pooling else None,
                )
            )
        return tuple(answers)

    def readouts(self) -> dict[str, Any]:
        first, stop = self._span(self._request.readout_scope)
        return self._values(range(first, min(stop, self._n)))

    def _values(self, places: range) -> dict[str, Any]:
        values = {}
        for readout in self._request.readouts:
            states = torch.cat(self._kept[self._whole(readout.point)]).numpy()
            chosen = states[places.start : places.stop]
            value = chosen @ np.asarray(readout.weight, dtype=np.float32) + readout.bias
            values[readout.name] = value.astype(np.float32)
        return values

    def _span(self, scope: Scope) -> tuple[int, int]:
        n_prompt, first = len(self._request.prompt), self._request.n_hidden
        if scope == "prompt":
            return first, n_prompt
        return (n_prompt if scope == "generated" else first), 2**62

    def _whole(self, point: HookPoint) -> HookPoint:
        n = self._n_layers
        layer = point.layer + n if point.layer < 0 else point.layer
        if not 0 <= layer < n:
            raise InvalidHookPoint(f"layer {point.layer}: the model has layers 0 to {n - 1}.")
        if point.site not in ("resid_pre", "resid_post", "final_norm") or (
            point.site == "final_norm" and layer != n - 1
        ):
            raise InvalidHookPoint(f"{point.site} of layer {layer} cannot be read here.")
        return HookPoint(layer, point.site)

    def _state(
        self, point: HookPoint, hidden: tuple[Tensor, ...], last_post: list[Tensor]
    ) -> Tensor:
        if point.site == "resid_pre":
            return hidden[point.layer]
        if point.site == "final_norm":
            return hidden[self._n_layers]
        if point.layer == self._n_layers - 1:
            return last_post[0]
        return hidden[point.layer + 1]

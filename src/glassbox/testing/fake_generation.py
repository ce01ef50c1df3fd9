"""How the fake engine writes and reads: the rules of a real one over distributions of a script.

States are drawn from a hash of the tokens up to each position, so they are the same however a
position was reached. Knows no model.
"""

import hashlib
import random
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float

from glassbox.engine.batching.plain_generation import choose, held_back, sampled_logprobs
from glassbox.engine.model.codec import TokenizerCodec
from glassbox.engine.requests import (
    CapturedStates,
    Generation,
    Listener,
    Piece,
    Request,
    TokenReadings,
)
from glassbox.errors import InvalidHookPoint, InvalidValue, TextTooLong
from glassbox.types import FinishReason, HookPoint, Scope, TokenIds

N_LAYERS = 4
D_MODEL = 8
END_ID = 1

NextLogprobs = Callable[[TokenIds], Float[np.ndarray, " d_vocab"]]
"""Log-probabilities of the next token after some tokens."""


@dataclass(frozen=True)
class FakeWriter:
    """Answers requests from next-token distributions."""

    next_logprobs: NextLogprobs
    """The distributions."""
    codec: TokenizerCodec
    """Text of ids."""
    context: int
    """Most tokens of prompt and response."""
    adapter_digest: str | None
    """Said in the answer."""
    step_s: float = 0.0
    """Seconds that each written token takes."""

    def answer(
        self,
        request: Request,
        listen: Listener | None,
        stopped: Callable[[], FinishReason | None],
    ) -> Generation:
        """Return the answer to one request."""
        begun = time.perf_counter()
        tokens, reason = self._respond(request, listen, stopped)
        readings = self._read(request, tokens)
        text = self.codec.continuation(request.prompt, tokens)
        total = time.perf_counter() - begun
        return Generation(
            text=_before_stop(text, request.sampling.stop)[0] if reason != "given" else text,
            finish_reason=reason,
            tokens=readings,
            states=self._captured(request, tokens),
            readouts=self._readouts(request, tokens, 0, self._n_seen(request, tokens)),
            n_prompt=len(request.prompt),
            n_cached=0,
            adapter_digest=self.adapter_digest,
            queued_s=0.0,
            first_token_s=total / max(1, len(tokens)),
            total_s=total,
        )

    def _respond(
        self,
        request: Request,
        listen: Listener | None,
        stopped: Callable[[], FinishReason | None],
    ) -> tuple[TokenIds, FinishReason]:
        if request.response is not None:
            return request.response, "given"
        sampling, draw = request.sampling, random.Random(request.sampling.seed)
        room = min(sampling.max_tokens, self.context - len(request.prompt))
        tokens: list[int] = []
        sent, n_read = "", 0
        while True:
            reason = stopped()
            if reason is not None:
                return tuple(tokens), reason
            time.sleep(self.step_s)
            before = (*request.prompt, *tokens)
            logits = torch.from_numpy(self.next_logprobs(before))
            tokens.append(choose(logits, sampling, draw))
            text, found = _before_stop(
                self.codec.continuation(request.prompt, tokens), sampling.stop
            )
            if found or (sampling.stop_at_end and tokens[-1] == END_ID):
                reason = "stop"
            elif len(tokens) >= room:
                reason = "length" if len(tokens) == sampling.max_tokens else "context"
            if listen is not None:
                safe = text if reason else held_back(text, sampling.stop)
                new = self._readouts(request, tuple(tokens), n_read, len(before))
                listen(Piece(safe[len(sent) :], self._read(request, tuple(tokens), -1), new))
                sent, n_read = safe, len(before)
            if reason is not None:
                return tuple(tokens), reason

    def _read(self, request: Request, tokens: TokenIds, start: int = 0) -> TokenReadings:
        n_top, sampling = request.sampling.top_logprobs, request.sampling
        sampled = request.response is None and sampling.temperature > 0
        places = range(len(tokens))[start:]
        numbers = np.zeros((len(places), 4), dtype=np.float32)
        top_ids = np.zeros((len(places), n_top), dtype=np.int64)
        tops = np.zeros((len(places), n_top), dtype=np.float32)
        for row, at in enumerate(places):
            raw = self.next_logprobs((*request.prompt, *tokens[:at]))
            drawn = raw
            if sampled:
                drawn = sampled_logprobs(torch.from_numpy(raw), sampling).double().numpy()
            numbers[row] = (raw[tokens[at]], _entropy(raw), drawn[tokens[at]], _entropy(drawn))
            top_ids[row] = np.argsort(-raw, kind="stable")[:n_top]
            tops[row] = raw[top_ids[row]]
        return TokenReadings(
            token_ids=tokens[start:],
            logprobs=numbers[:, 0],
            entropies=numbers[:, 1],
            sampled_logprobs=numbers[:, 2],
            sampled_entropies=numbers[:, 3],
            top_ids=top_ids,
            top_logprobs=tops,
        )

    def _n_seen(self, request: Request, tokens: TokenIds) -> int:
        # A token that was drawn last is never run.
        drawn_last = request.response is None and len(tokens) > 0
        return len(request.prompt) + len(tokens) - drawn_last

    def _captured(self, request: Request, tokens: TokenIds) -> tuple[CapturedStates, ...]:
        capture = request.capture
        if capture is None:
            return ()
        places = _span(request, capture.scope, 0, self._n_seen(request, tokens))
        answers = []
        for point in map(whole_point, capture.points):
            states = self._states(request, tokens, point, places)
            some, pooling = len(states) > 0, capture.pooling
            norm = float(np.linalg.norm(states, axis=1).mean()) if some else None
            answers.append(
                CapturedStates(
                    point=point,
                    scope=capture.scope,
                    n_positions=len(states),
                    mean=states.mean(0) if some and "mean" in pooling else None,
                    last=states[-1] if some and "last" in pooling else None,
                    norm=norm if "norm" in pooling else None,
                    none=states if "none" in pooling else None,
                )
            )
        return tuple(answers)

    def _readouts(
        self, request: Request, tokens: TokenIds, first: int, stop: int
    ) -> dict[str, Float[np.ndarray, " n"]]:
        places = _span(request, request.readout_scope, first, stop)
        values = {}
        for readout in request.readouts:
            states = self._states(request, tokens, whole_point(readout.point), places)
            weight = np.asarray(readout.weight, dtype=np.float32)
            values[readout.name] = (states @ weight + readout.bias).astype(np.float32)
        return values

    def _states(
        self, request: Request, tokens: TokenIds, point: HookPoint, places: range
    ) -> Float[np.ndarray, "n d_model"]:
        whole = (*request.prompt, *tokens)
        states = np.zeros((len(places), D_MODEL), dtype=np.float32)
        for row, at in enumerate(places):
            name = repr((point.layer, point.site, self.adapter_digest, whole[: at + 1]))
            seed = list(hashlib.sha256(name.encode()).digest())
            states[row] = np.random.default_rng(seed).normal(size=D_MODEL)
        return states


def whole_point(point: HookPoint) -> HookPoint:
    """Return a hook point with its layer counted from 0.

    Raises:
        InvalidHookPoint: The fake model has no such layer.
    """
    layer = point.layer + N_LAYERS if point.layer < 0 else point.layer
    if not 0 <= layer < N_LAYERS:
        raise InvalidHookPoint(f"layer {point.layer}: the model has layers 0 to {N_LAYERS - 1}.")
    return HookPoint(layer, point.site)


def check_request(request: Request, context: int, d_vocab: int) -> None:
    """Refuse what a real engine refuses.

    Raises:
        InvalidValue: An empty prompt, an unknown token id, a readout of the wrong width, or a
            capture that would show a hidden system prompt.
        InvalidHookPoint: No such layer.
        TextTooLong: No room for the response.
    """
    if not request.prompt:
        raise InvalidValue("prompt", request.prompt, "one or more token ids")
    tokens = (*request.prompt, *(request.response or ()))
    odd = [token for token in tokens if not 0 <= token < d_vocab]
    if odd:
        raise InvalidValue("token ids", odd[0], f"each from 0 to {d_vocab - 1}")
    n_room = context - (request.response is None)
    if len(tokens) > n_room:
        n_own, n_left = len(tokens) - request.n_hidden, max(0, n_room - request.n_hidden)
        which = "text, prompt and response together," if request.response else "prompt"
        raise TextTooLong(n_own, n_left, which=which)
    capture = request.capture
    for point in () if capture is None else capture.points:
        whole_point(point)
    if request.n_hidden and capture and capture.scope != "generated" and "none" in capture.pooling:
        raise InvalidValue("pooling", "none", "mean, last or norm with a hidden system prompt")
    for readout in request.readouts:
        whole_point(readout.point)
        if len(readout.weight) != D_MODEL:
            raise InvalidValue(
                f"readout {readout.name!r}", len(readout.weight), f"{D_MODEL} weights"
            )


def _span(request: Request, scope: Scope, first: int, stop: int) -> range:
    n_prompt = len(request.prompt)
    if scope == "prompt":
        return range(max(first, request.n_hidden), min(stop, n_prompt))
    return range(max(first, n_prompt if scope == "generated" else request.n_hidden), stop)


def _entropy(logprobs: np.ndarray) -> float:
    # A token of probability zero adds nothing, where 0 · -inf would be NaN.
    return float(-(np.exp(logprobs) * np.maximum(logprobs, -1e30)).sum())


def _before_stop(text: str, stop: tuple[str, ...]) -> tuple[str, bool]:
    found = [at for at in (text.find(each) for each in stop) if at >= 0]
    return (text[: min(found)], True) if found else (text, False)

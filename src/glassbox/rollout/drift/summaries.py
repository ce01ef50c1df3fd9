"""Numbers that stand for a text in the records, where the text itself is not kept.

Of a text: its length, how its tokens spread over the vocabulary, what the tokenizer does not know.
Of the model's state after reading it: projections on fixed random directions. A text cannot be told
from them; that texts have changed can. Knows no labels and no database.
"""

import hashlib
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Final, Literal, Protocol

import numpy as np
from jaxtyping import Float

from glassbox.engine.protocol import Engine
from glassbox.engine.requests import Readout, Request, Sampling
from glassbox.engine.text_codec import TextCodec
from glassbox.errors import DeadlineExceeded, InvalidValue
from glassbox.rollout.routing import share_of
from glassbox.types import HookPoint, TokenIds

N_GROUPS: Final = 8
"""Groups into which the vocabulary is hashed: enough to see a new topic, few enough to keep."""

N_DIRECTIONS: Final = 8
"""Random directions of the state. Few suffice: a state varies most along few directions, and every
random direction has a part of each of them."""

STATE_SHARE: Final = 0.1
"""Share of the texts whose state is read: each costs one more pass over its prompt."""

STATE_PRIORITY: Final = 10
"""Behind every ordinary request."""

_STRANGE: Final = ("\ue0f3", "\uf8a1")
"""Two private-use characters: a tokenizer that makes the same of both does not know them."""

_SPREAD: Final = 0x9E3779B1
"""Multiplier that scatters neighbouring ids. Source: Knuth 1998, TAOCP 3, section 6.4."""


class Summariser(Protocol):
    """Gives each text the numbers that ``Prediction.summaries`` holds."""

    def summaries(self, texts: Sequence[str]) -> list[dict[str, float]]:
        """Return the numbers of each text by name, in order."""
        ...


class TextSummaries:
    """Length and tokens of texts.

    The names: ``n_chars``; ``n_tokens``; ``chars_per_token``, which falls when a text is not of
    the language the tokenizer was made for; ``rare_share`` of tokens in the upper half of the
    vocabulary, where byte-pair encodings have their rarer pieces; ``unknown_share`` of tokens that
    stand for something unknown; ``tokens_0`` … ``tokens_7``, the share of tokens in each of eight
    groups of the vocabulary that were drawn once and for all.

    Args:
        codec: Tokenizer.
        d_vocab: Size of its vocabulary.
    """

    def __init__(self, codec: TextCodec, d_vocab: int) -> None:
        self._codec = codec
        self._d_vocab = d_vocab
        self._unknown = _unknown_id(codec)

    def summaries(self, texts: Sequence[str]) -> list[dict[str, float]]:
        """Return the numbers of each text by name, in order."""
        encoded = self._codec.encode(list(texts), special=False, literal=True)
        return [self._of(text, ids) for text, ids in zip(texts, encoded, strict=True)]

    def _of(self, text: str, tokens: Sequence[int]) -> dict[str, float]:
        ids = np.asarray(tokens, dtype=np.int64)
        n = max(1, ids.size)
        groups = np.bincount(((ids * _SPREAD) % 2**32) >> 29, minlength=N_GROUPS) / n
        return {
            "n_chars": float(len(text)),
            "n_tokens": float(ids.size),
            "chars_per_token": len(text) / n,
            "rare_share": float((ids >= self._d_vocab // 2).sum() / n),
            "unknown_share": float((ids == self._unknown).sum() / n),
            **{f"tokens_{index}": float(share) for index, share in enumerate(groups)},
        }


class StateSummaries:
    """Projections of the model's state after reading a prompt.

    The state is the output of the last block, averaged over the prompt's tokens; ``state_0`` …
    ``state_7`` are its products with directions that depend on the model alone, so that versions on
    one base model can be compared. A share of the texts is read, always the same ones; others have
    no such numbers.

    Args:
        engine: Resident model.
        prompt: Token ids that the model reads for a text.
        adapter: Adapter under which it reads; None is the base model.
        share: Of the texts that are read, [0, 1].
        patience_s: Seconds that a call waits for the readings, all texts together; those that were
            not there by then have no such numbers. None waits for all.

    Raises:
        InvalidValue: A share outside [0, 1].
    """

    def __init__(
        self,
        engine: Engine,
        prompt: Callable[[str], TokenIds],
        *,
        adapter: str | None = None,
        share: float = STATE_SHARE,
        patience_s: float | None = None,
    ) -> None:
        if not 0 <= share <= 1:
            raise InvalidValue("share", share, "a fraction in [0, 1]")
        self._engine = engine
        self._prompt = prompt
        self._adapter = adapter
        self._patience_s = patience_s
        # A model whose layers are not known by name has no states to read.
        self._share = share if engine.info.states else 0.0
        point = HookPoint(engine.info.n_layers - 1)
        self._readouts = tuple(
            Readout(f"state_{index}", point, direction)
            for index, direction in enumerate(
                state_directions(engine.info.digest, engine.info.d_model)
            )
        )

    def summaries(self, texts: Sequence[str]) -> list[dict[str, float]]:
        """Return the numbers of each text by name, in order; none where it was not read.

        Raises:
            QueueFull: Too many requests wait for the model.
            TextTooLong: A prompt exceeds the context.
        """
        tickets = {
            place: self._engine.submit(
                Request(
                    self._prompt(text),
                    response=(),
                    sampling=Sampling(max_tokens=1),
                    adapter=self._adapter,
                    readouts=self._readouts,
                    readout_scope="prompt",
                    client="drift",
                    priority=STATE_PRIORITY,
                )
            )
            for place, text in enumerate(texts)
            if share_of(f"state:{text}") < self._share
        }
        found: list[dict[str, float]] = [{} for _ in texts]
        until_s = None if self._patience_s is None else monotonic() + self._patience_s
        for place, ticket in tickets.items():
            try:
                left_s = None if until_s is None else max(0.0, until_s - monotonic())
                readings = ticket.result(left_s).whole().readouts
            except DeadlineExceeded:
                # Whoever asked is served first; these numbers are one in many.
                ticket.cancel()
                continue
            # A reading is linear: the mean of the readings is the reading of the mean state.
            found[place] = {name: float(values.mean()) for name, values in readings.items()}
        return found


class AllSummaries:
    """What several summarisers say together.

    Args:
        parts: The summarisers.
    """

    def __init__(self, *parts: Summariser) -> None:
        self._parts = parts

    def summaries(self, texts: Sequence[str]) -> list[dict[str, float]]:
        """Return the numbers of each text by name, in order."""
        found: list[dict[str, float]] = [{} for _ in texts]
        for part in self._parts:
            for merged, numbers in zip(found, part.summaries(texts), strict=True):
                merged.update(numbers)
        return found


def state_directions(model_digest: str, d_model: int) -> Float[np.ndarray, "n_directions d_model"]:
    """Return the fixed directions of a model's states, float32, of length about 1.

    Source: random projections keep distances, Johnson & Lindenstrauss 1984.
    """
    seed = int.from_bytes(hashlib.sha256(f"drift:{model_digest}".encode()).digest()[:8], "big")
    drawn = np.random.default_rng(seed).standard_normal((N_DIRECTIONS, d_model))
    return np.asarray(drawn / np.sqrt(d_model), dtype=np.float32)


def group_of(name: str) -> Literal["state", "text", "other"]:
    """Return what a summary's number is about: ``state``, ``text``, or ``other``."""
    if name.startswith("state_"):
        return "state"
    return "text" if name in _TEXT_NAMES or name.startswith("tokens_") else "other"


_TEXT_NAMES: Final = frozenset(
    ("n_chars", "n_tokens", "chars_per_token", "rare_share", "unknown_share")
)


def _unknown_id(codec: TextCodec) -> int:
    """Return the id of the unknown token, -1 where the tokenizer knows everything."""
    first, second = codec.encode(list(_STRANGE), special=False, literal=True)
    common = set(first) & set(second)
    # Byte-level tokenizers share no id that stands for the whole of both.
    return next(iter(common)) if len(common) == 1 and tuple(first) == tuple(second) else -1

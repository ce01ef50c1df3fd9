"""A model's named parts for techniques: read them, write them, and read out what they say.

One pass with readers and writers on the places of ``engine.states.taps``' table, the unembedding,
and a norm with its scale held. Whatever cannot be served is refused; nothing is guessed. Knows no
technique.
"""

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal
from weakref import WeakKeyDictionary

import torch
from jaxtyping import Float
from torch import Tensor, nn

from glassbox.engine.model.attending import OPEN, Attending
from glassbox.engine.states.taps import NAMES, Taps
from glassbox.errors import InvalidHookPoint, InvalidValue, UnsupportedModel
from glassbox.techniques.measures.encoding import Batch
from glassbox.types import HookPoint

Part = Literal["resid_pre", "attn_out", "heads", "mlp_out", "resid_post", "final_norm"]
"""Places of a layer; ``heads`` is what enters attention's output projection, head beside head."""

PARTS: tuple[Part, ...] = ("resid_pre", "attn_out", "heads", "mlp_out", "resid_post")
"""Places that every layer has."""

READ_OUT_TOLERANCE = {torch.float32: 1e-3, torch.float16: 0.05, torch.bfloat16: 0.25}
"""Largest difference between a logit and what the read-out makes of the last state."""

_TAPS: WeakKeyDictionary[Any, Taps] = WeakKeyDictionary()


@dataclass(frozen=True)
class Spot:
    """A place in the model."""

    layer: int
    """Block, from 0."""
    part: Part = "resid_post"
    """Where inside it."""


Writer = Callable[[Tensor], Tensor]
"""Takes the values at a place, [batch, pos, width], and returns what stands there instead."""


@dataclass(frozen=True, eq=False)
class Pass:
    """What one forward pass gave."""

    logits: Float[Tensor, "batch n_read d_vocab"]
    """In the model's dtype; ``n_read`` is 1 where only the last position was asked for."""
    seen: Mapping[Spot, Tensor] = field(default_factory=dict)
    """Values at the places read, after whatever was written there."""
    attentions: tuple[Float[Tensor, "batch n_heads query key"], ...] = ()
    """Attention weights of each layer, [query, key]; empty unless asked for."""


class Anatomy:
    """The parts of one model.

    Args:
        model: A causal language model of the library.

    Raises:
        UnsupportedModel: Its architecture is not in the table; the message names those that are.
    """

    def __init__(self, model: Any) -> None:
        taps = _TAPS.get(model)
        if taps is None or not taps.is_of(model):
            taps = _TAPS[model] = Taps(model)
        config = model.config.get_text_config()
        self.model = model
        self.n_layers = taps.n_layers
        self.n_heads = int(config.num_attention_heads)
        self.d_model = int(config.hidden_size)
        self._taps = taps
        self._cap = getattr(config, "final_logit_softcapping", None)
        self._keeps = "logits_to_keep" in inspect.signature(model.forward).parameters

    @property
    def final_norm(self) -> nn.Module:
        """The norm before the unembedding."""
        return self._taps.final_norm

    @property
    def unembedding(self) -> nn.Module:
        """The linear module that makes logits; the weight is [d_vocab, d_model]."""
        head = self.model.get_output_embeddings()
        assert isinstance(head, nn.Module)
        return head

    def layer(self, number: int) -> int:
        """Return a layer counted from 0; negative counts from the end.

        Raises:
            InvalidHookPoint: No such layer.
        """
        return self._taps.whole(HookPoint(number)).layer

    def part(self, name: str) -> Part:
        """Return a place's name after checking it.

        Raises:
            InvalidValue: No such place.
        """
        for each in PARTS:
            if each == name:
                return each
        raise InvalidValue("site", name, ", ".join(PARTS))

    def spots(self, part: Part) -> tuple[Spot, ...]:
        """Return one place in every layer."""
        return tuple(Spot(layer, part) for layer in range(self.n_layers))

    def projection(self, layer: int) -> nn.Module:
        """Return the linear module that reads the heads' outputs of a layer."""
        return self._taps.projection(layer)

    def norm_after_attention(self, layer: int) -> nn.Module:
        """Return the norm between attention's projection and the stream, in sandwiched blocks.

        In other blocks it is attention itself, which is no norm.
        """
        return self._taps.module(HookPoint(layer, "attn_out"))

    def run(
        self,
        batch: Batch,
        *,
        read: Iterable[Spot] = (),
        write: Mapping[Spot, Writer] | None = None,
        last_only: bool = False,
        attentions: bool = False,
        grad: bool = False,
    ) -> Pass:
        """Return one forward pass.

        Args:
            batch: The texts, padded on the right.
            read: Places whose values are wanted.
            write: What to put at some places.
            last_only: Whether one position of logits suffices; rows must be of equal length.
            attentions: Whether attention weights are wanted; attention is then open.
            grad: Whether gradients flow.

        Raises:
            UnsupportedModel: Attention weights were asked for and the model has none to show.
        """
        options: dict[str, Any] = {"logits_to_keep": 1} if last_only and self._keeps else {}
        with ExitStack() as stack:
            stack.enter_context(torch.inference_mode(mode=False))
            stack.enter_context(torch.set_grad_enabled(grad))
            if attentions:
                stack.enter_context(Attending(self.model, OPEN)())
                options["output_attentions"] = True
            stack.enter_context(self.writing(write or {}))
            seen = stack.enter_context(self._reading(read))
            output = self.model(
                input_ids=batch.ids, attention_mask=batch.mask, use_cache=False, **options
            )
        weights = tuple(output.attentions or ()) if attentions else ()
        if attentions and (len(weights) != self.n_layers or any(each is None for each in weights)):
            raise UnsupportedModel(f"{type(self.model).__name__} shows no attention weights.")
        return Pass(output.logits[:, -1:] if last_only else output.logits, seen, weights)

    @contextmanager
    def writing(self, write: Mapping[Spot, Writer]) -> Iterator[None]:
        """Put something at some places in every pass inside the block, generation included."""
        with ExitStack() as stack:
            for spot, writer in write.items():
                stack.enter_context(self._taps.hooked(*self._place(spot), writer))
            yield

    @contextmanager
    def _reading(self, read: Iterable[Spot]) -> Iterator[dict[Spot, Tensor]]:
        seen: dict[Spot, Tensor] = {}

        def reader(spot: Spot) -> Callable[[Tensor], None]:
            def keep(values: Tensor) -> None:
                seen[spot] = values

            return keep

        with ExitStack() as stack:
            for spot in read:
                stack.enter_context(self._taps.hooked(*self._place(spot), reader(spot)))
            yield seen

    def _place(self, spot: Spot) -> tuple[nn.Module, bool]:
        """Return the module of a place, and whether its input is meant."""
        if spot.part == "heads":
            return self.projection(spot.layer), True
        if spot.part == "final_norm" and spot.layer != self.n_layers - 1:
            raise InvalidHookPoint(f"final_norm exists at layer {self.n_layers - 1} only.")
        return self._taps.module(HookPoint(spot.layer, spot.part)), spot.part == "resid_pre"

    def read_out(self, states: Float[Tensor, "... d_model"]) -> Float[Tensor, "... d_vocab"]:
        """Return the logits (float32) that the model's end makes of residual states."""
        return self.capped(self.unembedding(self.final_norm(states)).float())

    def capped(self, logits: Tensor) -> Tensor:
        """Return logits through the model's soft cap, where it has one."""
        return logits if self._cap is None else self._cap * torch.tanh(logits / self._cap)

    def require_read_out(self, last: Tensor, logits: Tensor) -> None:
        """Compare the read-out of the last layer's states with the model's own logits.

        Raises:
            UnsupportedModel: They differ: this model does more after its last block.
        """
        with torch.no_grad():
            gap = float((self.read_out(last) - logits.float()).abs().max())
        allowed = READ_OUT_TOLERANCE.get(logits.dtype, 0.25)
        if not gap <= allowed * max(1.0, float(logits.abs().max()) / 10):
            raise UnsupportedModel(
                f"{type(self.model).__name__} does more after its last block than its final norm, "
                f"unembedding and soft cap (logits differ by {gap:.2g}). Models whose parts are "
                f"known: {', '.join(NAMES)}."
            )


@dataclass(frozen=True, eq=False)
class FrozenNorm:
    """A norm at some states with its scale held: an affine map, exact at these very states."""

    gain: Float[Tensor, " d_model"]
    """What each direction is multiplied by after scaling."""
    bias: Float[Tensor, " d_model"]
    """What is added at the end."""
    scale: Float[Tensor, "..."]
    """One over the size of each state."""
    is_centred: bool
    """Whether the mean over directions is taken off first."""

    def linear(self, part: Float[Tensor, "... d_model"]) -> Float[Tensor, "... d_model"]:
        """Return what a summand of the states becomes; summands' images and the bias add up."""
        centred = part - part.mean(dim=-1, keepdim=True) if self.is_centred else part
        return centred * self.scale[..., None] * self.gain


def frozen_norm(norm: nn.Module, states: Float[Tensor, "... d_model"]) -> FrozenNorm:
    """Return a norm with the scale it has at some states, found by asking the module itself.

    Any norm of the form ``gain * (x - mean or 0) * scale(x) + bias`` is read off four calls, so
    that no architecture's way of storing a gain (one plus a weight, none at all) needs to be known.

    Raises:
        UnsupportedModel: It is not of that form.
    """
    with torch.no_grad():
        ones = torch.ones(states.shape[-1], device=states.device, dtype=states.dtype)
        turns = ones.clone()
        turns[1::2] = -1
        up, down, level = (norm(100 * each[None])[0].float() for each in (turns, -turns, ones))
        bias, gain = (up + down) / 2, (up - down) / 2 * turns.float()
        is_centred = bool((level - bias).abs().max() < 0.1 * gain.abs().max())
        normed, x = norm(states).float() - bias, states.float()
        raw = (x - x.mean(dim=-1, keepdim=True) if is_centred else x) * gain
        scale = (normed * raw).sum(-1) / (raw * raw).sum(-1).clamp_min(1e-30)
        gap = float((raw * scale[..., None] - normed).abs().max())
    if not gap <= 0.02 * max(1.0, float(normed.abs().max())):
        raise UnsupportedModel(
            f"{type(norm).__name__} is not a norm whose scale can be held: its output cannot be "
            "shared out among what enters it."
        )
    return FrozenNorm(gain, bias, scale, is_centred)

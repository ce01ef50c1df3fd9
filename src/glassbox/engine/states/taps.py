"""Reads hidden states off a model's modules while it runs.

A small table says what the blocks of each architecture are called; it is checked when a model is
loaded, by comparing one tapped forward pass with the library's own hidden states. Knows nothing of
requests or pooling.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from glassbox.engine.model.library_hooks import without_library_hooks
from glassbox.engine.states.places import point_of_hidden_state, whole_point
from glassbox.errors import UnsupportedModel
from glassbox.types import HookPoint, Site

if TYPE_CHECKING:
    # What only looks up names need not wait for the library, which takes seconds to import.
    from transformers import PreTrainedModel

SUM_TOLERANCE = 0.02
"""Largest relative difference between a block's output and the sum of what its parts add.

Float32 is a thousandfold closer; bfloat16 rounds each addition to 8 bits.
"""


@dataclass(frozen=True)
class Names:
    """What the modules of an architecture are called; outputs of parts are added to the stream."""

    blocks: str
    """The list of blocks."""
    final_norm: str
    """The norm before the output head."""
    attention: str = "self_attn"
    """In a block, the module whose output attention adds."""
    mlp: str = "mlp"
    """In a block, the module whose output the feed-forward part adds."""
    projection: str = "self_attn.o_proj"
    """In a block, the linear module that reads the heads' outputs, one head beside the other."""


_LLAMA = Names("model.layers", "model.norm")
_SANDWICHED = Names(
    "model.layers", "model.norm", "post_attention_layernorm", "post_feedforward_layernorm"
)

NAMES: dict[str, Names] = {
    "gemma": _LLAMA,
    "gemma2": _SANDWICHED,
    "gemma3_text": _SANDWICHED,
    "gpt2": Names("transformer.h", "transformer.ln_f", "attn", projection="attn.c_proj"),
    "gpt_neox": Names(
        "gpt_neox.layers", "gpt_neox.final_layer_norm", "attention", projection="attention.dense"
    ),
    "llama": _LLAMA,
    "mistral": _LLAMA,
    "olmo": _LLAMA,
    "olmo2": _SANDWICHED,
    "phi": Names("model.layers", "model.final_layernorm", projection="self_attn.dense"),
    "phi3": _LLAMA,
    "qwen2": _LLAMA,
    "qwen3": _LLAMA,
    "stablelm": _LLAMA,
    "starcoder2": _LLAMA,
}
"""Names by ``model_type``; outside the table a model writes and scores but shows no states."""


class Taps:
    """Reads hidden states off a model's modules while it runs.

    Args:
        model: The library's model.

    Raises:
        UnsupportedModel: Its architecture is not in the table, or its modules are named
            otherwise, or what the taps read is not what the library shows.
    """

    def __init__(self, model: "PreTrainedModel") -> None:
        config = model.config.get_text_config()
        names = NAMES.get(config.model_type)
        if names is None:
            raise UnsupportedModel(
                f"The layers of {type(model).__name__} are not known by name, so that its hidden "
                f"states cannot be captured. Known: {', '.join(NAMES)}."
            )
        self._names = names
        self.n_layers = int(config.num_hidden_layers)
        try:
            modules = self._found(model)
        except AttributeError as error:
            raise UnsupportedModel(
                f"{type(model).__name__} does not have the modules that its type "
                f"{config.model_type!r} should have ({error})."
            ) from error
        (self.final_norm,) = modules[0]
        self._blocks, self._attention, self._mlp, self._projections = modules[1:]
        self.parallel = False
        self._self_test(model)

    def is_of(self, model: "PreTrainedModel") -> bool:
        """Return whether these taps still sit on the very modules that a model runs."""
        try:
            found = self._found(model)
        except AttributeError:
            return False
        own = [[self.final_norm], self._blocks, self._attention, self._mlp, self._projections]
        return all(
            one is other
            for some, others in zip(own, found, strict=True)
            for one, other in zip(some, others, strict=True)
        )

    def _found(self, model: "PreTrainedModel") -> list[list[nn.Module]]:
        """Return final norm, blocks, attention, feed-forward parts and projections by name."""
        names = self._names
        all_blocks = model.get_submodule(names.blocks)
        blocks = [all_blocks.get_submodule(str(layer)) for layer in range(self.n_layers)]
        parts = [
            [block.get_submodule(name) for block in blocks]
            for name in (names.attention, names.mlp, names.projection)
        ]
        return [[model.get_submodule(names.final_norm)], blocks, *parts]

    def whole(self, point: HookPoint) -> HookPoint:
        """Return a place with its layer counted from 0.

        Raises:
            InvalidHookPoint: A layer or site that the model does not have.
        """
        return whole_point(point, self.n_layers, parallel=self.parallel)

    @contextmanager
    def tapped(self, points: Iterable[HookPoint]) -> Iterator[dict[HookPoint, Tensor]]:
        """Yield a mapping that each forward pass inside the block fills with states.

        Values are ``[batch, position, d_model]`` in the model's dtype and must not be changed.

        Args:
            points: Places with layers counted from 0.
        """
        seen: dict[HookPoint, Tensor] = {}
        handles = []
        for point in points:
            if point.site == "resid_mid":
                # The sum of two places, made when the block is done.
                parts = (HookPoint(point.layer, "resid_pre"), HookPoint(point.layer, "attn_out"))
                handles += [self._tap(part, part, seen) for part in parts]
                handles.append(self._sum(point, parts, seen))
            else:
                handles.append(self._tap(point, point, seen))
        try:
            yield seen
        finally:
            for handle in handles:
                handle.remove()

    @contextmanager
    def hooked(
        self, module: nn.Module, is_input: bool, act: Callable[[Tensor], Tensor | None]
    ) -> Iterator[None]:
        """Call ``act`` with a module's input or output in each forward pass inside the block.

        What it returns takes the place of what it got; None leaves that as it is.
        """
        handle = self._hook(module, is_input, act)
        try:
            yield
        finally:
            handle.remove()

    def _tap(self, point: HookPoint, name: HookPoint, seen: dict[HookPoint, Tensor]) -> Any:
        def keep(values: Tensor) -> None:
            seen[name] = values

        return self._hook(self.module(point), point.site == "resid_pre", keep)

    def _hook(
        self, module: nn.Module, is_input: bool, act: Callable[[Tensor], Tensor | None]
    ) -> Any:
        def before(_module: nn.Module, args: Any, kwargs: Any) -> Any:
            new = act(args[0] if args else kwargs["hidden_states"])
            if new is None:
                return None
            return ((new, *args[1:]), kwargs) if args else (args, kwargs | {"hidden_states": new})

        def after(_module: nn.Module, _args: Any, output: Any) -> Any:
            if not isinstance(output, tuple):
                return act(output)
            new = act(output[0])
            return None if new is None else (new, *output[1:])

        if is_input:
            return module.register_forward_pre_hook(before, with_kwargs=True)
        return module.register_forward_hook(after)

    def _sum(
        self, point: HookPoint, parts: tuple[HookPoint, HookPoint], seen: dict[HookPoint, Tensor]
    ) -> Any:
        def after(_module: nn.Module, _args: Any, _output: Any) -> None:
            seen[point] = seen[parts[0]] + seen[parts[1]]

        return self._blocks[point.layer].register_forward_hook(after)

    def module(self, point: HookPoint) -> nn.Module:
        """Return the module whose output is a place; for ``resid_pre``, the block it enters.

        Args:
            point: Its layer counted from 0.
        """
        if point.site == "attn_out":
            return self._attention[point.layer]
        if point.site == "mlp_out":
            return self._mlp[point.layer]
        return self.final_norm if point.site == "final_norm" else self._blocks[point.layer]

    def projection(self, layer: int) -> nn.Module:
        """Return the linear module that reads the heads' outputs of a layer counted from 0."""
        return self._projections[layer]

    def _self_test(self, model: "PreTrainedModel") -> None:
        """Compare one tapped pass with the library's hidden states.

        Raises:
            UnsupportedModel: They differ.
        """
        sites: tuple[Site, ...] = ("resid_pre", "attn_out", "mlp_out", "resid_post")
        points = [HookPoint(layer, site) for layer in range(self.n_layers) for site in sites]
        points.append(HookPoint(self.n_layers - 1, "final_norm"))
        d_vocab = int(model.config.get_text_config().vocab_size)
        tokens = torch.arange(1, 6, device=model.device).remainder(d_vocab)[None]
        with torch.inference_mode(), without_library_hooks(model), self.tapped(points) as seen:
            output = model(input_ids=tokens, use_cache=False, output_hidden_states=True)
        expected = output.hidden_states
        for index in range(self.n_layers + 1):
            point = point_of_hidden_state(index, self.n_layers)
            if point not in seen or not torch.equal(seen[point], expected[index]):
                raise UnsupportedModel(
                    f"{type(model).__name__}: what was read at {point.site} of layer "
                    f"{point.layer} is not the library's hidden state {index}. Its states would "
                    "be wrong, so nothing is served; please report the model and the installed "
                    "transformers version."
                )
        self.parallel = self._is_parallel(model, seen)

    def _is_parallel(self, model: "PreTrainedModel", seen: dict[HookPoint, Tensor]) -> bool:
        """Return whether both parts read the block's input; check what they add to the stream."""
        for layer in range(self.n_layers):
            before, attention, mlp, after = (
                seen[HookPoint(layer, site)].float()
                for site in ("resid_pre", "attn_out", "mlp_out", "resid_post")
            )
            gap = (before + attention + mlp - after).abs().max()
            if not bool(gap <= SUM_TOLERANCE * after.abs().max().clamp_min(1.0)):
                raise UnsupportedModel(
                    f"{type(model).__name__}: what attention and feed-forward part of layer "
                    f"{layer} add is not the difference between its output and its input."
                )
        config = model.config.get_text_config()
        return config.model_type == "phi" or bool(
            getattr(config, "use_parallel_residual", config.model_type == "gpt_neox")
        )

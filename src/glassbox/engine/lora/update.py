"""Adds the adapters' low-rank updates to the model's linear layers for one forward pass.

Hooks stand on the layers that are updated while a pass runs, and only then; the modules are the
library's own and stay as they are. Knows layers, weights and which tokens belong to whom; knows
nothing of names, memory budgets or requests.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from glassbox.engine.lora.plan import Rows, Share, arrange, classes_of, shares_of
from glassbox.engine.lora.tables import Tables
from glassbox.engine.lora.weights import AdapterWeights
from glassbox.errors import UnsupportedModel

Add = Callable[[str, Float[Tensor, "n_tokens n_in"], Float[Tensor, "n_tokens n_out"]], None]
"""Adds an update of the layer of that name to its output, in place."""


@dataclass(frozen=True, eq=False)
class Update:
    """What is to be added during a forward pass."""

    by_length: Mapping[int, Sequence[Add]]
    """What to add where a layer sees so many tokens; -1 stands for any number."""
    layers: frozenset[str]
    """Names of the layers concerned."""


def update_of_one(adapter: AdapterWeights) -> Update:
    """Return the update of every token by one adapter, whatever the batch looks like."""
    return Update({-1: [_OneAdapter(adapter, None)]}, frozenset(adapter.layers))


def update_of_rows(
    rows: Rows,
    reads: Int[np.ndarray, " n_reads"] | None,
    adapters: Mapping[int, AdapterWeights],
    tables: Tables,
) -> Update:
    """Return the update of a flat batch in which each row has an adapter or none.

    Args:
        rows: The rows in order.
        reads: Places to which layers near the output are cut down; None where they are not.
        adapters: Weights by slot, of all slots in the rows but the base's.
        tables: Get what the groups need.
    """
    whole = classes_of(shares_of(rows))
    slots = sorted({share.slot for group in whole if len(group) > 1 for share in group})
    if reads is not None:
        parts = classes_of(shares_of(rows, reads))
        slots = sorted({*slots, *(s.slot for group in parts if len(group) > 1 for s in group)})
    else:
        parts = ()
    places = tables.place([adapters[slot] for slot in slots]) if slots else []
    positions = dict(zip(slots, places, strict=True))
    n_tokens = sum(n for _, n in rows)
    by_length = {n_tokens: _adders(whole, n_tokens, positions, adapters, tables)}
    if reads is not None and len(reads) != n_tokens:
        by_length[len(reads)] = _adders(parts, len(reads), positions, adapters, tables)
    used = {share.slot for group in whole for share in group}
    layers = {name for slot in used for name in adapters[slot].layers}
    return Update(by_length, frozenset(layers))


@contextmanager
def updating(modules: Mapping[str, nn.Module], update: Update) -> Iterator[None]:
    """Let a model's layers add an update to what they answer, for a while.

    Args:
        modules: The model's linear layers by name.
        update: What to add.
    """
    handles = [
        modules[name].register_forward_hook(_hook(name, update)) for name in sorted(update.layers)
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _hook(name: str, update: Update) -> Callable[[nn.Module, tuple[Any, ...], Tensor], Tensor]:
    def add(_module: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor:
        x = args[0]
        flat = x.reshape(-1, x.shape[-1]) if x.dim() != 2 else x
        adders = update.by_length.get(len(flat), update.by_length.get(-1))
        if adders is None:
            raise UnsupportedModel(
                f"Layer {name!r} sees {len(flat)} of {max(update.by_length)} tokens, so it is not "
                "known which adapter is whose. Ask for one adapter at a time on this model."
            )
        output = output.contiguous()
        for adder in adders:
            adder(name, flat, output.view(-1, output.shape[-1]))
        return output

    return add


def _adders(
    groups: Sequence[Sequence[Share]],
    n_tokens: int,
    positions: Mapping[int, int],
    adapters: Mapping[int, AdapterWeights],
    tables: Tables,
) -> list[Add]:
    adders: list[Add] = []
    for group in groups:
        members = [adapters[share.slot] for share in group]
        if len(group) == 1:
            tokens = None if len(group[0].tokens) == n_tokens else group[0]
            adders.append(_OneAdapter(members[0], tokens))
        else:
            adders.append(_ManyAdapters(group, members, n_tokens, positions, tables))
    return adders


class _OneAdapter:
    """The update of one adapter's tokens: two plain matrix products."""

    def __init__(self, adapter: AdapterWeights, share: Share | None) -> None:
        self._layers = adapter.layers
        self._run: slice | None = None
        self._tokens: Tensor | None = None
        if share is not None and share.is_run:
            self._run = slice(int(share.tokens[0]), int(share.tokens[-1]) + 1)
        elif share is not None:
            device = next(iter(adapter.layers.values())).a.device
            self._tokens = torch.from_numpy(share.tokens).to(device)

    def __call__(self, name: str, x: Tensor, output: Tensor) -> None:
        update = self._layers.get(name)
        if update is None:
            return
        if self._tokens is not None:
            hidden = x.index_select(0, self._tokens).to(update.a.dtype) @ update.a.t()
            output.index_add_(0, self._tokens, (hidden @ update.b).to(output.dtype))
            return
        if self._run is not None:
            x, output = x[self._run], output[self._run]
        hidden = x.to(update.a.dtype) @ update.a.t()
        if output.dtype == hidden.dtype:
            output.addmm_(hidden, update.b)
        else:
            output += hidden @ update.b


class _ManyAdapters:
    """The update of several adapters' tokens: two batched matrix products over the tables."""

    def __init__(
        self,
        group: Sequence[Share],
        members: Sequence[AdapterWeights],
        n_tokens: int,
        positions: Mapping[int, int],
        tables: Tables,
    ) -> None:
        self._tables = tables
        self._ranks: dict[str, int] = {}
        for member in members:
            for name, update in member.layers.items():
                self._ranks[name] = max(update.rank, self._ranks.get(name, 0))
        device = next(iter(members[0].layers.values())).a.device
        form = arrange(group, positions)
        self._range = slice(form.first, form.stop)
        self._chosen = _on(form.chosen, device)
        self._width = form.width
        # Rows in the order of the tables need neither sorting nor scattering.
        in_order = np.array_equal(form.tokens, np.arange(n_tokens))
        self._tokens = None if in_order else _on(form.tokens, device)
        self._real = _on(form.real, device)
        self._targets = self._tokens
        if self._tokens is not None and self._real is not None:
            self._targets = self._tokens[self._real]

    def __call__(self, name: str, x: Tensor, output: Tensor) -> None:
        rank = self._ranks.get(name)
        if rank is None:
            return
        a, b = (
            side[self._range, :rank] if self._chosen is None else side[self._chosen, :rank]
            for side in self._tables.layer(name)
        )
        chosen = x if self._tokens is None else x.index_select(0, self._tokens)
        chosen = chosen.to(a.dtype).view(-1, self._width, x.shape[-1])
        hidden = torch.bmm(chosen, a.transpose(1, 2))
        if self._targets is None and output.dtype == b.dtype:
            output.view(-1, self._width, output.shape[-1]).baddbmm_(hidden, b)
            return
        added = torch.bmm(hidden, b).view(-1, output.shape[-1]).to(output.dtype)
        if self._targets is None:
            output += added
            return
        if self._real is not None:
            added = added.index_select(0, self._real)
        output.index_add_(0, self._targets, added)


def _on(array: np.ndarray | None, device: torch.device) -> Tensor | None:
    return None if array is None else torch.from_numpy(array).to(device)

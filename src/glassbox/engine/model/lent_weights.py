"""Whether weights are what they were before they were lent, and how they become so again.

Every tensor gets its own memory back, however it was moved or converted. Version counters tell of
changes made through torch, ``torch.no_grad`` and ``detach`` included. Memory that was handed out,
to be written to through ``data``, NumPy or DLPack, is named by who watches that (``handed_out``).
For other ways a few tensors are compared by samples after each call, all of them before the model
is given back, small models value by value then; in a large model such a write that no sample meets
is not found. Knows tensors; knows nothing of modules.
"""

from collections.abc import Set
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from glassbox.engine.model.handed_out import storage_of
from glassbox.errors import ConflictError
from glassbox.wording import counted

COPY_BYTES = 2**30
"""Weights up to this size are copied when they are first lent, so that changed ones can be put
back; of larger ones a checksum is kept."""

COMPARED_BYTES = 2**25
"""Weights up to this size are compared value by value at the end of a lease, larger ones by
samples: it must not keep the next guest waiting."""

N_SAMPLED = 1024
"""Values of each tensor that are compared, evenly spaced."""

N_LOOKED_AT = 2
"""Tensors whose samples are compared after each call, one after another in turn."""

_CHUNK = 2**24
"""Values summed at a time."""

_BITS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64, 16: torch.complex128}


@dataclass(eq=False)
class _Weight:
    name: str
    tensor: Tensor
    values: Tensor
    """The same memory in its own form: a guest may have given the tensor another."""
    storage: int
    """Which memory that is, as of ``storage_of``."""
    sampled: Tensor
    """View of some of its values as bits."""
    sample: Tensor
    copy: Tensor | None
    checksum: tuple[int, int] | None


class WeightRecord:
    """What all parameters and buffers of a model were like.

    Args:
        model: In the state that is to be kept.
    """

    def __init__(self, model: nn.Module) -> None:
        named = [*model.named_parameters(), *model.named_buffers()]
        self._tensors = [tensor for _, tensor in named]
        n_bytes = sum(tensor.nbytes for tensor in self._tensors)
        self._is_copied = n_bytes <= COPY_BYTES
        self._is_small = n_bytes <= COMPARED_BYTES
        self._weights = [self._weight(name, tensor) for name, tensor in named]
        self._forms = _forms(self._tensors)
        self._needed = [tensor.requires_grad for tensor in self._tensors]
        self._versions = [tensor._version for tensor in self._tensors]
        self._looks = _looks(self._tensors)
        self._next = 0

    def restore(
        self, written: Set[int] = frozenset(), *, thoroughly: bool = False
    ) -> tuple[str, ...]:
        """Put everything back and return what was, in words.

        Args:
            written: Memory that may have been written to and does not tell, as of ``storage_of``.
            thoroughly: Look for changes that moved no counter in every tensor.

        Raises:
            ConflictError: Values were changed that cannot be put back: the model must not answer
                any more.
        """
        notes: list[str] = []
        suspects: list[_Weight] = []
        is_touched = _looks(self._tensors) != self._looks
        if is_touched:
            notes = [*self._gradients(), *self._put_in_form()]
        if is_touched or written:
            versions = [tensor._version for tensor in self._tensors]
            suspects = [
                weight
                for weight, now, before in zip(self._weights, versions, self._versions, strict=True)
                if now != before or weight.storage in written
            ]
        changed = [weight for weight in suspects if not _is_unchanged(weight)]
        rest = self._weights if thoroughly else self._in_turn()
        moved = {id(weight) for weight in suspects}
        for weight in rest:
            if id(weight) not in moved and not self._looks_unchanged(weight, thoroughly):
                changed.append(weight)
        if changed:
            notes.append(_put_back(changed))
        if is_touched or changed:
            self._versions = [tensor._version for tensor in self._tensors]
            self._looks = _looks(self._tensors)
        return tuple(notes)

    def _weight(self, name: str, tensor: Tensor) -> _Weight:
        values = tensor.detach()
        sampled = _sampled(values)
        return _Weight(
            name=name,
            tensor=tensor,
            values=values,
            storage=storage_of(values),
            sampled=sampled,
            sample=sampled.clone(),
            copy=values.clone() if self._is_copied else None,
            checksum=None if self._is_copied else _checksum(values),
        )

    def _gradients(self) -> list[str]:
        notes = []
        if not all(tensor.is_leaf for tensor in self._tensors):
            # A guest made them part of a graph, whose inner gradients nobody may ask for.
            for tensor in self._tensors:
                if not tensor.is_leaf:
                    tensor.detach_()
        graded = [tensor for tensor in self._tensors if tensor.grad is not None]
        if graded:
            for tensor in graded:
                tensor.grad = None
            notes.append(f"gradients of {counted(len(graded), 'weight')} dropped")
        needed = [tensor.requires_grad for tensor in self._tensors]
        if needed != self._needed:
            changed = [
                (tensor, before)
                for tensor, now, before in zip(self._tensors, needed, self._needed, strict=True)
                if now != before
            ]
            for tensor, before in changed:
                tensor.requires_grad_(before)
            notes.append(f"requires_grad of {counted(len(changed), 'weight')} put back")
        return notes

    def _put_in_form(self) -> list[str]:
        forms = _forms(self._tensors)
        if forms == self._forms:
            return []
        changed = [
            weight
            for weight, now, before in zip(self._weights, forms, self._forms, strict=True)
            if now != before
        ]
        for weight in changed:
            weight.tensor.data = weight.values
        return [f"memory or number format of {counted(len(changed), 'weight')} put back"]

    def _in_turn(self) -> list[_Weight]:
        first = self._next
        self._next = (first + N_LOOKED_AT) % max(1, len(self._weights))
        return self._weights[first : first + N_LOOKED_AT]

    def _looks_unchanged(self, weight: _Weight, thoroughly: bool) -> bool:
        if thoroughly and self._is_small and weight.copy is not None:
            return torch.equal(_bits(weight.values), _bits(weight.copy))
        return torch.equal(weight.sampled, weight.sample)


def _put_back(changed: list[_Weight]) -> str:
    lost = [weight.name for weight in changed if weight.copy is None]
    if lost:
        raise ConflictError(
            f"The model was lent and came back with {counted(len(lost), 'changed weight')}, such "
            f"as {lost[0]!r}; there is no copy to put back. Load the model again."
        )
    with torch.no_grad():
        for weight in changed:
            assert weight.copy is not None
            weight.values.copy_(weight.copy)
    such = "such as " if len(changed) > 1 else ""
    return f"values of {counted(len(changed), 'changed weight')} put back ({such}{changed[0].name})"


def _is_unchanged(weight: _Weight) -> bool:
    """Return whether all values are what they were; a counter may move without a change."""
    if weight.copy is not None:
        return torch.equal(_bits(weight.values), _bits(weight.copy))
    return _checksum(weight.values) == weight.checksum


def _forms(tensors: list[Tensor]) -> list[tuple[Any, ...]]:
    """Return where tensors' values are and how they are read."""
    return [(t.data_ptr(), t.dtype, t.shape, t.stride()) for t in tensors]


def _looks(tensors: list[Tensor]) -> list[tuple[Any, ...]]:
    """Return all that can be seen of tensors without looking at their values.

    Taken in one go, because what a pass has left of them in the processor's caches is little. The
    strides of contiguous ones follow from their shapes.
    """
    return [
        (
            t._version, t.requires_grad, t.is_leaf and t.grad is None,
            t.data_ptr(), t.dtype, t.shape, t.is_contiguous() or t.stride(),
        )
        for t in tensors
    ]  # fmt: skip


def _bits(tensor: Tensor) -> Tensor:
    """Return values as integers of the same width, so that NaN equals itself and -0 is not 0."""
    return tensor if tensor.dtype == torch.bool else tensor.view(_BITS[tensor.dtype.itemsize])


def _sampled(tensor: Tensor) -> Tensor:
    """Return a view of some values, evenly spaced; of some rows where rows are far apart."""
    bits = _bits(tensor)
    if bits.is_contiguous():
        flat = bits.view(-1)
        return flat[:: max(1, flat.numel() // N_SAMPLED)]
    return bits[:1]


def _checksum(tensor: Tensor) -> tuple[int, int]:
    """Return two sums over a tensor's bits, the second weighted by position.

    Source: Fletcher, J. G. (1982), An Arithmetic Checksum for Serial Transmissions; here over
    words in two's complement that wrap around.
    """
    flat = _bits(tensor).reshape(-1)
    plain = weighted = 0
    for first in range(0, flat.numel(), _CHUNK):
        words = flat[first : first + _CHUNK].to(torch.int64)
        places = torch.arange(first + 1, first + 1 + len(words), device=words.device)
        plain += int(words.sum())
        weighted += int((words * places).sum())
    return plain, weighted

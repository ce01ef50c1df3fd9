"""A device of its own kind on a machine that has none: what an accelerator minds is minded here.

Values are kept by the processor, but its tensors say that they are elsewhere. As on an accelerator,
an operation that mixes them with the processor's tensors raises, ``numpy`` refuses them, and a
generator of the processor draws nothing there. As on Apple's, there is no float64, and lists of
tensors have no operations of their own. Modules, autograd and hooks are torch's own.

Torch takes such a device once and for good in a process: import this where nothing else is tested.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.utils._foreach_utils as foreach
import torch.utils.backend_registration as registration
from torch import Tensor
from torch.utils._mode_utils import no_dispatch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

from glassbox.engine.model import devices

NAME = "apart"
"""Torch's name of the device."""

WIDE = (torch.float64, torch.complex128)
"""Number formats that the device does not have."""

_COPYING = {"aten::copy_", "aten::_to_copy"}
_INDEXING = {
    "aten::index", "aten::index_put", "aten::index_put_", "aten::_index_put_impl_",
    "aten::_unsafe_index", "aten::_unsafe_index_put",
}  # fmt: skip
"""Take indices from the processor, if the tensor itself is on the device."""

_generators: dict[int, torch.Generator] = {}
"""The device's generators; kept, for the number of one that is gone may come again."""

seen: set[str] = set()
"""Operations that have run on the device, by their full names."""


class Apart(Tensor):
    """A tensor on the device."""

    held: Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, held: Tensor) -> "Apart":
        if held.dtype in WIDE:
            raise TypeError(f"Cannot make a tensor of {held.dtype} on device {NAME!r}.")
        made = Tensor._make_wrapper_subclass(
            cls, held.shape, strides=held.stride(), storage_offset=held.storage_offset(),
            dtype=held.dtype, device=torch.device(NAME, 0),
        )  # fmt: skip
        made.held = held
        return made

    def tolist(self) -> Any:
        return self.held.tolist()

    def data_ptr(self) -> int:
        return self.held.data_ptr()

    def __repr__(self) -> str:
        return f"Apart({self.held!r})"

    @classmethod
    def __torch_dispatch__(cls, func: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


class _Made(TorchDispatchMode):
    """Makes tensors on the device where a call asks for it."""

    def __enter__(self) -> "_Made":
        # Or ``torch.tensor`` would make them past this mode.
        self._before = torch._C._only_lift_cpu_tensors()
        torch._C._set_only_lift_cpu_tensors(True)
        super().__enter__()
        return self

    def __exit__(self, *raised: Any) -> None:
        torch._C._set_only_lift_cpu_tensors(self._before)
        super().__exit__(*raised)

    def __torch_dispatch__(self, func: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


def _run(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """Return what an operation gives, on the device where its tensors or its call are."""
    with _Made():
        # Without gradients, operations made of others come here whole.
        parts = func.decompose(*args, **kwargs)
    if parts is not NotImplemented:
        return parts
    flat, _ = tree_flatten((args, kwargs))
    apart = [each for each in flat if isinstance(each, Apart)]
    device = kwargs.get("device")
    is_here = bool(apart) if device is None else torch.device(device).type == NAME
    name = func._schema.name
    if apart and name not in _COPYING:
        _require_one_device(name, args, flat)
    if not (is_here or apart):
        return func(*args, **kwargs)
    seen.add(str(func))
    if device is not None and is_here:
        kwargs = {**kwargs, "device": torch.device("cpu")}
    if is_here:
        _require_own_generator(kwargs.get("generator"))
    known = {id(each.held): each for each in apart}
    # Views taken without gradients of tensors made with them are such tensors, too.
    with torch.inference_mode(mode=False), torch.no_grad():
        result = func(*tree_map(_held, args), **tree_map(_held, kwargs))
        if torch.Tag.inplace_view in func.tags:
            # The tensor itself gets its new shape, too.
            with no_dispatch():
                func(*args, **kwargs)
        return tree_map(lambda each: _wrapped(each, known, is_here=is_here), result)


def _held(value: Any) -> Any:
    return value.held if isinstance(value, Apart) else value


def _wrapped(value: Any, known: dict[int, Apart], *, is_here: bool) -> Any:
    if not isinstance(value, Tensor):
        return value
    if id(value) in known:
        return known[id(value)]
    return Apart(value) if is_here else value


def _require_one_device(name: str, args: Any, flat: list[Any]) -> None:
    """Raise as an accelerator does where tensors of both devices meet; numbers may come along."""
    if name in _INDEXING and isinstance(args[0], Apart):
        # Values have to be there, only the indices need not.
        flat = [args[0], *(each for each in args[2:3] if isinstance(each, Tensor))]
    others = [
        each
        for each in flat
        if isinstance(each, Tensor) and not isinstance(each, Apart) and each.dim()
    ]
    if others:
        raise RuntimeError(
            f"Expected all tensors to be on the same device, but {name} got {NAME}:0 and "
            f"{others[0].device} {tuple(others[0].shape)}."
        )


def _require_own_generator(generator: torch.Generator | None) -> None:
    if generator is not None and generator._cdata not in _generators:
        raise RuntimeError(f"Expected a {NAME!r} device type for generator but found 'cpu'")


class Generator(torch.Generator):
    """A generator that may be the device's."""

    def __new__(cls, device: Any = "cpu") -> "Generator":
        is_apart = torch.device(device).type == NAME
        made = super().__new__(cls, device="cpu" if is_apart else device)
        if is_apart:
            _generators[made._cdata] = made
        return made


def install() -> None:
    """Make the device known to torch, for good."""
    registration._setup_privateuseone_for_python_backend(NAME)
    devices.WITHOUT_FLOAT64.add(NAME)
    foreach._get_foreach_kernels_supported_devices = lambda: ["cuda"]


@contextmanager
def present() -> Iterator[None]:
    """Let tensors be made on the device, on threads that start inside the block too."""
    bootstrap: Callable[..., None] = threading.Thread._bootstrap_inner
    generator = torch.Generator

    def begin(thread: threading.Thread) -> None:
        with _Made():
            bootstrap(thread)

    threading.Thread._bootstrap_inner = begin
    torch.Generator = Generator
    try:
        with _Made():
            yield
    finally:
        threading.Thread._bootstrap_inner = bootstrap
        torch.Generator = generator

"""What a process was like before the model was lent: random state, and settings of torch and NumPy.

Restored on the thread that borrowed, because whether gradients are kept is a matter of each thread.
Knows torch, NumPy and Python; knows no model.
"""

import _random
import ctypes
import random
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

_WORDS_BYTES = 625 * 4
"""A position and 624 words: the state of a Mersenne twister."""

_HAS_WORDS = (
    sys.implementation.name == "cpython"
    and 0 <= _random.Random.__basicsize__ - object.__basicsize__ - _WORDS_BYTES < 8
)
"""Whether Python's generator holds nothing but these."""


_SHORT = 40
"""Most characters of two values that are told."""


class SurroundingsRecord:
    """What Python, NumPy and torch were set to."""

    def __init__(self) -> None:
        self._settings = _settings()
        self._python_words = _python_words()
        self._python = random.getstate()
        self._numpy_words = _numpy_words()
        self._numpy = np.random.get_state()  # noqa: NPY002  the state that guests share
        self._torch = torch.get_rng_state()
        self._devices = _device_states()

    def holds(self) -> bool:
        """Whether everything is as it was."""
        return not self._random_moved() and _settings() == self._settings

    def restore(self) -> tuple[str, ...]:
        """Put everything back and return what was, in words."""
        return tuple([*self._random_restored(), *self._settings_restored()])

    def _random_restored(self) -> Iterator[str]:
        moved = self._random_moved()
        for name in moved:
            if name == "Python's":
                random.setstate(self._python)
            elif name == "NumPy's":
                np.random.set_state(self._numpy)  # noqa: NPY002  the state that guests share
            elif name == "torch's":
                torch.set_rng_state(self._torch)
            else:
                _set_device_states(name, self._devices[name])
        if moved:
            yield f"random state put back ({', '.join(moved)})"

    def _random_moved(self) -> list[str]:
        """Return whose random state is another than it was."""
        moved = []
        if (
            self._python_words is None or _python_words() != self._python_words
        ) and random.getstate() != self._python:
            moved.append("Python's")
        if self._numpy_words is None or _numpy_words() != self._numpy_words:
            numpy = np.random.get_state()  # noqa: NPY002  the state that guests share
            if not _equal_numpy(numpy, self._numpy):
                moved.append("NumPy's")
        if not torch.equal(torch.get_rng_state(), self._torch):
            moved.append("torch's")
        devices = _device_states()
        for name, before in self._devices.items():
            if not all(map(torch.equal, devices[name], before)):
                moved.append(name)
        return moved

    def _settings_restored(self) -> Iterator[str]:
        now = _settings()
        if now == self._settings:
            return
        for (name, _, put), was, before in zip(_SETTINGS, now, self._settings, strict=True):
            if was != before:
                put(before)
                is_short = len(f"{was}{before}") <= _SHORT
                yield f"{name} put back" + (f" ({was} to {before})" if is_short else "")


_SETTINGS: tuple[tuple[str, Callable[[], Any], Callable[[Any], object]], ...] = (
    ("torch's default dtype", torch.get_default_dtype, torch.set_default_dtype),
    ("torch's default device", torch.get_default_device, torch.set_default_device),
    ("torch's gradients", torch.is_grad_enabled, torch.set_grad_enabled),
    ("torch's threads", torch.get_num_threads, torch.set_num_threads),
    (
        "torch's deterministic algorithms",
        torch.are_deterministic_algorithms_enabled,
        torch.use_deterministic_algorithms,
    ),
    (
        "torch's matmul precision",
        torch.get_float32_matmul_precision,
        torch.set_float32_matmul_precision,
    ),
    ("torch's anomaly detection", torch.is_anomaly_enabled, torch.autograd.set_detect_anomaly),
    ("NumPy's handling of errors", np.geterr, lambda before: np.seterr(**before)),
)
"""What is set, how it is asked for, and how it is set. Working folder, warnings and the log are
left alone: threads that have nothing to do with the model set those while it is lent."""


def _settings() -> list[Any]:
    return [ask() for _, ask, _ in _SETTINGS]


def _device_states() -> dict[str, list[Tensor]]:
    """Return the random states of the accelerators in use, by whose they are."""
    states = {}
    if torch.cuda.is_initialized():
        states["CUDA's"] = torch.cuda.get_rng_state_all()
    if torch.backends.mps.is_available():
        states["MPS's"] = [torch.mps.get_rng_state()]
    return states


def _set_device_states(name: str, states: list[Tensor]) -> None:
    if name == "CUDA's":
        torch.cuda.set_rng_state_all(states)
    else:
        torch.mps.set_rng_state(states[0])


def _python_words() -> tuple[bytes, Any] | None:
    """Return the generator's own memory, which is far faster than its state; None if unknown.

    Source: CPython, ``RandomObject``: after the object's head a position and 624 words of 32 bits.
    """
    generator: Any = getattr(random.getstate, "__self__", None)
    if type(generator) is not random.Random or not _HAS_WORDS:
        return None
    words = ctypes.string_at(id(generator) + object.__basicsize__, _WORDS_BYTES)
    return words, vars(generator).get("gauss_next")


def _numpy_words() -> bytes | None:
    """Return the generator's own memory; None if unknown.

    Source: NumPy, ``mt19937_state``: 624 words of 32 bits and a position.
    """
    generator: Any = vars(np.random)["get_bit_generator"]()
    if type(generator) is not np.random.MT19937:
        return None
    return ctypes.string_at(generator.ctypes.state_address, _WORDS_BYTES)


def _equal_numpy(now: Any, before: Any) -> bool:
    return now[2:] == before[2:] and np.array_equal(now[1], before[1])

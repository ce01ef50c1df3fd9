"""Says what a value is, in words, when it cannot travel: models, tokenizers, sockets, locks, ….

Looks at the names of classes only, so that it needs none of the libraries they come from.
"""

import io
import types
from collections.abc import Iterator
from typing import Any

_BY_CLASS = {
    ("torch.nn.modules.module", "Module"): "a model or one of its modules",
    ("transformers.tokenization_utils_base", "PreTrainedTokenizerBase"): "a tokenizer",
    ("tokenizers", "Tokenizer"): "a tokenizer",
    ("transformers.processing_utils", "ProcessorMixin"): "a processor",
    ("torch.optim.optimizer", "Optimizer"): "an optimizer",
    ("torch.utils.hooks", "RemovableHandle"): "the handle of a hook",
    ("torch._C", "Generator"): "a random generator of torch",
    ("torch.cuda.streams", "Stream"): "a CUDA stream",
    ("socket", "socket"): "a socket",
    ("_socket", "socket"): "a socket",
    ("ssl", "SSLContext"): "a TLS context",
    ("sqlite3", "Connection"): "a database connection",
    ("httpx", "Client"): "an HTTP client",
    ("httpx", "AsyncClient"): "an HTTP client",
    ("requests.sessions", "Session"): "an HTTP session",
    ("threading", "Thread"): "a thread",
    ("threading", "Condition"): "a lock",
    ("threading", "Event"): "a lock",
    ("threading", "Semaphore"): "a lock",
    ("_thread", "lock"): "a lock",
    ("_thread", "RLock"): "a lock",
    ("_thread", "_local"): "the local data of a thread",
    ("concurrent.futures._base", "Future"): "a future",
    ("concurrent.futures._base", "Executor"): "a pool of workers",
    ("subprocess", "Popen"): "a running process",
    ("multiprocessing.process", "BaseProcess"): "a running process",
    ("_asyncio", "Task"): "a task",
    ("_asyncio", "Future"): "a future",
}

_TABLES = {
    ("pandas", "DataFrame"): ("a DataFrame", "Let .to_dict('list') travel: its columns as lists."),
    ("pandas", "Series"): ("a Series", "Let .to_list() or .to_numpy() travel."),
    ("pandas", "Index"): ("an index of pandas", "Let .to_list() or .to_numpy() travel."),
    ("polars", "DataFrame"): ("a DataFrame", "Let .to_dict(as_series=False) travel."),
    ("polars", "LazyFrame"): ("a LazyFrame", "Let .collect().to_dict(as_series=False) travel."),
    ("polars", "Series"): ("a Series", "Let .to_list() or .to_numpy() travel."),
    ("pyarrow", "Table"): ("a table of pyarrow", "Let .to_pydict() travel."),
    ("pyarrow", "ChunkedArray"): ("a column of pyarrow", "Let .to_pylist() travel."),
    ("pyarrow", "Array"): ("a column of pyarrow", "Let .to_pylist() travel."),
}
"""What tables are called and what of them travels, by package and class."""

_BY_TYPE: tuple[tuple[type | tuple[type, ...], str], ...] = (
    (io.IOBase, "an open file"),
    (types.GeneratorType, "a generator"),
    (types.AsyncGeneratorType, "a generator"),
    (types.CoroutineType, "a coroutine"),
    (types.FrameType, "a frame"),
    (types.TracebackType, "a traceback"),
)

_CODE: tuple[tuple[type | tuple[type, ...], str], ...] = (
    ((types.FunctionType, types.BuiltinFunctionType), "a function"),
    (types.MethodType, "a method"),
    (types.ModuleType, "a module"),
    (type, "a class"),
    (types.CodeType, "code"),
)

_ADVICE = {
    "a generator": "Make a list of what it yields.",
    "a function": "Call it there and let its result travel.",
    "a method": "Call it there and let its result travel.",
    "a model or one of its modules": (
        "Let numbers of it travel; of a module of your own its .state_dict(), loaded into a new "
        "one on the other side."
    ),
    "the handle of a hook": "Hooks are removed after a technique anyway.",
    "a coroutine": "Await it first.",
    "an iterator": "Make a list of what it yields.",
}


def live(value: Any) -> str | None:
    """Return what a value is ("a socket") when it is bound to this process; None for data."""
    kind = type(value)
    for base in kind.__mro__:
        words = _BY_CLASS.get((base.__module__, base.__name__))
        if words is not None:
            return words
        if base.__module__.startswith("glassbox.") and base.__name__.endswith("Client"):
            return "a client"
    return next((words for types_, words in _BY_TYPE if isinstance(value, types_)), None)


def described(value: Any) -> str:
    """Return what a value is, for the sentence that says that it does not travel."""
    words = live(value)
    if words is not None:
        return words
    if (table := _table(value)) is not None:
        return table[0]
    for types_, phrase in _CODE:
        if isinstance(value, types_):
            return phrase
    if isinstance(value, Iterator):
        return "an iterator"
    return f"of type {type(value).__module__}.{type(value).__qualname__}"


def advice(value: object) -> str:
    """Return what to do about it, empty where there is nothing particular to say."""
    table = _table(value)
    return _ADVICE.get(described(value), "") if table is None else table[1]


def is_frame(value: object) -> bool:
    """Return whether a value is a table that gives its columns, not its rows, one by one."""
    table = _table(value)
    return table is not None and table[0].endswith("Frame")


def _table(value: object) -> tuple[str, str] | None:
    for base in type(value).__mro__:
        found = _TABLES.get((base.__module__.partition(".")[0], base.__name__))
        if found is not None:
            return found
    return None


def is_model_cache(kind: type) -> bool:
    """Return whether a class is one of transformers' key and value caches."""
    return any(
        base.__module__.startswith("transformers.") and base.__name__.endswith("Cache")
        for base in kind.__mro__
    )


def is_model_output(kind: type) -> bool:
    """Return whether a class is a model's output as transformers has them."""
    return any(
        base.__module__.startswith("transformers.") and base.__name__ == "ModelOutput"
        for base in kind.__mro__
    )


def is_encoding(kind: type) -> bool:
    """Return whether a class is what a tokenizer or a processor of transformers answers with."""
    names = ("BatchEncoding", "BatchFeature")
    return kind.__module__.startswith("transformers.") and kind.__name__ in names

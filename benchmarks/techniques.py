"""What it costs to run a function beside the resident model, against doing it by hand.

``overhead``  a warm call of an empty function: in this process, through the local worker, over
              HTTP; beside it nnsight's empty trace, its capture of three layers and the bare pass.
``capture``   three layers of one sentence, and of a batch of 32: forward hooks set by hand on
              modules of their own that share the model's weights, in the calling thread and in
              one of their own, against the same hooks in a technique, in turn.
``map``       one map of 100 inputs against 100 runs of the same, over HTTP: with one thread, and
              with all of the machine's, as a server has by default.
``result``    a tensor of 100 MB over loopback.
``fairness``  four clients that call a function of 5 ms as fast as they can: the least and the most
              served.

Run: ``python -m benchmarks.techniques [--nnsight-python PATH] [--json FILE]``
"""

import argparse
import contextlib
import gc
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.apparatus.machine import as_json, describe_machine
from benchmarks.apparatus.starting import wait_for
from glassbox import InterpClient
from glassbox.engine.model.finding import find_model
from glassbox.engine.model.load import LoadedModel, load_model, quiet_library
from glassbox.engine.protocol import Engine
from glassbox.engine.resident import load_engine
from glassbox.techniques.local.backend import LocalBackend
from glassbox.techniques.running.open_desk import desk_of
from glassbox.techniques.technique import technique
from glassbox.techniques.worker_spec import WorkerSpec

TEXT = "The film was wonderful, the actors were brilliant and I would see it again."
LAYERS = (2, 4, 6)
THREADS = 1
"""For every process alike, but for the second ``map``: what waits for each other's threads measures
the waiting."""
SPEC = WorkerSpec(
    model="tiny", app_name="benchmark", dtype="float32", device="cpu", threads=THREADS
)
BARS_MS = {"in-process": 1.0, "local": 3.0, "http": 8.0}
"""Most that a warm call of an empty function may take at the median."""
MAP_BAR = 10.0
RATE_BAR = 300.0
N_CLIENTS = 4


def empty(model: Any, tokenizer: Any) -> None:
    """Do nothing."""


def capture(model: Any, tokenizer: Any, texts: list[str], layers: tuple[int, ...]) -> Any:
    """Return the outputs of some layers, by forward hooks."""
    import torch

    found: dict[int, Any] = {}
    hooks = []
    for layer in layers:

        def keep(_module: Any, _given: Any, out: Any, layer: int = layer) -> None:
            found[layer] = out[0] if isinstance(out, tuple) else out

        hooks.append(model.get_submodule(f"model.layers.{layer}").register_forward_hook(keep))
    with torch.inference_mode():
        model(**tokenizer(texts, return_tensors="pt", padding=True))
    for hook in hooks:
        hook.remove()
    return found


@technique(batch="texts")
def last_logit(model: Any, tokenizer: Any, texts: list[str]) -> list[float]:
    """Return the largest next-token logit after each text."""
    import torch

    given = tokenizer(texts, return_tensors="pt", padding=True)
    last = given["attention_mask"].sum(dim=1) - 1
    with torch.inference_mode():
        logits = model(**given).logits
    return [float(logits[row, at].max()) for row, at in enumerate(last.tolist())]


def large(_model: Any, _tokenizer: Any, n_bytes: int) -> Any:
    """Return a tensor of so many bytes."""
    import torch

    return torch.ones(n_bytes // 4)


def busy(_model: Any, _tokenizer: Any, seconds: float) -> None:
    """Compute for some time."""
    import time

    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        pass


@dataclass(frozen=True)
class Paired:
    """Two ways of doing the same, in turn."""

    by_hand_ms: float
    """Median of the first."""
    technique_ms: float
    """Median of the second."""
    difference_ms: float
    """Mean of the second less the first, pair by pair."""
    low_ms: float
    """Lower end of its 95 % interval."""
    high_ms: float
    """Upper end."""
    n: int
    """Pairs."""


def paired(
    by_hand: Callable[[], object], ours: Callable[[], object], n: int, *, warm_up: int = 5
) -> Paired:
    """Return the difference between two calls, measured in turn so that noise disturbs both."""
    for _ in range(warm_up):
        by_hand()
        ours()
    pairs = np.array([(seconds(by_hand), seconds(ours)) for _ in range(n)]) * 1e3
    differences = pairs[:, 1] - pairs[:, 0]
    low, high = mean_interval(differences)
    by_hand_ms, technique_ms = np.median(pairs, axis=0).tolist()
    return Paired(by_hand_ms, technique_ms, float(differences.mean()), low, high, n)


def mean_interval(values: np.ndarray, level: float = 0.95, seed: int = 0) -> tuple[float, float]:
    """Return a percentile bootstrap interval of a mean."""
    rng = np.random.default_rng(seed)
    means = rng.choice(values, size=(4000, len(values))).mean(axis=1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def seconds(call: Callable[[], object]) -> float:
    """Return how long a call takes, seconds."""
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def median_ms(call: Callable[[], object], n: int) -> float:
    """Return the median time of a warm call, milliseconds."""
    for _ in range(10):
        call()
    return 1e3 * statistics.median(seconds(call) for _ in range(n))


def shares(counts: Sequence[int]) -> float:
    """Return the least served as a fraction of the most served, in [0, 1]."""
    return min(counts) / max(counts) if max(counts) else 0.0


def overhead(clients: dict[str, InterpClient], n: int) -> dict[str, float]:
    """Return the median time of a warm empty call through each client, milliseconds."""
    return {name: median_ms(partial(each.run, empty), n) for name, each in clients.items()}


def captures(client: InterpClient, own: LoadedModel, n: int) -> dict[str, Paired]:
    """Return what a technique adds to hooks set by hand, in this thread and in one of their own.

    Of one sentence, and of a batch of 32.
    """
    texts = [TEXT]
    batch = [TEXT + " It was fine." * (row % 3) for row in range(32)]
    found = {}
    with ThreadPoolExecutor(1) as pool:
        for name, given in (("one sentence", texts), ("batch of 32", batch)):
            by_hand = partial(capture, own.model, own.tokenizer, given, LAYERS)
            ours = partial(client.run, capture, given, LAYERS)
            # A server answers while a function runs, so functions have a thread of their own: a
            # pass that follows one of another thread starts with colder caches.
            apart = partial(_on_a_thread, pool, by_hand)
            found[name] = paired(by_hand, ours, n)
            found[f"{name}, own thread"] = paired(apart, ours, n)
    return found


def beside(engine: Engine) -> LoadedModel:
    """Return the same model once more, with the engine's own weights.

    With a copy of them, each of two ways in turn would empty the caches of the other's.
    """
    with quiet_library():
        own = load_model(SPEC.model_spec)
    with engine.lend(lease_s=60.0) as lent, torch.no_grad():
        theirs = dict([*lent.model.named_parameters(), *lent.model.named_buffers()])
        for name, tensor in [*own.model.named_parameters(), *own.model.named_buffers()]:
            tensor.data = theirs[name].data
    return own


def _on_a_thread(pool: ThreadPoolExecutor, call: Callable[[], object]) -> object:
    return pool.submit(call).result()


def mapping(client: InterpClient, start: str, n: int = 100) -> dict[str, float]:
    """Return the seconds of one map and of as many runs, and their ratio."""
    texts = [f"{start}It was number {number}." for number in range(n)]
    inputs = [{"texts": text} for text in texts]
    client.run(last_logit, texts[:1])
    mapped_s = statistics.median(seconds(lambda: client.map(last_logit, inputs)) for _ in range(3))
    runs_s = seconds(lambda: [client.run(last_logit, [text]) for text in texts])
    together = client.map(last_logit, inputs)
    alone = [client.run(last_logit, [text])[0] for text in texts[:5]]
    assert np.allclose(together[:5], alone, atol=1e-3), (together[:5], alone)
    return {"map_s": mapped_s, "runs_s": runs_s, "ratio": runs_s / mapped_s}


def maps(client: InterpClient, threads: str) -> dict[str, dict[str, float]]:
    """Return ``mapping`` of short texts and of sentences, the median of three ratios each."""
    starts = {"short": "", "sentence": f"{TEXT} "}
    found = {}
    for name, start in starts.items():
        tries = sorted((mapping(client, start) for _ in range(3)), key=lambda each: each["ratio"])
        found[f"{name}, {threads}"] = tries[1]
    return found


def rate(client: InterpClient, n_bytes: int = 100_000_000) -> float:
    """Return the megabytes a second at which a large result comes, best of five."""
    client.run(large, n_bytes)
    return n_bytes / 1e6 / min(seconds(lambda: client.run(large, n_bytes)) for _ in range(5))


def fairness(clients: Sequence[InterpClient], for_s: float = 4.0) -> list[int]:
    """Return how many calls of 5 ms each client got through in some seconds."""
    counts = [0] * len(clients)
    until = time.perf_counter() + for_s

    def ask(index: int) -> None:
        while time.perf_counter() < until:
            clients[index].run(busy, 0.005)
            counts[index] += 1

    threads = [threading.Thread(target=ask, args=(each,)) for each in range(len(clients))]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    return counts


@contextlib.contextmanager
def server(folder: Path, threads: int = THREADS) -> Iterator[str]:
    """Yield the address of ``glassbox serve`` with techniques in a process of their own."""
    folder.mkdir(exist_ok=True)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    environment = os.environ | {
        "GLASSBOX_STORAGE__URL": f"sqlite:///{folder}/glassbox.db",
        "GLASSBOX_TECHNIQUES__FOLDER": str(folder),
        "GLASSBOX_ENGINE__THREADS": str(threads),
        "GLASSBOX_ENGINE__DTYPE": "float32",
    }
    # The same folder tells this process where the server's secret is.
    os.environ["GLASSBOX_TECHNIQUES__FOLDER"] = str(folder)
    command = [sys.executable, "-m", "glassbox", "serve", "--techniques", "process",
               "--port", str(port)]  # fmt: skip
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        try:
            wait_for(process, port, folder / "server.log")
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(30)


def nnsight_times(python: str | None, n: int) -> dict[str, Any] | None:
    """Return what nnsight takes for the same, or None where it is not to be had."""
    script = Path(__file__).with_name("nnsight_trace.py")
    command = [python or sys.executable, str(script), str(find_model("tiny")),
               ",".join(map(str, LAYERS)), str(n), str(THREADS), TEXT]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        return None
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def measure(folder: Path, *, rounds: int, nnsight_python: str | None) -> dict[str, Any]:
    """Return every figure."""
    torch.set_num_threads(THREADS)
    engine = load_engine(SPEC.model_spec, threads=THREADS)
    by_hand = beside(engine)
    desk = desk_of(engine, SPEC, on_close=engine.close)
    # A socket's path has about 100 characters, so its folder is short.
    local = LocalBackend(SPEC, folder=folder)
    inside = InterpClient(backend=desk, quiet=True)
    near = InterpClient(backend=local, quiet=True)
    # As a server does: one look for garbage in all that was loaded takes as long as 20 passes.
    gc.freeze()
    with server(folder) as url, contextlib.ExitStack() as open_:
        far = [open_.enter_context(InterpClient(backend=url, quiet=True)) for _ in range(N_CLIENTS)]
        found: dict[str, Any] = {
            "overhead_ms": overhead(
                {"in-process": inside, "local": near, "http": far[0]}, rounds * 5
            )
        }
        found["capture_ms"] = {
            name: median_ms(partial(client.run, capture, [TEXT], LAYERS), rounds)
            for name, client in (("in-process", inside), ("local", near), ("http", far[0]))
        }
        found["paired"] = {
            name: asdict(each) for name, each in captures(inside, by_hand, rounds).items()
        }
        found["map"] = maps(far[0], "one thread")
        found["rate"] = {"local": rate(near), "http": rate(far[0])}
        found["served"] = fairness(far)
    n_cores = len(os.sched_getaffinity(0))
    with server(folder / "all", n_cores) as url, InterpClient(backend=url, quiet=True) as client:
        found["map"] |= maps(client, f"{n_cores} threads")
    near_clients = [InterpClient(backend=local, quiet=True) for _ in range(N_CLIENTS)]
    found["served_local"] = fairness(near_clients)
    local.stop()
    desk.close()
    found["nnsight"] = nnsight_times(nnsight_python, rounds)
    return found


def verdict(value: float, bar: float, *, at_most: bool) -> str:
    """Return a bar in words, and whether it was met."""
    is_met = value <= bar if at_most else value >= bar
    return f"{'at most' if at_most else 'at least'} {bar:g}{'' if is_met else ' (missed)'}"


def show(found: dict[str, Any]) -> None:
    """Print the figures beside their bars."""
    print(f"{'':34}{'measured':>12}   bar")
    for name, bar in BARS_MS.items():
        value = found["overhead_ms"][name]
        print(f"{'empty call, ' + name:34}{value:9.2f} ms   {verdict(value, bar, at_most=True)}")
    other = found["nnsight"]
    if other is None:
        print("nnsight is not to be had here: give --nnsight-python")
    else:
        for name in ("forward", "empty", "capture"):
            print(f"{'nnsight, ' + name:34}{1e3 * other[f'{name}_s']:9.2f} ms")
    for name, value in found["capture_ms"].items():
        print(f"{'three layers, ' + name:34}{value:9.2f} ms")
    for name, each in found["paired"].items():
        print(
            f"{name + ', hooks / technique':40}{each['by_hand_ms']:.2f} / "
            f"{each['technique_ms']:.2f} ms; difference {each['difference_ms']:+.2f} ms "
            f"[{each['low_ms']:+.2f}, {each['high_ms']:+.2f}] over {each['n']} pairs"
        )
    for name, each in found["map"].items():
        said = verdict(each["ratio"], MAP_BAR, at_most=False)
        print(f"{f'map of 100, {name}':34}{each['ratio']:8.1f} x    {said}")
    for name, value in found["rate"].items():
        print(f"{'100 MB result, ' + name:34}{value:7.0f} MB/s   "
              f"{verdict(value, RATE_BAR, at_most=False)}")  # fmt: skip
    for name in ("served", "served_local"):
        counts = found[name]
        print(f"{'four clients, ' + name:34}{counts}; least/most {shares(counts):.2f}")


def main() -> None:
    """Measure, print, and write JSON where asked to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=40, help="pairs; empty calls are 5 times")
    parser.add_argument("--nnsight-python", help="interpreter of an environment with nnsight")
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="gb") as folder:
        found = measure(Path(folder), rounds=options.rounds, nnsight_python=options.nnsight_python)
    found["machine"] = as_json(describe_machine(torch.device("cpu")))
    show(found)
    if options.json is not None:
        options.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

"""Hundreds of adapters on one model, room for sixteen: throughput, right answers, cold starts.

300 adapters of rank 8 on the attention of the benchmark model are registered; 16 fit on the device,
64 in host memory, the others lie on disk. Which one a request names is drawn by Zipf's law with
exponent 1. 32 requests are always under way. The ways take turns, figures are medians:

``base``     the model without any adapter.
``one``      every request names the same adapter: the baseline.
``sixteen``  requests name the sixteen adapters that fit, in turn.
``zipf``     requests name any of the 300.

Every answer is then checked against the library's own model with that one adapter's weights added
to its own (no adapter code at all): the log-probability of each token that was written. What the
answer would be worth under the base model and under another adapter stands beside it, so that an
answer by a wrong adapter cannot pass unseen.

Run: ``GLASSBOX_TEST_DATA=... python -m benchmarks.many_adapters [--rounds 3] [--json FILE]``
"""

import argparse
import itertools
import json
import random
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, PreTrainedModel

from benchmarks.apparatus.arrivals import goodput
from benchmarks.apparatus.flights import Times, closed_loop
from benchmarks.apparatus.machine import as_json, describe_machine
from benchmarks.apparatus.model import (
    D_MODEL,
    N_HEADS,
    N_KV_HEADS,
    N_LAYERS,
    model_folder,
    sentences,
)
from glassbox.engine.batching.answering import Capacity
from glassbox.engine.lora.bank import AdapterPlaces
from glassbox.engine.model.load import quiet_library
from glassbox.engine.requests import Generation, Request, Sampling, Ticket
from glassbox.engine.resident import ResidentEngine, load_engine
from glassbox.types import ModelSpec, TokenIds

N_ADAPTERS = 300
N_DEVICE = 16
N_HOST = 64
EXPONENT = 1.0
RANK = 8
SCALE = 2.0
N_NEW = 16
IN_FLIGHT = 32
N_COLD = 20
WAYS = ("base", "one", "sixteen", "zipf")
BAR = 0.6
"""Least share of the single adapter's throughput."""
COLD_BAR_S = 1.0
"""Most seconds to the first token of an adapter that lies on disk."""
TOLERANCE = 1e-3
"""Largest difference of a log-probability that is the same, nats, in float32."""
KV = D_MODEL // N_HEADS * N_KV_HEADS
SIZES = {"q_proj": (D_MODEL, D_MODEL), "k_proj": (D_MODEL, KV), "v_proj": (D_MODEL, KV),
         "o_proj": (D_MODEL, D_MODEL)}  # fmt: skip
PREFIX = "base_model.model."


@dataclass(frozen=True)
class Answered:
    """A request, and what came back."""

    adapter: int | None
    """Which adapter it named; None is the base model."""
    prompt: TokenIds
    answer: Generation


class Sent:
    """A request under way, kept with its answer."""

    def __init__(
        self, ticket: Ticket, adapter: int | None, prompt: TokenIds, kept: list[Answered]
    ) -> None:
        self._ticket, self._adapter, self._prompt, self._kept = ticket, adapter, prompt, kept
        self.cancel = ticket.cancel
        self.when_done = ticket.when_done

    def times(self) -> Times:
        """Wait, keep the answer, and return what it took."""
        answer = self._ticket.result().whole()
        self._kept.append(Answered(self._adapter, self._prompt, answer))
        return Times(answer.queued_s, answer.first_token_s)


class Contest:
    """The ways over one engine."""

    def __init__(self, engine: ResidentEngine, n_requests: int) -> None:
        self.engine = engine
        self.kept: list[Answered] = []
        self._n_requests = n_requests
        texts = sentences("train")
        random.Random(0).shuffle(texts)
        self._prompts = [(0, *ids) for ids in engine.codec.encode(texts, special=False)]
        self._count = itertools.count()
        weights = 1 / np.arange(1, N_ADAPTERS + 1) ** EXPONENT
        draw = np.random.default_rng(0)
        self._zipf = draw.choice(N_ADAPTERS, size=100_000, p=weights / weights.sum())

    def rate(self, way: str) -> float:
        """Return requests a second of one way."""
        self.engine.forget_prompts()
        flown = closed_loop(lambda _: self.send(way), self._n_requests, IN_FLIGHT)
        first_s = sorted(each.done_s for each in flown)[IN_FLIGHT - 1]
        last_s = max(each.sent_s for each in flown)
        return goodput([each.span for each in flown], first_s, last_s)

    def send(self, way: str) -> Sent:
        """Send the next request of a way."""
        place = next(self._count)
        adapter = {
            "base": None,
            "one": 0,
            "sixteen": place % N_DEVICE,
            "zipf": int(self._zipf[place % len(self._zipf)]),
        }[way]
        return self.ask(adapter, place)

    def ask(self, adapter: int | None, place: int) -> Sent:
        """Send one request to one adapter."""
        prompt = self._prompts[place % len(self._prompts)]
        name = None if adapter is None else f"adapter-{adapter:03d}"
        sampling = Sampling(max_tokens=N_NEW, temperature=0.0, stop_at_end=False)
        ticket = self.engine.submit(Request(prompt, sampling=sampling, adapter=name))
        return Sent(ticket, adapter, prompt, self.kept)

    def cold(self, n: int) -> list[float]:
        """Return the seconds to the first token of adapters that lie on disk."""
        on_disk = [
            number for number, each in enumerate(self.engine.adapters) if each.tier == "disk"
        ]
        seconds = []
        for number in random.Random(1).sample(on_disk, n):
            if self.engine.adapters[number].tier != "disk":
                # Another request has named it meanwhile.
                continue
            seconds.append(self.ask(number, next(self._count)).times().first_s)
        return seconds

    @contextmanager
    def busy(self, n: int) -> Iterator[None]:
        """Keep so many requests by Zipf's law under way inside the block."""
        over = threading.Event()

        def go_on() -> None:
            while not over.is_set():
                self.send("zipf").times()

        threads = [threading.Thread(target=go_on) for _ in range(n)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            over.set()
            for thread in threads:
                thread.join()


def write_adapter(folder: Path, number: int) -> int:
    """Write an adapter of seeded random weights; return its size in bytes."""
    draw = torch.Generator().manual_seed(number)
    tensors = {}
    for layer in range(N_LAYERS):
        for name, (n_in, n_out) in SIZES.items():
            start = f"{PREFIX}model.layers.{layer}.self_attn.{name}.lora_"
            tensors[f"{start}A.weight"] = torch.randn(RANK, n_in, generator=draw) / n_in**0.5
            tensors[f"{start}B.weight"] = torch.randn(n_out, RANK, generator=draw) * 0.02
    folder.mkdir()
    save_file(tensors, folder / "adapter_model.safetensors")
    config = {
        "peft_type": "LORA", "task_type": "CAUSAL_LM", "r": RANK, "lora_alpha": SCALE * RANK,
        "target_modules": list(SIZES), "lora_dropout": 0.0, "bias": "none",
        "inference_mode": True, "base_model_name_or_path": "benchmark-model",
    }  # fmt: skip
    (folder / "adapter_config.json").write_text(json.dumps(config), encoding="utf-8")
    return sum(tensor.nbytes for tensor in tensors.values())


@contextmanager
def added(model: PreTrainedModel, folder: Path | None) -> Iterator[None]:
    """Add an adapter's update to the model's own weights inside the block."""
    if folder is None:
        yield
        return
    tensors = load_file(folder / "adapter_model.safetensors")
    starts = [key.removesuffix("A.weight") for key in tensors if key.endswith("A.weight")]
    kept = {}
    for start in starts:
        module = start.removeprefix(PREFIX).removesuffix(".lora_")
        weight = model.get_parameter(f"{module}.weight")
        kept[module] = weight.data
        # A product and a sum: what LoRA means, written down once more.
        update = SCALE * tensors[f"{start}B.weight"] @ tensors[f"{start}A.weight"]
        weight.data = weight.data + update
    try:
        yield
    finally:
        for module, data in kept.items():
            model.get_parameter(f"{module}.weight").data = data


def check(
    model: PreTrainedModel, folders: Path, kept: Sequence[Answered], digests: Sequence[str]
) -> dict[str, float]:
    """Return how many answers were given by another adapter than the one named, and the evidence.

    Args:
        model: The library's own, without adapters.
        folders: Where the adapters are.
        kept: Requests and answers.
        digests: Of the adapters, by number.
    """
    groups: dict[int | None, list[Answered]] = {}
    for each in kept:
        groups.setdefault(each.adapter, []).append(each)
    largest, nearest, n_wrong, n_named = 0.0, float("inf"), 0, 0
    for number, group in groups.items():
        right = digests[number] if number is not None else None
        n_named += sum(each.answer.adapter_digest != right for each in group)
        own = _gaps(model, _folder(folders, number), group)
        other = None if number is None else _folder(folders, (number + 1) % N_ADAPTERS)
        others = np.minimum(
            _gaps(model, other, group),
            _gaps(model, None, group) if number is not None else np.inf,
        )
        n_wrong += int((own > TOLERANCE).sum())
        largest = max(largest, float(own.max()))
        if number is not None:
            nearest = min(nearest, float(others.min()))
    return {
        "n_answers": len(kept),
        "n_adapters": len([number for number in groups if number is not None]),
        "n_wrong": n_wrong,
        "n_wrong_digest": n_named,
        "largest_difference": largest,
        "nearest_wrong": nearest,
    }


def _folder(folders: Path, number: int | None) -> Path | None:
    return None if number is None else folders / f"adapter-{number:03d}"


@torch.inference_mode()
def _gaps(model: PreTrainedModel, folder: Path | None, group: Sequence[Answered]) -> np.ndarray:
    """Return for each answer the largest difference of a log-probability."""
    gaps = []
    with added(model, folder):
        for each in group:
            tokens = each.answer.tokens
            ids = torch.tensor([[*each.prompt, *tokens.token_ids]])
            logits = model(input_ids=ids, use_cache=False).logits[0, len(each.prompt) - 1 : -1]
            logprobs = logits.float().log_softmax(-1)
            read = logprobs[torch.arange(len(tokens.token_ids)), list(tokens.token_ids)]
            gaps.append(float(np.abs(read.numpy() - tokens.logprobs).max()))
    return np.array(gaps)


def show(result: Mapping[str, Any]) -> None:
    """Print the report."""
    machine, rates, found = result["machine"], result["requests_per_s"], result["check"]
    print(f"{machine['description']}, {machine['device']}, {machine['threads']} threads")
    print(
        f"{N_ADAPTERS} adapters of {result['adapter_bytes'] / 2**20:.1f} MiB, {N_DEVICE} on the "
        f"device, {N_HOST} on the host; {IN_FLIGHT} in flight, {N_NEW} new tokens, "
        f"{result['rounds']} rounds of {result['n_requests']}"
    )
    print(f"registering all of them: {result['register_s']:.1f} s")
    for way in WAYS:
        print(f"{way:<10}{rates[way]:>7.1f} requests/s{rates[way] / rates['one']:>7.2f} x one")
    print(
        f"zipf over one: {result['zipf_over_one']:.2f} (>= {BAR}), rounds "
        + ", ".join(f"{each:.2f}" for each in result["zipf_over_one_by_round"])
    )
    for name, seconds in result["cold_s"].items():
        print(
            f"first token of an adapter on disk, {name}: median "
            f"{statistics.median(seconds) * 1e3:.0f} ms, slowest of {len(seconds)} "
            f"{max(seconds) * 1e3:.0f} ms (< {COLD_BAR_S * 1e3:.0f})"
        )
    print(
        f"{found['n_answers']} answers by {found['n_adapters']} adapters checked: "
        f"{found['n_wrong']} by a wrong one, {found['n_wrong_digest']} with a wrong digest; "
        f"largest difference {found['largest_difference']:.1e} nats, nearest wrong adapter "
        f"{found['nearest_wrong']:.2f} nats away"
    )


def main() -> None:
    """Parse, measure, check, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--requests", type=int, default=128, help="of each way in each round")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--checked", type=int, default=400, help="most answers that are checked")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, quiet_library():
        folders = Path(name)
        sizes = [
            write_adapter(folders / f"adapter-{number:03d}", number) for number in range(N_ADAPTERS)
        ]
        places = AdapterPlaces(host_bytes=sizes[0] * N_HOST, device_bytes=sizes[0] * N_DEVICE)
        spec = ModelSpec(str(model_folder()), dtype="float32")
        engine = load_engine(
            spec, threads=options.threads, capacity=Capacity(64, 256), adapters=places
        )
        result = measure(engine, folders, options.rounds, options.requests, options.checked)
        engine.close()
    result |= {
        "machine": as_json(describe_machine(torch.device("cpu"))),
        "adapter_bytes": sizes[0],
        "rounds": options.rounds,
        "n_requests": options.requests,
    }
    show(result)
    if options.json is not None:
        options.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def measure(
    engine: ResidentEngine, folders: Path, rounds: int, n_requests: int, n_checked: int
) -> dict[str, Any]:
    """Return every figure of the report but those of the machine."""
    started = time.perf_counter()
    for number in range(N_ADAPTERS):
        engine.load_adapter(folders / f"adapter-{number:03d}", name=f"adapter-{number:03d}")
    register_s = time.perf_counter() - started
    digests = [each.digest for each in engine.adapters]
    contest = Contest(engine, n_requests)
    contest.rate("one")
    rates: dict[str, list[float]] = {way: [] for way in WAYS}
    for place in range(rounds):
        # Each round begins with another way, so that none always has the cooler machine.
        for way in WAYS[place % 4 :] + WAYS[: place % 4]:
            rates[way].append(contest.rate(way))
    cold: dict[str, list[float]] = {"nobody else asking": contest.cold(N_COLD)}
    with contest.busy(4):
        time.sleep(1.0)
        cold["four others always asking"] = contest.cold(N_COLD)
    median = {way: statistics.median(seen) for way, seen in rates.items()}
    by_round = [zipf / one for zipf, one in zip(rates["zipf"], rates["one"], strict=True)]
    chosen = random.Random(2).sample(contest.kept, min(n_checked, len(contest.kept)))
    with quiet_library():
        plain = AutoModelForCausalLM.from_pretrained(model_folder(), dtype=torch.float32).eval()
    return {
        "register_s": register_s,
        "requests_per_s": median,
        "zipf_over_one": median["zipf"] / median["one"],
        "zipf_over_one_by_round": by_round,
        "cold_s": cold,
        "check": check(plain, folders, chosen, digests),
    }


if __name__ == "__main__":
    main()

"""What many LoRA adapters in one batch cost, against the base model alone and against PEFT.

32 requests over 32 adapters of rank 8, all in one forward pass of the benchmark model, taken in
turn so that a noisy machine disturbs all alike; figures are medians over the rounds.

``base``      the model without any adapter.
``one``       every row the same adapter.
``mixed``     every row its own adapter, the same rows at each step.
``changing``  as ``mixed``, but at each step one row leaves and another adapter's row joins.
``peft``      PEFT's mixed batch (``adapter_names``).

Beside them how long it takes to have an adapter ready that is on disk, or in host memory.

Run: ``GLASSBOX_TEST_DATA=... python -m benchmarks.adapters [--dtype bfloat16] [--json FILE]``
"""

import argparse
import json
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import Tensor
from transformers import PreTrainedModel

from benchmarks.apparatus.machine import as_json, describe_machine, timed
from benchmarks.apparatus.model import D_VOCAB, model_folder
from glassbox.engine.lora.bank import AdapterBank, AdapterPlaces
from glassbox.engine.lora.weights import BaseModel
from glassbox.engine.model.devices import keep_freed_memory
from glassbox.engine.model.load import LoadedModel, load_model, quiet_library
from glassbox.types import ModelSpec

N_ROWS = 32
N_SPARE = 8
"""Adapters beyond one a row, for rows that join."""
RANK = 8
PREFILL_TOKENS = 32
TARGETS: dict[str, list[str] | str] = {
    "attention": ["q_proj", "k_proj", "v_proj", "o_proj"],
    "all linear": "all-linear",
}
BARS = {
    ("attention", 1): 1.5,
    ("all linear", 1): 2.2,
    ("attention", PREFILL_TOKENS): 1.3,
    ("all linear", PREFILL_TOKENS): 1.8,
}
"""Most that a mixed batch may take, in times of the base model's."""
WAYS = ("base", "one", "mixed", "changing", "peft")


@dataclass
class Contest:
    """The ways over one batch."""

    bank: AdapterBank
    peft: PeftModel
    tokens: Tensor
    step: int = 0

    def __post_init__(self) -> None:
        leases = [self.bank.acquire(info.name) for info in self.bank.infos()]
        self.slots = [lease.slot for lease in leases]
        self.names = [info.name for info in self.bank.infos()]

    def base(self) -> Tensor:
        """Return the base model's logits."""
        return self._rows([0] * N_ROWS)

    def one(self) -> Tensor:
        """Return the logits of a batch with a single adapter."""
        return self._rows([self.slots[0]] * N_ROWS)

    def mixed(self) -> Tensor:
        """Return the logits of a batch in which each row has its own adapter."""
        return self._rows(self.slots[:N_ROWS])

    def changing(self) -> Tensor:
        """Return the logits of such a batch after one row has been replaced."""
        self.step += 1
        rows = [*self.slots[self.step % N_SPARE :][:N_ROWS]]
        # Who leaves makes a hole that the last row fills.
        place = self.step * 7 % N_ROWS
        rows[place], rows[-1] = rows[-1], rows[place]
        return self._rows(rows)

    def peft_mixed(self) -> Tensor:
        """Return the logits of PEFT's own mixed batch."""
        logits: Tensor = self.peft(
            input_ids=self.tokens, adapter_names=self.names[:N_ROWS], use_cache=False
        ).logits
        return logits

    def way(self, name: str) -> Callable[[], Tensor]:
        """Return one of the ways by name."""
        chosen: Callable[[], Tensor] = getattr(self, "peft_mixed" if name == "peft" else name)
        return chosen

    def _rows(self, slots: list[int]) -> Tensor:
        length = self.tokens.shape[1]
        with self.bank.applying([(slot, length) for slot in slots]):
            logits: Tensor = self.bank.base.model(input_ids=self.tokens, use_cache=False).logits
        return logits


def make_contest(
    load: Callable[[], LoadedModel], targets: list[str] | str, folder: Path
) -> Contest:
    """Return the ways over adapters of random weights on some layers."""
    names = [f"adapter-{number:02d}" for number in range(N_ROWS + N_SPARE)]
    peft: PeftModel | None = None
    for number, name in enumerate(names):
        torch.manual_seed(number)
        config = LoraConfig(r=RANK, target_modules=targets, init_lora_weights=False)
        if peft is None:
            peft = get_peft_model(load().model, config, adapter_name=name)
        else:
            peft.add_adapter(name, config)
        peft.save_pretrained(str(folder), selected_adapters=[name])
    assert isinstance(peft, PeftModel)
    loaded = load()
    base = BaseModel(
        model=loaded.model,
        tokenizer=loaded.tokenizer,
        name=loaded.name,
        digest=loaded.digest,
        context=loaded.context,
        n_parameters=int(loaded.model.num_parameters()),
    )
    bank = AdapterBank(base)
    for name in names:
        bank.register(folder / name, name)
    return Contest(bank, peft.eval(), torch.empty(0))


def measure(contest: Contest, length: int, rounds: int, bar: float) -> dict[str, Any]:
    """Return the figures of one batch as JSON values."""
    device = contest.bank.base.model.device
    contest.tokens = torch.randint(2, D_VOCAB, (N_ROWS, length), device=device)
    gap = float((contest.mixed().float() - contest.peft_mixed().float()).abs().max())
    seconds: dict[str, list[float]] = {name: [] for name in WAYS}
    for _ in range(rounds):
        for name in WAYS:
            contest.way(name)()
            seconds[name].append(timed(contest.way(name), device))
    median = {name: statistics.median(seconds[name]) for name in WAYS}
    return {
        "n_tokens": length,
        "seconds": median,
        "times_base": {name: median[name] / median["base"] for name in WAYS},
        "peft_times_mixed": median["peft"] / median["mixed"],
        "largest_difference": gap,
        "bar": bar,
    }


def ready_s(bank: AdapterBank) -> float:
    """Return the median seconds until an adapter of a bank that keeps one at a time is ready."""
    seconds = []
    for info in bank.infos():
        started = time.perf_counter()
        bank.release(bank.acquire(info.name))
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


def small_bank(contest: Contest, folder: Path, *, keeps_on_host: bool) -> AdapterBank:
    """Return a bank with room for one adapter on the device, and for all or none on the host."""
    n_bytes = contest.bank.infos()[0].n_bytes
    places = AdapterPlaces(
        host_bytes=n_bytes * len(contest.names) if keeps_on_host else 0, device_bytes=n_bytes
    )
    bank = AdapterBank(contest.bank.base, places)
    for name in contest.names:
        bank.register(folder / name, name)
    return bank


def show(result: dict[str, Any]) -> None:
    """Print the report."""
    machine = result["machine"]
    print(f"{machine['description']}, {machine['device']}, {machine['threads']} threads")
    print(", ".join(f"{name} {version}" for name, version in machine["versions"].items()))
    print(
        f"{N_ROWS} rows over {N_ROWS} adapters of rank {RANK}, {result['dtype']}, "
        f"{result['rounds']} rounds; times of the base model's batch"
    )
    print(
        f"{'adapted':<12}{'tokens':>7}{'base':>11}{'one':>8}{'mixed':>8}{'bar':>6}{'changing':>10}"
        f"{'peft':>8}{'peft/mixed':>12}{'difference':>12}"
    )
    for name, cases in result["cases"].items():
        for case in cases:
            times = case["times_base"]
            print(
                f"{name:<12}{case['n_tokens']:>7}{case['seconds']['base'] * 1e3:>8.1f} ms"
                f"{times['one']:>8.2f}{times['mixed']:>8.2f}{case['bar']:>6.1f}"
                f"{times['changing']:>10.2f}{times['peft']:>8.2f}"
                f"{case['peft_times_mixed']:>11.1f}x{case['largest_difference']:>12.1e}"
            )
    for name, times in result["ready"].items():
        print(
            f"{name:<12}{times['n_bytes'] / 2**20:.1f} MiB an adapter; ready from disk in "
            f"{times['from_disk_s'] * 1e3:.1f} ms, from the host in "
            f"{times['from_host_s'] * 1e3:.2f} ms"
        )


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dtype", choices=["auto", "float32", "bfloat16"], default="auto")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    keep_freed_memory()
    dtype: Literal["auto", "float32", "bfloat16"] = options.dtype
    spec = ModelSpec(str(model_folder()), dtype=dtype, device=options.device)
    cases: dict[str, list[dict[str, Any]]] = {}
    ready: dict[str, dict[str, float]] = {}
    model: PreTrainedModel | None = None
    with torch.inference_mode(), quiet_library(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, targets in TARGETS.items():
            with tempfile.TemporaryDirectory() as folder:
                contest = make_contest(lambda: load_model(spec), targets, Path(folder))
                cases[name] = [
                    measure(contest, length, options.rounds, BARS[name, length])
                    for length in (1, PREFILL_TOKENS)
                ]
                ready[name] = {
                    "n_bytes": contest.bank.infos()[0].n_bytes,
                    "from_disk_s": ready_s(small_bank(contest, Path(folder), keeps_on_host=False)),
                    "from_host_s": ready_s(small_bank(contest, Path(folder), keeps_on_host=True)),
                }
            model = contest.bank.base.model
    assert isinstance(model, PreTrainedModel)
    result = {
        "machine": as_json(describe_machine(model.device)),
        "dtype": str(model.dtype).removeprefix("torch."),
        "rounds": options.rounds,
        "cases": cases,
        "ready": ready,
    }
    show(result)
    if options.json is not None:
        options.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

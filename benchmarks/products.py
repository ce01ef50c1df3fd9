"""What the matrix products alone allow: how far writing many texts is from its arithmetic.

Runs nothing but the linear layers of the benchmark model, on random activations: what a step of one
row, a step of 32 rows and the reading of 32 prompts must at least multiply. Whatever else an engine
does (attention, norms, sampling, capture) comes on top, so that no engine over these products
answers faster. Beside them, in the same rounds, two ways of ``benchmarks.serving``: one by one and
the engine with three layers captured. Each figure is the best one seen, products for being a bound
and ways for being compared with it.

``stock``     the library's linear layers.
``arranged``  with weights laid out once for small passes, as the engine uses them.

Run: ``GLASSBOX_TEST_DATA=... python -m benchmarks.products [--threads N] [--json FILE]``
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmarks.apparatus.machine import matmul_flops, timed
from benchmarks.serving import N_NEW, N_REQUESTS, Contest, open_contest
from glassbox.engine.model.packed_linear import PackedLinears

N_ONE_BY_ONE = 3
"""Requests of the slowest way in a round."""


class Products:
    """The linear layers of a model, each with an activation of its own.

    Args:
        model: The library's model.
        n_tokens: Tokens that go through the blocks.
        n_reads: Tokens that go through the output head.
    """

    def __init__(self, model: nn.Module, n_tokens: int, n_reads: int) -> None:
        self.layers: list[tuple[nn.Linear, torch.Tensor]] = []
        for name, module in model.named_modules():
            if isinstance(module, nn.Linear):
                n = n_reads if name == "lm_head" else n_tokens
                self.layers.append((module, torch.randn(1, n, module.in_features)))

    @property
    def flops(self) -> float:
        """Operations of one pass: a multiplication and an addition for each weight and token."""
        return sum(2.0 * layer.weight.numel() * x.shape[1] for layer, x in self.layers)

    def __call__(self) -> None:
        """Run them all once, in the model's order, so that no weight is still in a cache."""
        for layer, x in self.layers:
            layer(x)


def measure(contest: Contest, rounds: int) -> dict[str, Any]:
    """Return seconds and operations of each pass, and requests a second, as JSON values."""
    model = contest.model
    n_prompt = sum(map(len, contest.prompts))
    passes = {
        "one row": Products(model, 1, 1),
        f"{N_REQUESTS} rows": Products(model, N_REQUESTS, N_REQUESTS),
        "one prompt": Products(model, round(n_prompt / N_REQUESTS), 1),
        f"{N_REQUESTS} prompts": Products(model, n_prompt, N_REQUESTS),
    }
    ways = {
        "one by one": (N_ONE_BY_ONE, lambda: contest.one_by_one(N_ONE_BY_ONE)),
        "engine": (N_REQUESTS, lambda: contest.answer((-1, -4, -8), [N_NEW] * N_REQUESTS)),
    }
    rates: dict[str, float] = dict.fromkeys(ways, 0.0)
    arranged, device = PackedLinears(model), torch.device("cpu")
    seconds: dict[str, dict[str, list[float]]] = {
        way: {name: [] for name in passes} for way in ("stock", "arranged")
    }
    matmuls = []
    for number in range(rounds + 1):
        matmuls.append(matmul_flops(torch.float32, device, repeats=1))
        for name, (n, call) in ways.items():
            rates[name] = max(rates[name], n / timed(call, device))
        for name, each in passes.items():
            repeats = 10 if each.layers[0][1].shape[1] <= N_REQUESTS else 2
            for way, n_tokens in (("stock", 1 << 30), ("arranged", each.layers[0][1].shape[1])):
                with arranged(n_tokens):
                    spent = [timed(each, device) for _ in range(repeats)]
                if number:
                    seconds[way][name].append(min(spent))
    return {
        "rounds": rounds,
        "matmul_flops": max(matmuls),
        "requests_per_s": rates,
        "flops": {name: each.flops for name, each in passes.items()},
        "seconds": {
            way: {name: min(values) for name, values in each.items()}
            for way, each in seconds.items()
        },
    }


def at_most(times: dict[str, float], prompts: str, step: str, n: int) -> float:
    """Return the most requests a second that leave time for the products alone."""
    return n / (times[prompts] + (N_NEW - 1) * times[step])


def show(result: dict[str, Any]) -> None:
    """Print the report."""
    rate, flops, seconds = result["matmul_flops"], result["flops"], result["seconds"]
    print(f"matrix product of 4096: {rate / 1e9:.0f} GFLOP/s; float32, {result['threads']} threads")
    print(f"{'pass':<12}{'GFLOP':>8}{'at that rate':>14}{'stock':>10}{'arranged':>10}{'share':>8}")
    for name, each in flops.items():
        stock, best = seconds["stock"][name], seconds["arranged"][name]
        print(
            f"{name:<12}{each / 1e9:>8.2f}{1000 * each / rate:>11.1f} ms"
            f"{1000 * stock:>7.1f} ms{1000 * best:>7.1f} ms{each / rate / min(stock, best):>8.2f}"
        )
    best = {name: min(each[name] for each in seconds.values()) for name in flops}
    ideal = {name: each / rate for name, each in flops.items()}
    crowd, alone = (f"{N_REQUESTS} prompts", f"{N_REQUESTS} rows"), ("one prompt", "one row")
    for words, times in (("products as measured", best), ("all at that rate", ideal)):
        print(
            f"{words:<24}at most {at_most(times, *crowd, N_REQUESTS):>6.1f} requests/s together, "
            f"{at_most(times, *alone, 1):.1f} one by one"
        )
    rates = result["requests_per_s"]
    print(
        f"{'what the ways reach':<24}        {rates['engine']:>6.1f} requests/s together, "
        f"{rates['one by one']:.1f} one by one: {rates['engine'] / rates['one by one']:.1f}x"
    )
    bound = at_most(best, *crowd, N_REQUESTS)
    print(
        f"the engine reaches {rates['engine'] / bound:.2f} of what these products allow, which is "
        f"{bound / rates['one by one']:.1f}x one by one"
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    contest = open_contest("float32", "cpu", options.threads)
    with torch.inference_mode():
        result = measure(contest, options.rounds)
    contest.engine.close()
    result["threads"] = torch.get_num_threads()
    show(result)
    if options.json is not None:
        options.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()

"""How fast many requests are answered at once, with and without their hidden states.

Ways over the same model, prompts and lengths, taken in turn so that a noisy machine disturbs them
alike; the figure of each is the median over the rounds. Prompts are real sentences, all different,
and the engine's cache of prompts is emptied before each round.

``one_by_one``  one call of the library's ``generate`` a request, states of every step returned and
                copied, probabilities and entropies from its ``scores``: what people write first.
``plain``       one call of the library's ``generate`` for all, left-padded, nothing captured.
``engine``      ``Engine.generate`` without capture; ``three`` and ``all`` capture three or all
                layers (mean, last, norm; prompt and response); ``varied`` and ``plain_varied``
                write 8 to 64 tokens instead of 32.
``read``        the responses of ``engine``, given and only read, three layers captured.
``write_one``, ``read_one``  the first request alone, written, and given and only read.

Run: ``GLASSBOX_TEST_DATA=... python -m benchmarks.serving [--dtype bfloat16] [--json FILE]``
"""

import argparse
import json
import random
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from transformers import GenerationConfig, LlamaForCausalLM

from benchmarks.apparatus.machine import as_json, describe_machine, matmul_flops, timed
from benchmarks.apparatus.model import model_folder, workload
from glassbox.engine.batching.answering import Capacity
from glassbox.engine.model.load import quiet_library
from glassbox.engine.requests import Request, Sampling
from glassbox.engine.resident import ResidentEngine, load_engine
from glassbox.types import Capture, HookPoint, ModelSpec, Pooling, TokenIds

N_REQUESTS = 32
N_NEW = 32
VARIED = (8, 64)
FORMS: tuple[Pooling, ...] = ("mean", "last", "norm")


@dataclass(frozen=True)
class Contest:
    """The ways over one workload."""

    engine: ResidentEngine
    model: LlamaForCausalLM
    """A second copy, as the library loads it."""
    prompts: Sequence[TokenIds]
    lengths: Sequence[int]
    """Tokens to write where lengths vary."""

    def one_by_one(self, n: int = N_REQUESTS) -> None:
        """Answer some requests one after another through the library's ``generate``."""
        layers = (-1, -4, -8)
        for prompt in self.prompts[:n]:
            answer: Any = self.model.generate(  # type: ignore[misc]  # transformers' own self
                torch.tensor([prompt], device=self.model.device),
                generation_config=_settings(N_NEW, scores=True),
            )
            for scores, step in zip(answer.scores, answer.hidden_states, strict=True):
                logprobs = torch.log_softmax(scores[0].float(), dim=-1)
                float(-(logprobs.exp() * logprobs).sum())
                for layer in layers:
                    state = step[layer][0].float()
                    state.mean(0).cpu(), state[-1].cpu(), float(state.norm(dim=-1).mean())

    def plain(self, n_new: int = N_NEW) -> None:
        """Answer all in one padded batch of the library."""
        longest = max(map(len, self.prompts))
        rows = [[1] * (longest - len(prompt)) + list(prompt) for prompt in self.prompts]
        seen = [[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in self.prompts]
        device = self.model.device
        self.model.generate(  # type: ignore[misc]  # transformers' own self
            torch.tensor(rows, device=device),
            attention_mask=torch.tensor(seen, device=device),
            generation_config=_settings(n_new),
        )

    def plain_varied(self) -> None:
        """As ``plain``, until the longest is done."""
        self.plain(max(self.lengths))

    def answer(self, layers: Sequence[int], lengths: Sequence[int]) -> list[TokenIds]:
        """Answer one request for each length through the engine; return what was written."""
        self.engine.forget_prompts()
        answers = self.engine.generate(
            [
                Request(
                    prompt,
                    sampling=Sampling(max_tokens=n, temperature=0.0, stop_at_end=False),
                    capture=_capture(layers),
                )
                for prompt, n in zip(self.prompts, lengths, strict=False)
            ]
        )
        return [answer.tokens.token_ids for answer in answers]

    def read(self, responses: Sequence[TokenIds]) -> None:
        """Read responses that are there already."""
        self.engine.forget_prompts()
        self.engine.generate(
            [
                Request(prompt, response=response, capture=_capture((-1, -4, -8)))
                for prompt, response in zip(self.prompts, responses, strict=False)
            ]
        )

    def ways(self, n_one_by_one: int) -> dict[str, Callable[[], object]]:
        """Return every way by name."""
        equal, layers = [N_NEW] * N_REQUESTS, range(self.engine.info.n_layers)
        responses = self.answer((), equal)
        return {
            "one_by_one": lambda: self.one_by_one(n_one_by_one),
            "plain": self.plain,
            "engine": lambda: self.answer((), equal),
            "three": lambda: self.answer((-1, -4, -8), equal),
            "all": lambda: self.answer(layers, equal),
            "plain_varied": self.plain_varied,
            "varied": lambda: self.answer((-1, -4, -8), self.lengths),
            "read": lambda: self.read(responses),
            "write_one": lambda: self.answer((-1, -4, -8), equal[:1]),
            "read_one": lambda: self.read(responses[:1]),
        }


def _capture(layers: Sequence[int]) -> Capture | None:
    points = tuple(HookPoint(layer) for layer in layers)
    return Capture(points, FORMS, "all") if points else None


def _settings(n_new: int, *, scores: bool = False) -> GenerationConfig:
    return GenerationConfig(
        max_new_tokens=n_new, min_new_tokens=n_new, do_sample=False, eos_token_id=None,
        pad_token_id=1, output_scores=scores, output_hidden_states=scores,
        return_dict_in_generate=scores,
    )  # fmt: skip


def measure(contest: Contest, rounds: int, n_one_by_one: int) -> dict[str, Any]:
    """Return every figure of the report as JSON values."""
    device = contest.model.device
    ways = contest.ways(n_one_by_one)
    for call in ways.values():
        call()
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    matmuls = []
    for _ in range(rounds):
        matmuls.append(matmul_flops(contest.model.dtype, device, repeats=1))
        for name, call in ways.items():
            seconds[name].append(timed(call, device))
    median = {name: statistics.median(each) for name, each in seconds.items()}
    rate = {name: N_REQUESTS / median[name] for name in ways}
    rate["one_by_one"] = n_one_by_one / median["one_by_one"]
    rate |= {name: 1 / median[name] for name in ("write_one", "read_one")}
    return {
        "rounds": rounds,
        "dtype": str(contest.model.dtype).removeprefix("torch."),
        "n_prompt_tokens": sum(map(len, contest.prompts)),
        "seconds": seconds,
        "requests_per_s": rate,
        "matmul_flops": statistics.median(matmuls),
        "three_over_one_by_one": rate["three"] / rate["one_by_one"],
        "three_over_plain": rate["three"] / rate["plain"],
        "varied_over_plain": rate["varied"] / rate["plain_varied"],
        "cost_of_three": median["three"] / median["engine"] - 1,
        "cost_of_all": median["all"] / median["engine"] - 1,
        "read_over_written": median["write_one"] / median["read_one"],
        "crowd_read_over_written": rate["read"] / rate["three"],
    }


def show(result: dict[str, Any]) -> None:
    """Print the report."""
    machine = result["machine"]
    print(f"{machine['description']}, {machine['device']}, {machine['threads']} threads")
    print(", ".join(f"{name} {version}" for name, version in machine["versions"].items()))
    print(
        f"{N_REQUESTS} requests of {result['n_prompt_tokens'] / N_REQUESTS:.0f} prompt tokens on "
        f"average, {N_NEW} or {VARIED[0]} to {VARIED[1]} written, {result['dtype']}, "
        f"{result['rounds']} rounds"
    )
    for name, rate in result["requests_per_s"].items():
        print(f"{name:<14}{rate:>8.1f} requests/s")
    for words, name, bar in (
        ("three layers captured, times one by one", "three_over_one_by_one", ">= 14"),
        ("three layers captured, times plain batch", "three_over_plain", ">= 1.15"),
        ("the same, 8 to 64 tokens", "varied_over_plain", ">= 1.4"),
        ("reading one, times writing one", "read_over_written", ">= 5"),
        ("reading 32, times writing 32 at once", "crowd_read_over_written", "no bar"),
    ):
        print(f"{words:<44}{result[name]:>7.2f}x  ({bar})")
    for words, name, bar in (
        ("cost of three layers", "cost_of_three", "<= 5%"),
        ("cost of all layers", "cost_of_all", "<= 15%"),
    ):
        print(f"{words:<44}{result[name]:>7.1%}   ({bar})")
    print(f"matrix product of 4096: {result['matmul_flops'] / 1e9:.0f} GFLOP/s")


def open_contest(
    dtype: Literal["auto", "float32", "bfloat16"], device: str, threads: int | None
) -> Contest:
    """Return engine and library with the benchmark model, and what both are asked."""
    folder = model_folder()
    spec = ModelSpec(str(folder), dtype=dtype, device=device)
    engine = load_engine(spec, threads=threads, capacity=Capacity(n_rows=N_REQUESTS))
    with quiet_library():
        model = LlamaForCausalLM.from_pretrained(folder, dtype=getattr(torch, engine.info.dtype))
    model.to(engine.info.device).eval()  # type: ignore[arg-type]  # transformers narrows torch's
    work = workload(engine.codec.tokenizer, N_REQUESTS)
    prompts = [(0, *prompt[work.n_instruction :]) for prompt in work.prompts]
    draw = random.Random(0)
    return Contest(engine, model, prompts, [draw.randint(*VARIED) for _ in prompts])


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dtype", choices=["auto", "float32", "bfloat16"], default="auto")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--one-by-one", type=int, default=4, help="requests of the slowest way")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    contest = open_contest(options.dtype, options.device, options.threads)
    with torch.inference_mode():
        result = measure(contest, options.rounds, options.one_by_one)
    contest.engine.close()
    result["machine"] = as_json(describe_machine(contest.model.device))
    show(result)
    if options.json is not None:
        options.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
